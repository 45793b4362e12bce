//! The measured figures of a cell.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// Medians over the rounds; memory is the peak over all rounds.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) rps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// By process; `None` if the system does not report it.
    pub(crate) cpu_us_per_req: Option<ByProcess>,
    pub(crate) rss_mib: Option<ByProcess>,
    /// How much the memory of each process has grown since before the first round.
    pub(crate) grown_mib: Option<ByProcess>,
    /// How many cores other programs kept busy meanwhile: if many, measure again.
    pub(crate) others_cores: Option<f64>,
    /// The largest number of requests that were accepted but not done at the end of a round; `None` for direct delivery.
    pub(crate) backlog: Option<u64>,
    /// Requests without a complete and correct response, over all rounds, by what happened instead.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// One figure per process of a case, the client first.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByProcess(pub(crate) Vec<(&'static str, f64)>);

impl Figures {
    /// The heading of a [`row`](Self::row).
    pub(crate) const HEAD: &'static str =
        "    rps    p50 µs    p99 µs  others  CPU µs per request / peak MiB";

    /// A row of a table.
    pub(crate) fn row(&self) -> String {
        let others = self.others_cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}"));
        let backlog = self.backlog.map_or_else(String::new, |backlog| format!(", backlog {backlog}"));
        let Self { rps, p50_us, p99_us, .. } = self;
        format!("{rps:>7.0} {p50_us:>9.1} {p99_us:>9.1}  {others:<6}  {}{backlog}", self.processes())
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let mut line = json!({
            "rps": rounded(self.rps),
            "p50_us": rounded(self.p50_us),
            "p99_us": rounded(self.p99_us),
            "cpu_us_per_req": self.cpu_us_per_req,
            "rss_mib": self.rss_mib,
            "others_cores": self.others_cores.map(rounded),
            "failures": self.failures,
        });
        if let Some(backlog) = self.backlog {
            line["backlog"] = backlog.into();
        }
        line
    }

    fn processes(&self) -> String {
        let (Some(cpu), Some(rss)) = (&self.cpu_us_per_req, &self.rss_mib) else {
            return "unknown".to_owned();
        };
        let each = cpu.0.iter().zip(&rss.0);
        let each = each.map(|((name, cpu), (_, rss))| format!("{name} {cpu:.1} / {rss:.0}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl ByProcess {
    /// The figure of this process.
    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    /// The sum over these processes. Returns `None` if one of them is missing.
    pub(crate) fn sum(&self, names: &[&str]) -> Option<f64> {
        names.iter().map(|name| self.of(name)).sum()
    }
}

impl Serialize for ByProcess {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, rounded(*value))))
    }
}

/// Rounds to three decimals: the rest is noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The median; 0 if there is no value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
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
    fn the_median_is_the_middle_or_the_mean_of_both() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn a_sum_needs_all_processes() {
        let figures = ByProcess(vec![("proxy", 20.0), ("backend", 10.0)]);
        assert_eq!(figures.sum(&["proxy", "backend"]), Some(30.0));
        assert_eq!(figures.sum(&["proxy", "gateway"]), None);
    }
}
