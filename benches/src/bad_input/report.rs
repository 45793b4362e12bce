//! The verdicts.

use std::fmt::Display;

use super::raw::{RawResponse, Received};

/// Prints a line for each input.
#[derive(Debug)]
pub(super) struct Report {
    only_bad: bool,
    good: u32,
    bad: u32,
}

impl Report {
    pub(super) fn new(only_bad: bool) -> Self {
        Self { only_bad, good: 0, bad: 0 }
    }

    /// Prints the verdict on one input.
    pub(super) fn line(&mut self, name: impl Display, expected: impl Display, got: impl Display, good: bool) {
        if good {
            self.good += 1;
        } else {
            self.bad += 1;
        }
        if !good || !self.only_bad {
            let verdict = if good { "ok " } else { "BAD" };
            println!("{verdict}  {name:<58}  expected {expected}, got {got:.160}");
        }
    }

    /// Prints the verdict on an input that must get this status.
    pub(super) fn status(&mut self, name: impl Display, status: u16, received: &Received) {
        let good = received.as_ref().is_ok_and(|response| response.status == status);
        self.line(name, status, text(received), good);
    }

    /// Prints the verdict on an input whose response must have a property. `expected` names it.
    pub(super) fn holds(
        &mut self,
        name: impl Display,
        expected: &str,
        received: &Received,
        holds: impl FnOnce(&RawResponse) -> bool,
    ) {
        let good = received.as_ref().is_ok_and(holds);
        let got = match received {
            Ok(response) if !good => format!("{} {:?}", response.status, response.text()),
            _ => text(received),
        };
        self.line(name, expected, got, good);
    }

    pub(super) fn print_summary(&self) {
        println!("{} ok, {} BAD", self.good, self.bad);
    }

    /// Whether there was a line, and no BAD one.
    pub(super) fn is_good(&self) -> bool {
        self.good > 0 && self.bad == 0
    }
}

fn text(received: &Received) -> String {
    match received {
        Ok(response) => response.status.to_string(),
        Err(error) => error.clone(),
    }
}
