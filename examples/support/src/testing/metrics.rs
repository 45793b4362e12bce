use std::fmt;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The metrics of one test, which must be on a current-thread runtime, until it is dropped.
pub struct Metrics {
    handle: PrometheusHandle,
    _guard: metrics::LocalRecorderGuard<'static>,
}

impl Metrics {
    /// Takes in all that this thread counts from now on.
    pub fn install() -> Self {
        // Leaked, so that the guard needs no lifetime; once a test.
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// All of them, as Prometheus reads them.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// The sum of all values of this metric that have these labels; 0 if there are none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let rendered = self.render();
        let of_name = rendered
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']));
        let matching = of_name.filter(|rest| labels.iter().all(|label| rest.contains(label.as_str())));
        matching.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
