//! The processes of a scenario: servers, gateways and consumers; and the file in which handlers note executions.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context, kv, object_store, stream};
use bytes::Bytes;
use narun_consumer::{DeadLetter, DeadLetters};
use narun_support::{Binary, Cluster, Release, Server};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::{self, Instant};

use super::executions::Executions;
use super::plan::Plan;
use crate::Error;
use crate::process::Process;
use crate::role::{DurableSetup, Job, Role};
use crate::test_request::TestRequest;

const NAMESPACE: &str = "FAULTS";

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// How long one attempt may take. Short, as a cluster drops requests while it elects a leader.
const ATTEMPT: Duration = Duration::from_secs(1);

/// More values than a small store has room for.
const FILLING: u32 = 100_000;

/// How long the servers may take to answer at all.
const LIMIT: Duration = Duration::from_secs(30);

/// The processes of a scenario; dropping it ends them.
#[derive(Debug)]
pub(super) struct Site {
    // Dropped in this order, beginning next to the client.
    pub(super) gateways: Vec<Process>,
    pub(super) consumers: Vec<Process>,
    pub(super) nats: Nats,
    pub(super) setup: DurableSetup,
    context: Context,
    _scratch: TempDir,
}

/// One server or three.
#[derive(Debug)]
pub(super) enum Nats {
    One(Box<Server>),
    Three(Cluster),
}

impl Nats {
    /// One server with JetStream.
    pub(super) fn one(sync_always: bool) -> Result<Self, Error> {
        let server = block_in_place(|| Server::builder().jetstream(true).sync_always(sync_always).start())?;
        Ok(Self::One(Box::new(server)))
    }

    /// One server whose JetStream store has at most this many bytes.
    pub(super) fn with_store(bytes: u64) -> Result<Self, Error> {
        let config = format!("jetstream {{ max_file_store: {bytes} }}\n");
        let server = block_in_place(|| Server::builder().jetstream(true).config(config).start())?;
        Ok(Self::One(Box::new(server)))
    }

    pub(super) fn three() -> Result<Self, Error> {
        Ok(Self::Three(block_in_place(Cluster::start)?))
    }

    fn urls(&self) -> Vec<String> {
        match self {
            Self::One(server) => vec![server.url().to_owned()],
            Self::Three(cluster) => cluster.urls(),
        }
    }

    fn binary(&self) -> &Binary {
        match self {
            Self::One(server) => server.binary(),
            Self::Three(cluster) => cluster.servers()[0].binary(),
        }
    }

    /// Whether outcomes can be kept, which needs nats-server 2.10 or later.
    pub(super) fn keeps_outcomes(&self) -> bool {
        self.binary().release() >= Release::OLDEST
    }
}

impl Site {
    /// Starts this many gateways and consumers. `change` may modify the setup before.
    pub(super) async fn start(
        nats: Nats,
        plan: &Plan,
        gateways: usize,
        consumers: usize,
        change: impl FnOnce(&mut DurableSetup),
    ) -> Result<Self, Error> {
        let scratch = tempfile::Builder::new().prefix("narun-faults-").tempdir()?;
        let mut setup = DurableSetup {
            nats: nats.urls(),
            namespace: NAMESPACE.to_owned(),
            app: "jobs".to_owned(),
            replicas: if matches!(nats, Nats::Three(_)) { 3 } else { 1 },
            max_messages: None,
            timeout: plan.timeout,
            expiry: Duration::from_millis(300),
            ack_wait: plan.ack_wait,
            // A request may be hit by more kills than the default allows.
            max_deliveries: 50,
            concurrency: 16,
            workers: None,
            reconnect: None,
            record: scratch.path().join("record"),
        };
        change(&mut setup);
        let context = jetstream::new(async_nats::connect(&*setup.nats).await?);
        let mut site =
            Self { gateways: Vec::new(), consumers: Vec::new(), nats, setup, context, _scratch: scratch };
        for _ in 0..gateways {
            let gateway = site.gateway()?;
            site.gateways.push(gateway);
        }
        for _ in 0..consumers {
            site.add_consumer()?;
        }
        Ok(site)
    }

    /// Starts another gateway, on a port of its own.
    pub(super) fn gateway(&self) -> Result<Process, Error> {
        start("gateway", None, Role::DurableGateway(self.setup.clone()))
    }

    pub(super) fn add_consumer(&mut self) -> Result<(), Error> {
        let consumer = start("consumer", self.setup.workers, Role::DurableConsumer(self.setup.clone()))?;
        self.consumers.push(consumer);
        Ok(())
    }

    /// Kills a consumer and starts another one.
    pub(super) fn replace_consumer(&mut self, number: usize) -> Result<(), Error> {
        let consumer = self.consumers.swap_remove(number);
        block_in_place(|| consumer.kill())?;
        self.add_consumer()
    }

    /// Starts a consumer for each one that has ended by itself.
    pub(super) fn replace_gone(&mut self) -> Result<(), Error> {
        let before = self.consumers.len();
        self.consumers.retain_mut(|consumer| !consumer.is_gone());
        for _ in self.consumers.len()..before {
            self.add_consumer()?;
        }
        Ok(())
    }

