//! The scenario in which one of three servers after the other enters lame duck mode, as in a rolling upgrade.

use std::time::Duration;

use tokio::task::block_in_place;

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

/// How long a server may take to catch up.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::three()?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 2, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let mut turn = 0;
    let ledger = under_load(plan, &mut site, &clients, async |site, _| {
        let Nats::Three(cluster) = &mut site.nats else { return Ok(()) };
        block_in_place(|| {
            cluster.server(turn % 3).lame_duck()?;
            cluster.server(turn % 3).restart()?;
            cluster.wait()
        })?;
        turn += 1;
        site.until_caught_up(LIMIT).await
    })
    .await?;
    let strictness = Strictness { server_forgets: true, ..Strictness::default() };
    let mut verdict = audit(&mut site, &clients, ledger, strictness).await?;
    verdict.note(format!("{} servers ended through lame duck mode", plan.kills));
    Ok(verdict)
}
