//! The scenarios.

mod blocked;
mod consumers;
mod gateway;
mod lame_duck;
mod leader;
mod limits;
mod restart;
mod rollback;
mod server;
mod stopped;
mod storage;

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
    /// JetStream's store is full
    Storage,
    /// The consumer stands still for many ack waits (SIGSTOP)
    Stopped,
    /// Handlers block their threads for many ack waits
    Blocked,
    /// The server's store is put back to an earlier copy
    Rollback,
    /// The server is back at once, and a consumer with running direct requests seconds later
    Restart,
    /// Each of three servers ends through lame duck mode
    LameDuck,
}

impl Scenario {
    pub(super) const ALL: [Self; 12] = [
        Self::Consumers,
        Self::Server,
        Self::ServerSynced,
        Self::Leader,
        Self::Gateway,
        Self::Limits,
        Self::Storage,
        Self::Stopped,
        Self::Blocked,
        Self::Rollback,
        Self::Restart,
        Self::LameDuck,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Consumers => "consumers",
            Self::Server => "server",
            Self::ServerSynced => "server-synced",
            Self::Leader => "leader",
            Self::Gateway => "gateway",
            Self::Limits => "limits",
            Self::Storage => "storage",
            Self::Stopped => "stopped",
            Self::Blocked => "blocked",
            Self::Rollback => "rollback",
            Self::Restart => "restart",
            Self::LameDuck => "lame-duck",
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
            Self::Storage => [(60, 0), (200, 0), (1_000, 0)],
            Self::Stopped => [(60, 1), (200, 3), (500, 10)],
            Self::Blocked => [(20, 0), (40, 0), (60, 0)],
            Self::Rollback => [(90, 0), (300, 0), (1_500, 0)],
            Self::Restart => [(16, 1), (64, 4), (320, 20)],
            Self::LameDuck => [(60, 1), (300, 1), (2_000, 6)],
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
            Self::Storage => storage::run(plan).await,
            Self::Stopped => stopped::run(plan).await,
            Self::Blocked => blocked::run(plan).await,
            Self::Rollback => rollback::run(plan).await,
            Self::Restart => restart::run(plan).await,
            Self::LameDuck => lame_duck::run(plan).await,
        }
    }
}