    /// The HTTP addresses of the gateways.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.gateways.iter().map(|gateway| gateway.address().to_owned()).collect()
    }

    /// The executions until now.
    pub(super) fn executions(&self) -> Result<Executions, Error> {
        Executions::read(&self.setup.record)
    }

    /// Waits until the stream is empty. Consumers that end by themselves are replaced.
    pub(super) async fn settle(&mut self, limit: Duration) -> Result<(), Error> {
        retry(limit, async || {
            self.replace_gone()?;
            match self.stream().await?.state.messages {
                0 => Ok(()),
                left => Err(format!("{left} requests are left").into()),
            }
        })
        .await
    }

    /// Declares the streams and buckets of the namespace as narun needs them, but without a limit of their own.
    pub(super) async fn declare_unlimited(nats: &Nats) -> Result<(), Error> {
        let context = jetstream::new(async_nats::connect(nats.urls()).await?);
        context
            .create_stream(stream::Config {
                name: NAMESPACE.to_owned(),
                subjects: vec![format!("task.{NAMESPACE}.>")],
                retention: stream::RetentionPolicy::WorkQueue,
                discard: stream::DiscardPolicy::New,
                duplicate_window: Duration::from_secs(120),
                ..stream::Config::default()
            })
            .await?;
        context
            .create_stream(stream::Config {
                name: format!("{NAMESPACE}-dead"),
                subjects: vec![format!("dead.{NAMESPACE}.>")],
                discard: stream::DiscardPolicy::New,
                duplicate_window: Duration::from_secs(120),
                ..stream::Config::default()
            })
            .await?;
        let outcomes = format!("{NAMESPACE}-outcomes");
        let max_age = Duration::from_secs(24 * 60 * 60);
        context.create_key_value(kv::Config { bucket: outcomes, max_age, ..kv::Config::default() }).await?;
        let bodies = format!("{NAMESPACE}-bodies");
        let config = object_store::Config { bucket: bodies, ..object_store::Config::default() };
        context.create_object_store(config).await?;
        Ok(())
    }

    /// How many requests are in the stream.
    pub(super) async fn waiting(&self) -> Result<u64, Error> {
        retry(LIMIT, async || Ok(self.stream().await?.state.messages)).await
    }

    /// Puts small values into the bucket of outcomes until the server refuses one, and returns its error.
    pub(super) async fn fill(&self) -> Result<String, Error> {
        for number in 0..FILLING {
            let subject = format!("$KV.{NAMESPACE}-outcomes.filling-{number}");
            if let Err(error) = self.context.publish(subject, Bytes::new()).await?.await {
                return Ok(crate::text(&error.into()));
            }
        }
        Ok("nothing was refused".to_owned())
    }

    /// The sequence of the last request in the stream.
    pub(super) async fn last_sequence(&self) -> Result<u64, Error> {
        retry(LIMIT, async || Ok(self.stream().await?.state.last_sequence)).await
    }

    /// How often the server has delivered a request that it had delivered before.
    pub(super) async fn redeliveries(&self) -> Result<u64, Error> {
        let app = &self.setup.app;
        let consumer: PullConsumer =
            retry(LIMIT, async || Ok(self.context.get_consumer_from_stream(app, NAMESPACE).await?)).await?;
        let delivered = consumer.cached_info().delivered;
        Ok(delivered.consumer_sequence.saturating_sub(delivered.stream_sequence))
    }

    /// The dead letters, by the number of their request.
    pub(super) async fn dead(&self) -> Result<Vec<(u64, DeadLetter)>, Error> {
        let letters = DeadLetters::new(self.context.client(), NAMESPACE)?;
        let letters = retry(LIMIT, async || Ok(letters.list(None, 1, usize::MAX).await?)).await?;
        let number = |letter: &DeadLetter| Some(TestRequest::of_path(letter.request()?.uri.path())?.number);
        Ok(letters.into_iter().filter_map(|letter| Some((number(&letter)?, letter))).collect())
    }

    /// Waits until a server leads the stream of requests, and returns its number.
    pub(super) async fn leader(&self) -> Result<usize, Error> {
        let Nats::Three(cluster) = &self.nats else { return Err("a single server has no leader".into()) };
        retry(LIMIT, async || {
            let leader = block_in_place(|| cluster.stream_leader(NAMESPACE));
            leader.ok_or_else(|| "the stream has no leader".into())
        })
        .await
    }

    /// Waits until every server has the whole stream.
    pub(super) async fn until_caught_up(&self, limit: Duration) -> Result<(), Error> {
        retry(limit, async || {
            let current = self.stream().await?.cluster.is_some_and(|cluster| {
                cluster.leader.is_some()
                    && cluster.replicas.len() + 1 == self.setup.replicas
                    && cluster.replicas.iter().all(|replica| replica.current && !replica.offline)
            });
            if current { Ok(()) } else { Err("a server has not caught up".into()) }
        })
        .await
    }

    async fn stream(&self) -> Result<stream::Info, Error> {
        Ok(self.context.get_stream(NAMESPACE).await?.cached_info().clone())
    }
}

/// Tries until an attempt succeeds. After `limit`, returns the error of the last one.
async fn retry<T>(limit: Duration, mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + limit;
    loop {
        let error = match time::timeout(ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        if Instant::now() > deadline {
            return Err(format!("after {limit:?}: {}", crate::text(&error)).into());
        }
        time::sleep(PAUSE).await;
    }
}

fn start(name: &'static str, workers: Option<usize>, role: Role) -> Result<Process, Error> {
    block_in_place(|| Process::start(name, &Job { workers, role }))
}
