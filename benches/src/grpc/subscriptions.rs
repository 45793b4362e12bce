//! Subscriptions that get no message: the memory that they need, and whether all of it is freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use narun_grpc::pb;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::transport::Channel;

use super::options::GrpcOptions;
use super::programs::{nats, service};
use super::report::GrpcReport;
use crate::goal::Goal;
use crate::process::Process;
use crate::role::channel;
use crate::{Error, usage};

/// The number of connections.
const CONNECTIONS: usize = 10;

/// How many subscriptions are opened at a time.
const AT_A_TIME: usize = 64;

/// How long the last subscriptions may take to end.
const LIMIT: Duration = Duration::from_secs(30);

/// By how much the memory may grow after the first tenth, in MiB.
const TOLERANCE: f64 = 8.0;

type Grpc = NatsServiceClient<Channel>;

pub(super) async fn run(options: &GrpcOptions, report: &mut GrpcReport) -> Result<(), Error> {
    let nats = nats()?;
    let client = async_nats::connect(nats.url()).await?;
    let service = service(options, &nats)?;
    let mut clients: Vec<Grpc> = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(NatsServiceClient::new(channel(service.address().parse()?).await?));
    }
    // The first subscriptions allocate memory that is kept.
    for number in 0..1000 {
        open(&clients, number).await?;
    }
    let before = settled(&client, None).await?;
    if options.idle > 0 {
        idle(options, report, &service, &clients).await?;
    }
    if options.churn > 0 {
        churn(options, report, &service, &clients).await?;
    }
    let after = settled(&client, Some(before)).await?;
    if after > before {
        report.failed(format!("{} subscriptions are left", after - before));
    }
    Ok(())
}

async fn idle(
    options: &GrpcOptions,
    report: &mut GrpcReport,
    service: &Process,
    clients: &[Grpc],
) -> Result<(), Error> {
    let before = usage::rss_mib(service.id());
    let open = futures::stream::iter(0..options.idle as u64).map(|number| open(clients, number));
    let streams: Vec<_> = open.buffer_unordered(AT_A_TIME).try_collect().await?;
    let after = usage::rss_mib(service.id());
    let each = before.zip(after).map(|(before, after)| (after - before) * 1024.0 / streams.len() as f64);
    report.check(format!("KiB for each of {} idle subscriptions", streams.len()), each, Goal::AtMost(12.0));
    Ok(())
}

async fn churn(
    options: &GrpcOptions,
    report: &mut GrpcReport,
    service: &Process,
    clients: &[Grpc],
) -> Result<(), Error> {
    let opened = Arc::new(AtomicU64::new(0));
    let wanted = options.churn;
    let mut tasks = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (opened, clients) = (opened.clone(), clients.to_vec());
        tasks.spawn(async move {
            loop {
                let number = opened.fetch_add(1, Ordering::Relaxed);
                if number >= wanted {
                    return Ok::<_, Error>(());
                }
                drop(open(&clients, number).await?);
            }
        });
    }
    let (began, mut looks) = (Instant::now(), Vec::new());
    for tenth in 1..=10 {
        while opened.load(Ordering::Relaxed) < wanted / 10 * tenth && !tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        looks.push(usage::rss_mib(service.id()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let seconds = began.elapsed().as_secs_f64();
    report.note(&format!("\n{wanted} subscriptions opened and closed, {:.0}/s", wanted as f64 / seconds));
    let growth = looks.first().copied().flatten().zip(usage::rss_mib(service.id()));
    let growth = growth.map(|(first, last)| last - first);
    report.check("MiB left by them after the first tenth", growth, Goal::AtMost(TOLERANCE));
    Ok(())
}

async fn open(clients: &[Grpc], number: u64) -> Result<Streaming<pb::MessageResponse>, Error> {
    let mut client = clients[number as usize % clients.len()].clone();
    let request = pb::SubscribeRequest {
        user_id: "bench".to_owned(),
        subject: format!("idle.{number}"),
        ..Default::default()
    };
    Ok(client.subscribe(request).await?.into_inner())
}

/// The number of subscriptions on the NATS server, when it is at most `wanted`, or stops falling if that is `None`.
async fn settled(client: &async_nats::Client, wanted: Option<u64>) -> Result<u64, Error> {
    let deadline = Instant::now() + LIMIT;
    let mut last = u64::MAX;
    loop {
        let now = subscriptions(client).await?;
        let enough = wanted.map_or(now >= last, |wanted| now <= wanted);
        if enough || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The number of subscriptions of all connections of the account.
async fn subscriptions(client: &async_nats::Client) -> Result<u64, Error> {
    let response = client.request("$SYS.REQ.ACCOUNT.PING.CONNZ", "".into()).await?;
    let response: Value = serde_json::from_slice(&response.payload)?;
    let connections = response["data"]["connections"].as_array().ok_or("no list of connections")?;
    Ok(connections.iter().filter_map(|connection| connection["subscriptions"].as_u64()).sum())
}
