//! The scenario in which the only consumer stands still for many ack waits, and goes on.

use rustix::process::Signal;
use tokio::time;

use super::super::audit::{Strictness, audit, delivered_again, run_again};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

/// For how many ack waits the consumer is stopped: more than the deliveries that are allowed.
const STOPPED: u32 = 7;

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 1, 1, |setup| setup.max_deliveries = 5).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let ledger = under_load(plan, &mut site, &clients, async |site, _| {
        site.consumers[0].signal(Signal::STOP)?;
        time::sleep(plan.ack_wait * STOPPED).await;
        site.consumers[0].signal(Signal::CONT)
    })
    .await?;
    let mut verdict = audit(&mut site, &clients, ledger, Strictness::default()).await?;
    run_again(&mut verdict, &site)?;
    delivered_again(&mut verdict, &site).await?;
    verdict.note(format!("the consumer was stopped {} times, for {STOPPED} ack waits each", plan.kills));
    Ok(verdict)
}
