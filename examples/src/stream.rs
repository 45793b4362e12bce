//! The settings of streams on the command line.

use std::num::{NonZeroU8, NonZeroU64};
use std::time::Duration;

use clap::{Args, ValueEnum};
use narun_gateway::{Storage, StreamSettings};

/// How the streams and buckets of durable requests are declared if they are missing, and what existing ones are compared
/// with. The same as the keys below `stream` in the gateway's configuration, which must have the same values.
#[derive(Args, Debug, Default)]
pub struct StreamArgs {
    /// Where messages are stored.
    #[arg(long)]
    storage: Option<StorageArg>,
    /// On how many servers of a cluster messages are stored.
    #[arg(long)]
    replicas: Option<NonZeroU8>,
    /// The most durable requests that wait or run.
    #[arg(long)]
    max_messages: Option<NonZeroU64>,
    /// The most bytes of durable requests.
    #[arg(long)]
    max_bytes: Option<NonZeroU64>,
    /// The most bytes of bodies that do not fit in a message.
    #[arg(long)]
    bodies_max_bytes: Option<NonZeroU64>,
    /// The most bytes of outcomes.
    #[arg(long)]
    outcomes_max_bytes: Option<NonZeroU64>,
    /// The most bytes of dead letters.
    #[arg(long)]
    dead_letters_max_bytes: Option<NonZeroU64>,
    /// After how long a durable request is lost.
    #[arg(long)]
    max_age_seconds: Option<NonZeroU64>,
    /// How long the server recognises a request that is published twice.
    #[arg(long)]
    duplicate_window_seconds: Option<NonZeroU64>,
    /// How long outcomes are kept.
    #[arg(long)]
    outcome_ttl_seconds: Option<NonZeroU64>,
    /// Whether to declare what is missing.
    #[arg(long)]
    declare: Option<bool>,
    /// The JetStream domain.
    #[arg(long)]
    domain: Option<String>,
}

impl StreamArgs {
    /// Whether JetStream is that of another server, which has a domain.
    pub const fn has_domain(&self) -> bool {
        self.domain.is_some()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StorageArg {
    File,
    Memory,
}

impl From<StreamArgs> for StreamSettings {
    fn from(args: StreamArgs) -> Self {
        let mut settings = Self::new();
        for (value, set) in [
            (args.max_messages, Self::max_messages as fn(Self, u64) -> Self),
            (args.max_bytes, Self::max_bytes),
            (args.bodies_max_bytes, Self::bodies_max_bytes),
            (args.outcomes_max_bytes, Self::outcomes_max_bytes),
            (args.dead_letters_max_bytes, Self::dead_letters_max_bytes),
        ] {
            if let Some(value) = value {
                settings = set(settings, value.get());
            }
        }
        for (seconds, set) in [
            (args.max_age_seconds, Self::max_age as fn(Self, Duration) -> Self),
            (args.duplicate_window_seconds, Self::duplicate_window),
            (args.outcome_ttl_seconds, Self::outcome_ttl),
        ] {
            if let Some(seconds) = seconds {
                settings = set(settings, Duration::from_secs(seconds.get()));
            }
        }
        if let Some(storage) = args.storage {
            settings = settings.storage(match storage {
                StorageArg::File => Storage::File,
                StorageArg::Memory => Storage::Memory,
            });
        }
        if let Some(replicas) = args.replicas {
            settings = settings.replicas(replicas.get().into());
        }
        if let Some(declare) = args.declare {
            settings = settings.declare(declare);
        }
        match args.domain {
            Some(domain) => settings.domain(domain),
            None => settings,
        }
    }
}
