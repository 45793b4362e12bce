//! The scenario in which handlers block their threads for many ack waits.

use futures::future::join_all;

use super::super::audit::{Strictness, audit, delivered_again, run_again};
use super::super::clients::Clients;
use super::super::ledger::{Ledger, RequestKind};
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::verdict::Verdict;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// Of this many requests, one blocks.
const SHARE: u64 = 10;

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let mut verdict = blocked(plan, Some(4)).await?;
    // All of the consumer stands still.
    verdict.extend(blocked(plan, None).await?);
    Ok(verdict)
}

async fn blocked(plan: &Plan, workers: Option<usize>) -> Result<Verdict, Error> {
    let mut site = Site::start(Nats::one(false)?, plan, 1, 1, |setup| {
        setup.max_deliveries = 5;
        setup.workers = workers;
    })
    .await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let ledger = Ledger::default();
    let entries =
        join_all(
            (0..plan.requests).map(|number| {
                let (clients, act) =
                    (clients.clone(), if number % SHARE == 0 { Act::Block } else { Act::Work });
                async move {
                    (number, clients.make(TestRequest::new(number, act), RequestKind::Plain, false).await)
                }
            }),
        );
    for (number, entry) in entries.await {
        ledger.enter(number, entry);
    }
    let mut verdict = audit(&mut site, &clients, ledger, Strictness::default()).await?;
    run_again(&mut verdict, &site)?;
    match workers {
        Some(workers) => verdict.note(format!("handlers blocked {workers} worker threads")),
        None => {
            delivered_again(&mut verdict, &site).await?;
            verdict.note("handlers blocked the only thread");
        }
    }
    Ok(verdict)
}
