//! The scenario in which the server is killed and back at once, but the consumer, whose handlers are slow, connects again only
//! after seconds. Requests are direct.

use std::time::Duration;

use futures::future::{try_join, try_join_all};
use http::StatusCode;
use tokio::task::block_in_place;
use tokio::time::{self, Instant};

use super::super::audit::run_again;
use super::super::clients::Clients;
use super::super::ledger::RequestKind;
use super::super::plan::Plan;
use super::super::random::Random;
use super::super::site::{Nats, Site};
use super::super::verdict::Verdict;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// The pause of the clients in Go and Python before they connect again.
const RECONNECT: Duration = Duration::from_secs(2);

/// How long the server is away.
const AWAY: Duration = Duration::from_millis(200);

/// When the gateway probes the consumer for the first time.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// Longer than the handlers take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long requests may take to begin.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let mut site = Site::start(Nats::one(false)?, plan, 1, 1, |setup| {
        setup.timeout = TIMEOUT;
        setup.reconnect = Some(RECONNECT);
        setup.concurrency = plan.concurrency;
    })
    .await?;
    let clients = Clients::new(site.addresses(), TIMEOUT, plan.seed, false);
    let mut random = Random::new(plan.seed, u64::MAX);
    let mut lost = Vec::new();
    let share = plan.requests / plan.kills.max(1);
    for kill in 0..plan.kills {
        let numbers = kill * share..(kill + 1) * share;
        let requests = try_join_all(numbers.clone().map(async |number| {
            let request = TestRequest::new(number, Act::Slow);
            let (path, content) = (format!("/direct/{}", request.path()), request.content(false));
            let receipt = request.receipt(&content);
            let response = clients.send(RequestKind::Plain, &path, number, content).await?;
            let good = response.status == StatusCode::OK && *response.body == *receipt.as_bytes();
            Ok::<_, Error>((!good).then(|| format!("request {number}: {response:?}")))
        }));
        let strike = async {
            // All of them run.
            let deadline = Instant::now() + LIMIT;
            while numbers.clone().any(|number| site.executions().is_ok_and(|runs| runs.of(number).is_none()))
            {
                if Instant::now() > deadline {
                    return Err("the requests do not begin".into());
                }
                time::sleep(Duration::from_millis(20)).await;
            }
            // The first PROBE of the gateway is due while the server is away.
            time::sleep(FIRST_PROBE - AWAY + random.millis(100)).await;
            let Nats::One(server) = &mut site.nats else { return Ok(()) };
            block_in_place(|| server.kill())?;
            time::sleep(AWAY).await;
            Ok(block_in_place(|| server.restart())?)
        };
        let (responses, ()) = try_join(requests, strike).await?;
        lost.extend(responses.into_iter().flatten());
    }
    let mut verdict = Verdict::default();
    let count = (share * plan.kills) as usize;
    verdict.check("every request that runs gets its response", count, lost);
    run_again(&mut verdict, &site)?;
    verdict.note(format!("the server was killed {} times, for {AWAY:?} each", plan.kills));
    Ok(verdict)
}
