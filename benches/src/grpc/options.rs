//! The command line.

use std::num::NonZeroUsize;

use clap::{Parser, ValueEnum};

use crate::pace::Pace;
use crate::role::Operation;

/// Compares NATS over gRPC with the same operations directly through async-nats.
#[derive(Clone, Debug, Parser)]
pub(super) struct GrpcOptions {
    #[command(flatten)]
    pub(super) pace: Pace,

    /// Only these operations
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Operation::value_variants().to_vec())]
    pub(super) operation: Vec<Operation>,

    /// Operations at a time, over one connection
    #[arg(long, default_value_t = 64)]
    pub(super) in_flight: usize,

    /// Bytes of each message and value
    #[arg(long, default_value_t = 200)]
    pub(super) body: usize,

    /// Worker threads of the service and of the echo; one thread by default
    #[arg(long)]
    pub(super) workers: Option<NonZeroUsize>,

    /// Size of the object, in MiB; 0 to leave it out
    #[arg(long, default_value_t = 1024)]
    pub(super) object_mib: u64,

    /// How often the object goes each way
    #[arg(long, default_value_t = 3)]
    pub(super) object_rounds: u32,

    /// Subscriptions that are open at the same time and get no message
    #[arg(long, default_value_t = 10_000)]
    pub(super) idle: usize,

    /// Subscriptions that are opened and closed
    #[arg(long, default_value_t = 100_000)]
    pub(super) churn: u64,

    /// JSON, a line per figure, instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        GrpcOptions::command().debug_assert();
    }
}
