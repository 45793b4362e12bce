//! The command line.

use std::time::Duration;

use clap::{ArgGroup, Parser};

use super::plan::Plan;
use super::scenario::Scenario;

/// Kills consumers, servers and gateways, and checks that accepted requests are done.
#[derive(Clone, Debug, Parser)]
#[command(group = ArgGroup::new("size"))]
pub(super) struct FaultsOptions {
    /// Only these scenarios
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Scenario::ALL)]
    scenario: Vec<Scenario>,

    /// Seed of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Few requests and kills, for about a minute
    #[arg(long, group = "size")]
    quick: bool,

    /// Many requests and kills
    #[arg(long, group = "size")]
    full: bool,

    /// Requests per scenario, instead of its own number
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    requests: Option<u64>,

    /// Kills per scenario, instead of its own number
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    kills: Option<u64>,

    /// Requests at a time
    #[arg(long, default_value_t = 32)]
    concurrency: usize,

    /// How long a client waits for its response, in milliseconds
    #[arg(long, default_value_t = 2_500)]
    timeout_ms: u64,

    /// How long the server waits for an acknowledgement before it delivers a request again, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    ack_wait_ms: u64,

    /// Seconds that a scenario may take
    #[arg(long, default_value_t = 600)]
    limit: u64,
}

impl FaultsOptions {
    pub(super) fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        self.scenario.iter().copied()
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn plan(&self, scenario: Scenario) -> Plan {
        let [quick, usual, full] = scenario.sizes();
        let (requests, kills) = match (self.quick, self.full) {
            (true, _) => quick,
            (_, true) => full,
            _ => usual,
        };
        Plan {
            seed: self.seed,
            requests: self.requests.unwrap_or(requests),
            kills: self.kills.unwrap_or(kills),
            concurrency: self.concurrency.max(1),
            timeout: Duration::from_millis(self.timeout_ms),
            ack_wait: Duration::from_millis(self.ack_wait_ms),
            limit: Duration::from_secs(self.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        FaultsOptions::command().debug_assert();
    }

    #[test]
    fn the_size_follows_from_the_options() {
        let kills = |arguments: &[&str]| {
            let arguments = ["faults"].iter().chain(arguments);
            FaultsOptions::parse_from(arguments).plan(Scenario::Consumers).kills
        };
        assert_eq!(kills(&["--full"]), 200);
        assert_eq!(kills(&["--full", "--kills", "3"]), 3);
        assert!(kills(&["--quick"]) < kills(&[]));
        assert!(FaultsOptions::try_parse_from(["faults", "--quick", "--full"]).is_err());
    }
}
