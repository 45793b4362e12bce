//! What is printed: tables to read, or lines of JSON.

use std::io::{self, Write};

use serde_json::json;

use super::case::Variant;
use super::cell::{ByProcess, Cell, rounded};
use super::ratio::{self, Ratio};
use crate::Error;

/// Prints every cell as it comes, and the ratios of all.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    cells: Vec<Cell>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, cells: Vec::new() }
    }

    pub(super) fn cell(&mut self, cell: Cell) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", cell_json(&cell))?;
        } else {
            if self.cells.is_empty() {
                writeln!(out, "{CELL_HEAD}")?;
            }
            writeln!(out, "{}", cell_row(&cell))?;
        }
        for (text, count) in &cell.failures {
            eprintln!("{}: {count} times {text}", cell.setting.variant);
        }
        self.cells.push(cell);
        Ok(())
    }

    pub(super) fn ratios(&self) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let ratios = ratio::ratios(&self.cells);
        if !self.json && !ratios.is_empty() {
            writeln!(out, "\n{RATIO_HEAD}")?;
        }
        for ratio in ratios {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(&ratio)?)?;
            } else {
                writeln!(out, "{}", ratio_row(&ratio))?;
            }
        }
        Ok(())
    }

    /// Requests without a complete, correct answer.
    pub(super) fn failures(&self) -> u64 {
        self.cells.iter().flat_map(|cell| cell.failures.values()).sum()
    }
}

fn cell_json(cell: &Cell) -> serde_json::Value {
    let Variant { case, routes } = cell.setting.variant;
    let mut line = json!({
        "case": case,
        "runtime": cell.setting.runtime,
        "body": cell.setting.body,
        "connections": cell.setting.connections,
        "rps": rounded(cell.rps),
        "p50_us": rounded(cell.p50_us),
        "p99_us": rounded(cell.p99_us),
        "cpu_us_per_req": cell.cpu_us_per_req,
        "rss_mib": cell.rss_mib,
        "others_cores": cell.others_cores.map(rounded),
        "failures": cell.failures.values().sum::<u64>(),
    });
    if routes > 0 {
        line["routes"] = routes.into();
    }
    line
}

const CELL_HEAD: &str = "body    conns  runtime         case             rps    p50 µs    p99 µs  others  \
                         CPU µs per request / peak MiB";

fn cell_row(cell: &Cell) -> String {
    let setting = &cell.setting;
    format!(
        "{:<7} {:<6} {:<15} {:<12} {:>7.0} {:>9.1} {:>9.1}  {:<6}  {}",
        setting.body,
        setting.connections,
        setting.runtime.name(),
        setting.variant.to_string(),
        cell.rps,
        cell.p50_us,
        cell.p99_us,
        cell.others_cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
        processes(cell.cpu_us_per_req.as_ref(), cell.rss_mib.as_ref()),
    )
}

fn processes(cpu: Option<&ByProcess>, rss: Option<&ByProcess>) -> String {
    let (Some(cpu), Some(rss)) = (cpu, rss) else {
        return "unknown".to_owned();
    };
    let each = cpu.0.iter().zip(&rss.0);
    let each = each.map(|((name, cpu), (_, rss))| format!("{name} {cpu:.1} / {rss:.0}"));
    each.collect::<Vec<_>>().join(", ")
}

const RATIO_HEAD: &str = "body    conns  ratio                                  \
                          current_thread  multi_thread  goal";

fn ratio_row(ratio: &Ratio) -> String {
    let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let goal = match &ratio.goal {
        Some(goal) => format!("{goal} {}", if ratio.met == Some(true) { "met" } else { "MISSED" }),
        None => String::new(),
    };
    format!(
        "{:<7} {:<6} {:<38} {:>14} {:>13}  {goal}",
        ratio.body,
        ratio.connections,
        ratio.ratio,
        value(ratio.current_thread),
        value(ratio.multi_thread),
    )
}
