//! The output: tables, or lines of JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;
use crate::figures::{Figures, rounded};
use crate::goal::Goal;

/// The figures of a case under one setting.
#[derive(Clone, Debug)]
pub(super) struct StreamsCell {
    pub(super) setting: String,
    pub(super) case: String,
    pub(super) figures: Figures,
}

/// A figure or ratio, with its goal if it has one.
#[derive(Clone, Debug, Serialize)]
struct StreamsCheck {
    setting: String,
    check: String,
    value: Option<f64>,
    goal: Option<Goal>,
    met: Option<bool>,
}

/// Prints each cell when it is measured, and the checks at the end.
#[derive(Debug)]
pub(super) struct StreamsReport {
    json: bool,
    cells: usize,
    checks: Vec<StreamsCheck>,
    failures: u64,
}

impl StreamsReport {
    pub(super) fn new(json: bool) -> Self {
        Self { json, cells: 0, checks: Vec::new(), failures: 0 }
    }

    pub(super) fn cell(&mut self, cell: &StreamsCell) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let StreamsCell { setting, case, figures } = cell;
        if self.json {
            let mut line = json!({ "setting": setting, "case": case, "grown_mib": figures.grown_mib });
            if let (Value::Object(line), Value::Object(figures)) = (&mut line, figures.json()) {
                line.extend(figures);
            }
            writeln!(out, "{line}")?;
        } else {
            if self.cells == 0 {
                writeln!(out, "{CELL_HEAD}")?;
            }
            writeln!(out, "{}", cell_row(cell))?;
        }
        for (text, count) in &figures.failures {
            eprintln!("{case}: {count} times {text}");
        }
        self.cells += 1;
        self.failures += figures.failures.values().sum::<u64>();
        Ok(())
    }

    pub(super) fn check(&mut self, setting: &str, check: &str, value: Option<f64>, goal: Option<Goal>) {
        let value = value.map(rounded);
        let met = goal.and_then(|goal| goal.met([value]));
        self.checks.push(StreamsCheck {
            setting: setting.to_owned(),
            check: check.to_owned(),
            value,
            goal,
            met,
        });
    }

    /// Prints the checks.
    pub(super) fn checks(&self) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if !self.json && !self.checks.is_empty() {
            writeln!(out, "\n{CHECK_HEAD}")?;
        }
        for check in &self.checks {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(check)?)?;
            } else {
                writeln!(out, "{}", check_row(check))?;
            }
        }
        Ok(())
    }

    /// The number of failed transfers.
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }
}

const CELL_HEAD: &str = "setting            case             per s    p50 ms    p99 ms  others  \
                         CPU µs per part / MiB more than idle";

fn cell_row(cell: &StreamsCell) -> String {
    let StreamsCell { setting, case, figures } = cell;
    let others = figures.others_cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}"));
    let processes = match (&figures.cpu_us_per_req, &figures.grown_mib) {
        (Some(cpu), Some(grown)) => {
            let each = cpu.0.iter().zip(&grown.0);
            let each = each.map(|((name, cpu), (_, grown))| format!("{name} {cpu:.0} / {grown:.1}"));
            each.collect::<Vec<_>>().join(", ")
        }
        _ => "unknown".to_owned(),
    };
    let (p50, p99) = (figures.p50_us / 1e3, figures.p99_us / 1e3);
    format!("{setting:<18} {case:<13} {:>8.1} {p50:>9.2} {p99:>9.2}  {others:<6}  {processes}", figures.rps)
}

const CHECK_HEAD: &str = "setting            what                                     value  goal";

fn check_row(check: &StreamsCheck) -> String {
    let StreamsCheck { setting, check, value, goal, met } = check;
    let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let goal = match (goal, met) {
        (Some(goal), Some(true)) => format!("{goal} met"),
        (Some(goal), _) => format!("{goal} MISSED"),
        (None, _) => String::new(),
    };
    format!("{setting:<18} {check:<36} {value:>9}  {goal}")
}
