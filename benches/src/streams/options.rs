//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::case::Bulk;
use crate::pace::{Pace, seconds};

/// Compares bodies streamed through narun with a bare credit loop over NATS, and measures their effect on other requests.
#[derive(Clone, Debug, Parser)]
pub(super) struct StreamsOptions {
    #[command(flatten)]
    pub(super) pace: Pace,

    /// Only these parts
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Part::value_variants().to_vec())]
    pub(super) part: Vec<Part>,

    /// Part `bulk`: only these cases
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Bulk::value_variants().to_vec())]
    case: Vec<Bulk>,

    /// Parts `bulk` and `grpc`: transfers at a time, each on a connection of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    pub(super) at_once: Vec<usize>,

    /// Part `bulk`: windows of gateway, consumer and credit loop in KiB
    #[arg(long, value_delimiter = ',', default_values_t = [1024], value_parser = clap::value_parser!(u64).range(64..=8192))]
    pub(super) window: Vec<u64>,

    /// Part `small`: small requests at a time
    #[arg(long, default_value_t = 4)]
    pub(super) small: usize,

    /// Part `small`: long bodies beside them
    #[arg(long, default_value_t = 4)]
    pub(super) streams: usize,

    /// Part `small`: MiB per second of each of those
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pace_mib: u32,

    /// Part `readers`: slow readers
    #[arg(long, default_value_t = 1000)]
    pub(super) readers: usize,

    /// Part `readers`: KiB per second of all of them together
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) read_kib: u64,

    /// Part `readers`: length of its only round
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub(super) read_seconds: Duration,

    /// Worker threads of every program but the clients; one thread each by default
    #[arg(long)]
    pub(super) workers: Option<usize>,

    /// JSON, a line per cell and per ratio, instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

/// A part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// Long bodies
    Bulk,
    /// Small requests beside long bodies
    Small,
    /// Many slow readers
    Readers,
    /// gRPC through NATS
    Grpc,
}

impl StreamsOptions {
    /// The cases of long bodies, the ideal first.
    pub(super) fn bulk(&self) -> impl Iterator<Item = Bulk> {
        Bulk::value_variants().iter().copied().filter(|case| self.case.contains(case))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        StreamsOptions::command().debug_assert();
    }

    #[test]
    fn the_ideal_comes_first() {
        let options = StreamsOptions::parse_from(["streams", "--case", "up,credit"]);
        assert_eq!(options.bulk().collect::<Vec<_>>(), [Bulk::Credit, Bulk::Up]);
    }
}
