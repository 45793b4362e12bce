//! The output: tables, or lines of JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::case::Variant;
use super::cell::LoadCell;
use super::ratio::{self, Ratio};
use super::setting::Setting;
use crate::Error;
use crate::figures::Figures;

/// Prints each cell when it is measured, and the ratios at the end.
#[derive(Debug)]
pub(super) struct LoadReport {
    json: bool,
    cells: Vec<LoadCell>,
}

impl LoadReport {
    pub(super) fn new(json: bool) -> Self {
        Self { json, cells: Vec::new() }
    }

    pub(super) fn cell(&mut self, cell: LoadCell) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", cell_json(&cell))?;
        } else {
            if self.cells.is_empty() {
                writeln!(out, "{CELL_HEAD} {}", Figures::HEAD)?;
            }
            writeln!(out, "{}", cell_row(&cell))?;
        }
        for (text, count) in &cell.figures.failures {
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

    /// The number of requests without a complete and correct response.
    pub(super) fn failures(&self) -> u64 {
        self.cells.iter().flat_map(|cell| cell.figures.failures.values()).sum()
    }
}

fn cell_json(cell: &LoadCell) -> Value {
    let Setting { variant: Variant { case, routes }, runtime, body, connections } = cell.setting;
    let mut line = json!({ "case": case, "runtime": runtime, "body": body, "connections": connections });
    if routes > 0 {
        line["routes"] = routes.into();
    }
    if let (Value::Object(line), Value::Object(figures)) = (&mut line, cell.figures.json()) {
        line.extend(figures);
    }
    line
}

const CELL_HEAD: &str = "body    conns  runtime         case           ";

fn cell_row(cell: &LoadCell) -> String {
    let Setting { variant, runtime, body, connections } = cell.setting;
    let (variant, runtime) = (variant.to_string(), runtime.name());
    format!("{body:<7} {connections:<6} {runtime:<15} {variant:<14} {}", cell.figures.row())
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
