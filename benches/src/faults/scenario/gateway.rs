//! The scenario in which one of two gateways is killed and replaced.

use tokio::task::block_in_place;

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 2, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let ledger = under_load(plan, &mut site, &clients, async |site, _| {
        // Always the first one: outcomes are requested from the last one.
        let killed = site.gateways.remove(0);
        block_in_place(|| killed.kill())?;
        let gateway = site.gateway()?;
        clients.moved(0, gateway.address());
        site.gateways.insert(0, gateway);
        Ok(())
    })
    .await?;
    let mut verdict = audit(&mut site, &clients, ledger, Strictness::default()).await?;
    verdict.note(format!("{} gateways were killed; outcomes were requested from another one", plan.kills));
    Ok(verdict)
}
