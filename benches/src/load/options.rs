//! The command line.

use clap::{Parser, ValueEnum};

use super::case::{LoadCase, Variant};
use super::setting::Runtime;
use crate::pace::Pace;

/// Compares narun with raw NATS request-reply, with its handler alone and with a reverse proxy.
#[derive(Clone, Debug, Parser)]
pub(super) struct LoadOptions {
    #[command(flatten)]
    pub(super) pace: Pace,

    /// Bytes in each body
    #[arg(long, value_delimiter = ',', default_values_t = [200, 16_384])]
    pub(super) body: Vec<usize>,

    /// Requests at a time, each on an HTTP connection of its own
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    pub(super) connections: Vec<usize>,

    /// Only these cases
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = LoadCase::value_variants().to_vec())]
    case: Vec<LoadCase>,

    /// Runtime of all programs but the HTTP client, which always has one thread
    #[arg(long, value_enum, default_value_t = RuntimeChoice::Both)]
    pub(super) runtime: RuntimeChoice,

    /// Number of routes of the gateway; several numbers are measured side by side
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    routes: Vec<usize>,

    /// JSON, a line per cell and per ratio, instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

/// One of the runtimes, or each in turn.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum RuntimeChoice {
    CurrentThread,
    MultiThread,
    Both,
}

impl LoadOptions {
    /// The cases; `narun` appears once per number of routes.
    pub(super) fn variants(&self) -> impl Iterator<Item = Variant> {
        self.case.iter().flat_map(|&case| {
            let routes: &[usize] = if case == LoadCase::Narun { &self.routes } else { &[0] };
            routes.iter().map(move |&routes| Variant { case, routes })
        })
    }
}

impl RuntimeChoice {
    pub(super) fn runtimes(self) -> impl Iterator<Item = Runtime> {
        Runtime::ALL.into_iter().filter(move |runtime| match self {
            Self::CurrentThread => *runtime == Runtime::CurrentThread,
            Self::MultiThread => *runtime == Runtime::MultiThread,
            Self::Both => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        LoadOptions::command().debug_assert();
    }

    #[test]
    fn only_narun_is_repeated_per_number_of_routes() {
        let options = LoadOptions::parse_from(["load", "--case", "raw,narun", "--routes", "10,1000"]);
        let variants: Vec<_> = options.variants().map(|variant| variant.to_string()).collect();
        assert_eq!(variants, ["raw", "narun/10", "narun/1000"]);
    }
}
