//! The scenarios.

mod consumers;
mod gateway;
mod leader;
mod limits;
mod server;

use clap::ValueEnum;

use super::plan::Plan;
use super::verdict::Verdict;
use crate::Error;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Consumers are killed
    Consumers,
    /// The server is killed, which syncs every two minutes (the default)
    Server,
    /// The server is killed, which syncs every message
    ServerSynced,
    /// One of three servers is killed, the stream's leader
    Leader,
    /// A gateway is killed
    Gateway,
    /// Limits are reached, handlers fail, messages expire, keys are used again
    Limits,
}

impl Scenario {
    pub(super) const ALL: [Self; 6] =
        [Self::Consumers, Self::Server, Self::ServerSynced, Self::Leader, Self::Gateway, Self::Limits];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Consumers => "consumers",
            Self::Server => "server",
            Self::ServerSynced => "server-synced",
            Self::Leader => "leader",
            Self::Gateway => "gateway",
            Self::Limits => "limits",
        }
    }

    /// Requests and kills of the sizes quick, usual and full.
    pub(super) fn sizes(self) -> [(u64, u64); 3] {
        match self {
            Self::Consumers => [(300, 10), (1_500, 50), (5_000, 200)],
            Self::Server | Self::ServerSynced => [(150, 2), (800, 8), (3_000, 30)],
            Self::Leader => [(100, 1), (500, 5), (2_000, 20)],
            Self::Gateway => [(200, 3), (800, 8), (2_000, 20)],
            Self::Limits => [(40, 0), (100, 0), (500, 0)],
        }
    }

    pub(super) async fn run(self, plan: &Plan) -> Result<Verdict, Error> {
        match self {
            Self::Consumers => consumers::run(plan).await,
            Self::Server => server::run(plan, false).await,
            Self::ServerSynced => server::run(plan, true).await,
            Self::Leader => leader::run(plan).await,
            Self::Gateway => gateway::run(plan).await,
            Self::Limits => limits::run(plan).await,
        }
    }
}
