//! The executions that the handlers noted in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use narun_consumer::ExchangeId;

use crate::Error;

/// The executions of each request, by its number.
#[derive(Debug, Default)]
pub(super) struct Executions(BTreeMap<u64, Runs>);

/// The executions of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// More than one id if the request was accepted more than once.
    pub(super) ids: BTreeSet<ExchangeId>,
    /// The delivery count of each start.
    pub(super) starts: Vec<u64>,
    /// How many executions ended.
    pub(super) ends: u64,
}

impl Executions {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut executions = Self::default();
        for line in text.lines() {
            executions.add(line).ok_or_else(|| format!("invalid execution: {line:?}"))?;
        }
        Ok(executions)
    }

    /// The executions of this request. Returns `None` if it was not run.
    pub(super) fn of(&self, number: u64) -> Option<&Runs> {
        self.0.get(&number)
    }

    /// The executions of all requests that were run.
    pub(super) fn all(&self) -> impl Iterator<Item = (&u64, &Runs)> {
        self.0.iter()
    }

    /// Adds a line `start|end NUMBER ID COUNT PROCESS`. Returns `None` if it is invalid.
    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let runs = self.0.entry(words.next()?.parse().ok()?).or_default();
        runs.ids.insert(words.next()?.parse().ok()?);
        match what {
            "start" => runs.starts.push(words.next()?.parse().ok()?),
            "end" => runs.ends += 1,
            _ => return None,
        }
        Some(())
    }
}

impl Runs {
    /// Whether it had delivery count 1 more than once, as it has if it was stored more than once.
    pub(super) fn is_first_twice(&self) -> bool {
        self.starts.iter().filter(|&&count| count == 1).count() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("record");
        assert_eq!(Executions::read(&path).expect("nothing yet").all().count(), 0);

        let id = "a".repeat(26);
        fs::write(&path, format!("start 7 {id} 1 4711\nstart 7 {id} 2 4712\nend 7 {id} 2 4712\n"))
            .expect("a file");
        let executions = Executions::read(&path).expect("executions");
        let runs = executions.of(7).expect("some");
        assert_eq!((runs.ids.len(), &*runs.starts, runs.ends), (1, &[1, 2][..], 1));
        assert!(!runs.is_first_twice());

        fs::write(&path, "start 7").expect("a file");
        assert!(Executions::read(&path).is_err());
    }
}
