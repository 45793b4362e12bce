//! The length and number of rounds.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::group::Group;
use crate::{Error, usage};

/// How long and how often is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pace {
    /// Length of a round's measured window; a quarter of it, at most a second, is warm-up before
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,

    /// Rounds per cell, over which the median is taken
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Seconds that a round may wait for the machine to have nothing else to do
    #[arg(long, default_value_t = 0)]
    patience: u64,
}

impl Pace {
    /// Runs the rounds: in each, every group has its turn.
    pub(crate) fn run(&self, groups: &mut [Group]) -> Result<(), Error> {
        let warm_up = (self.seconds / 4).min(Duration::from_secs(1));
        for _ in 0..self.rounds {
            for group in &mut *groups {
                self.wait_for_quiet();
                group.round(warm_up, self.seconds)?;
            }
        }
        Ok(())
    }

    fn wait_for_quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(self.patience);
        while Instant::now() < deadline && busy_cores().is_some_and(|cores| cores > 0.1) {}
    }
}

/// How many cores are busy, measured over 200 ms.
fn busy_cores() -> Option<f64> {
    let (start, before) = (Instant::now(), usage::machine_cpu_us()?);
    thread::sleep(Duration::from_millis(200));
    Some((usage::machine_cpu_us()? - before) / 1e6 / start.elapsed().as_secs_f64())
}

/// Parses a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if !(0.1..=600.0).contains(&seconds) {
        return Err("not from 0.1 to 600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
