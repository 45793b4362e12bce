//! The processes of a cell, which run for all its rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::figures::{ByProcess, Figures, median};
use crate::process::Process;
use crate::round::{GRACE, Order, Round};
use crate::{Error, usage};

/// A client, the processes that it puts a load on, and the rounds measured so far.
#[derive(Debug)]
pub(crate) struct Group {
    // Dropped in this order: the client ends before the processes that it talks to.
    client: Process,
    /// A second client that puts another load on the same processes at the same time.
    beside: Option<Process>,
    _others: Vec<Process>,
    /// Names and ids of the processes whose usage is measured, the client first.
    watched: Vec<(&'static str, u32)>,
    rounds: Vec<Round>,
    /// Memory of each process before the first round.
    idle: Vec<Option<f64>>,
    /// Peak memory of each process so far.
    peaks: Vec<Option<f64>>,
}

impl Group {
    /// `others` are in the order of a request's way, beginning next to the client; `nats` is the server's process id.
    pub(crate) fn new(client: Process, others: Vec<Process>, nats: Option<u32>) -> Self {
        let own = [&client].into_iter().chain(&others);
        let own = own.map(|process| (process.name(), process.id()));
        let watched: Vec<_> = own.chain(nats.map(|pid| ("nats", pid))).collect();
        let peaks = vec![None; watched.len()];
        let idle = watched.iter().map(|&(_, pid)| usage::rss_mib(pid)).collect();
        Self { client, beside: None, _others: others, watched, rounds: Vec::new(), idle, peaks }
    }

    /// Adds a second client that works in each round. Only its failures are reported.
    #[must_use]
    pub(crate) fn beside(mut self, client: Process) -> Self {
        self.beside = Some(client);
        self
    }

    /// Runs one round.
    pub(crate) fn round(&mut self, warm_up: Duration, window: Duration) -> Result<(), Error> {
        let watch: Vec<_> = self.watched.iter().map(|&(_, pid)| pid).collect();
        watch.iter().for_each(|&pid| usage::reset_peak(pid));
        let order = serde_json::to_string(&Order { warm_up, window, watch })?;
        let limit = warm_up + window + 3 * GRACE;
        if let Some(beside) = &mut self.beside {
            beside.send(&order)?;
        }
        let mut round: Round = serde_json::from_str(&self.client.ask(&order, limit)?)?;
        if let Some(beside) = &mut self.beside {
            let other: Round = serde_json::from_str(&beside.line(limit)?)?;
            round
                .failures
                .extend(other.failures.into_iter().map(|(text, count)| (format!("beside: {text}"), count)));
        }
        self.rounds.push(round);
        for (peak, &(_, pid)) in self.peaks.iter_mut().zip(&self.watched) {
            *peak = usage::peak_rss_mib(pid).map(|now| peak.map_or(now, |before| now.max(before)));
        }
        Ok(())
    }

    /// Ends the processes, and returns the medians.
    pub(crate) fn finish(self) -> Figures {
        let rps = self.rounds.iter().map(|round| round.good as f64 / round.seconds);
        let mut failures = BTreeMap::new();
        for (text, count) in self.rounds.iter().flat_map(|round| &round.failures) {
            *failures.entry(text.clone()).or_default() += count;
        }
        Figures {
            rps: median(rps),
            p50_us: median(self.rounds.iter().map(|round| round.p50_us)),
            p99_us: median(self.rounds.iter().map(|round| round.p99_us)),
            cpu_us_per_req: self.by_process(|index| self.cpu_us_per_req(index)),
            rss_mib: self.by_process(|index| self.peaks[index]),
            grown_mib: self.by_process(|index| Some(self.peaks[index]? - self.idle[index]?)),
            others_cores: self.rounds.iter().map(others_cores).collect::<Option<Vec<_>>>().map(median),
            backlog: self.rounds.iter().filter_map(|round| round.backlog).max(),
            failures,
        }
    }

    /// The median over the rounds that had a good response.
    fn cpu_us_per_req(&self, index: usize) -> Option<f64> {
        let rounds = self.rounds.iter().filter(|round| round.good > 0);
        let values: Option<Vec<_>> =
            rounds.map(|round| Some((*round.cpu_us.get(index)?)? / round.good as f64)).collect();
        values.map(median)
    }

    fn by_process(&self, figure: impl Fn(usize) -> Option<f64>) -> Option<ByProcess> {
        let figures = self.watched.iter().enumerate();
        let figures: Option<_> = figures.map(|(index, (name, _))| Some((*name, figure(index)?))).collect();
        figures.map(ByProcess)
    }
}

fn others_cores(round: &Round) -> Option<f64> {
    let own: Option<f64> = round.cpu_us.iter().copied().sum();
    // Ticks are coarse, so the difference may be slightly negative.
    Some(((round.machine_cpu_us? - own?) / 1e6 / round.seconds).max(0.0))
}
