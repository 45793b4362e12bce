//! A cell of the table: a case under one setting, and what came of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::Variant;

/// What the programs of a case run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Runtime {
    CurrentThread,
    MultiThread,
}

/// What makes a cell another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) variant: Variant,
    pub(super) runtime: Runtime,
    pub(super) body: usize,
    pub(super) connections: usize,
}

/// Medians over the rounds; the memory is the peak of all.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) setting: Setting,
    pub(super) rps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// By process; none where the system does not tell.
    pub(super) cpu_us_per_req: Option<ByProcess>,
    pub(super) rss_mib: Option<ByProcess>,
    /// How many cores something else on this machine kept busy meanwhile: if many, measure again.
    pub(super) others_cores: Option<f64>,
    /// Requests without a complete, correct answer, over all rounds, by what happened instead.
    pub(super) failures: BTreeMap<String, u64>,
}

/// A figure of each process of a case, the client first.
#[derive(Clone, Debug, Default)]
pub(super) struct ByProcess(pub(super) Vec<(&'static str, f64)>);

impl Runtime {
    pub(super) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread",
        }
    }

    /// As [`Job`](crate::role::Job) takes it.
    pub(super) fn workers(self) -> Option<usize> {
        match self {
            Self::CurrentThread => None,
            Self::MultiThread => Some(2),
        }
    }
}

impl ByProcess {
    /// The sum over those processes; none if one of them is missing.
    pub(super) fn sum(&self, names: &[&str]) -> Option<f64> {
        let of = |name: &&str| self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        names.iter().map(of).sum()
    }
}

impl Serialize for ByProcess {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, rounded(*value))))
    }
}

/// To three decimals: the rest is noise.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn sums_need_all() {
        let figures = ByProcess(vec![("proxy", 20.0), ("backend", 10.0)]);
        assert_eq!(figures.sum(&["proxy", "backend"]), Some(30.0));
        assert_eq!(figures.sum(&["proxy", "gateway"]), None);
    }
}
