//! The result of a scenario.

use std::fmt;
use std::time::Duration;

/// The guarantees that were checked, and which of them were broken.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    name: &'static str,
    took: Duration,
    checks: Vec<Guarantee>,
    left_out: bool,
    notes: Vec<String>,
}

/// A guarantee, and how often it was broken.
#[derive(Clone, Debug)]
struct Guarantee {
    what: &'static str,
    broken: u64,
    of: u64,
    /// The first cases that broke it.
    examples: Vec<String>,
}

/// How many examples of a broken guarantee are printed.
const EXAMPLES: usize = 5;

impl Verdict {
    /// The verdict of a scenario that did not end.
    pub(super) fn of_failure(why: String) -> Self {
        let mut verdict = Self::default();
        verdict.check("the scenario ended", 1, [why]);
        verdict
    }

    /// The verdict of a scenario that this server does not support.
    pub(super) fn left_out(why: impl Into<String>) -> Self {
        Self { left_out: true, notes: vec![why.into()], ..Self::default() }
    }

    /// Adds a guarantee for `of` cases, and the cases that broke it.
    pub(super) fn check(
        &mut self,
        what: &'static str,
        of: usize,
        broken: impl IntoIterator<Item = impl fmt::Display>,
    ) {
        let mut broken = broken.into_iter();
        let examples: Vec<_> = broken.by_ref().take(EXAMPLES).map(|case| case.to_string()).collect();
        let count = examples.len() + broken.count();
        self.checks.push(Guarantee { what, broken: count as u64, of: of as u64, examples });
    }

    /// Adds a guarantee with a single case.
    pub(super) fn expect(&mut self, what: &'static str, holds: bool, found: impl fmt::Debug) {
        self.check(what, 1, (!holds).then(|| format!("{found:?}")));
    }

    /// Adds a line for the reader that is no guarantee.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds the guarantees and notes of another verdict.
    pub(super) fn extend(&mut self, other: Self) {
        self.checks.extend(other.checks);
        self.notes.extend(other.notes);
    }

    pub(super) fn finish(&mut self, name: &'static str, took: Duration) {
        self.name = name;
        self.took = took;
    }

    /// Whether at least one guarantee was checked, and none was broken. A scenario that was left out is good.
    pub(super) fn is_good(&self) -> bool {
        self.left_out || !self.checks.is_empty() && self.checks.iter().all(|check| check.broken == 0)
    }

    pub(super) fn print(&self) {
        println!("{} ({:.0} s): {}", self.name, self.took.as_secs_f64(), self.word());
        for check in &self.checks {
            let Guarantee { what, broken, of, examples } = check;
            if *broken == 0 {
                println!("  {what}: {of}");
            } else {
                println!("  BROKEN: {what}: not {broken} of {of}");
                examples.iter().for_each(|example| println!("    {example}"));
            }
        }
        self.notes.iter().for_each(|note| println!("  {note}"));
        println!();
    }

    fn word(&self) -> &'static str {
        match self.is_good() {
            true if self.left_out => "left out",
            true => "kept",
            false => "BROKEN",
        }
    }
}

/// Prints a line per scenario.
pub(super) fn print_summary(verdicts: &[Verdict], seed: u64) {
    println!("scenario        seconds  checks  broken  verdict (seed {seed})");
    for verdict in verdicts {
        let broken = verdict.checks.iter().filter(|check| check.broken > 0).count();
        let (name, seconds) = (verdict.name, verdict.took.as_secs_f64());
        println!("{name:<15} {seconds:>7.1} {:>7} {broken:>7}  {}", verdict.checks.len(), verdict.word());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_without_checks_is_not_good() {
        let mut verdict = Verdict::default();
        assert!(!verdict.is_good());
        verdict.check("one is one", 2, [0; 0]);
        assert!(verdict.is_good());
        verdict.expect("one is two", false, 1);
        assert!(!verdict.is_good());
        assert!(!Verdict::of_failure("no".to_owned()).is_good());
    }
}
