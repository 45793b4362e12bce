//! The output: tables, or lines of JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::Error;
use crate::figures::{Figures, rounded};
use crate::goal::Goal;

/// A figure, and its goal.
#[derive(Clone, Debug, Serialize)]
struct GrpcCheck {
    check: String,
    value: Option<f64>,
    goal: Goal,
    met: Option<bool>,
}

/// Prints figures when they are measured, and the checks at the end.
#[derive(Debug)]
pub(super) struct GrpcReport {
    json: bool,
    has_rows: bool,
    checks: Vec<GrpcCheck>,
    failures: Vec<String>,
}

impl GrpcReport {
    pub(super) fn new(json: bool) -> Self {
        Self { json, has_rows: false, checks: Vec::new(), failures: Vec::new() }
    }

    /// Prints the figures of an operation that was done in this way.
    pub(super) fn figures(&mut self, operation: &str, way: &str, figures: &Figures) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if self.json {
            let mut line = figures.json();
            line["operation"] = operation.into();
            line["way"] = way.into();
            writeln!(out, "{line}")?;
        } else {
            if !std::mem::replace(&mut self.has_rows, true) {
                writeln!(out, "operation      way     {}", Figures::HEAD)?;
            }
            writeln!(out, "{operation:<14} {way:<7} {}", figures.row())?;
        }
        for (text, count) in &figures.failures {
            self.failed(format!("{operation}, {way}: {count} times {text}"));
        }
        Ok(())
    }

    /// Prints a line for the reader. It is left out of JSON.
    pub(super) fn note(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    pub(super) fn check(&mut self, check: impl Into<String>, value: Option<f64>, goal: Goal) {
        let value = value.map(rounded);
        self.checks.push(GrpcCheck { check: check.into(), value, goal, met: goal.met([value]) });
    }

    /// Adds a failure.
    pub(super) fn failed(&mut self, what: String) {
        eprintln!("{what}");
        self.failures.push(what);
    }

    pub(super) fn print(&self) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        if !self.json && !self.checks.is_empty() {
            writeln!(out, "\ncheck                                            value  goal")?;
        }
        for check in &self.checks {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(check)?)?;
                continue;
            }
            let value = check.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let met = match check.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "unknown",
            };
            writeln!(out, "{:<46} {value:>7}  {} {met}", check.check, check.goal)?;
        }
        Ok(())
    }

    pub(super) fn has_no_failure(&self) -> bool {
        self.failures.is_empty()
    }
}
