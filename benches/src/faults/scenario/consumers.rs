//! The scenario in which consumers are killed and started again.

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

/// How many consumers run. One is killed at a time.
const CONSUMERS: usize = 4;

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 1, CONSUMERS, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let ledger = under_load(plan, &mut site, &clients, async |site, random| {
        site.replace_consumer(random.below(CONSUMERS as u64) as usize)
    })
    .await?;
    let mut verdict = audit(&mut site, &clients, ledger, Strictness::default()).await?;
    verdict.note(format!("{} consumers were killed", plan.kills));
    Ok(verdict)
}
