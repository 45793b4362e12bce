//! The scenario in which the stream's leader, one of three servers, is killed and started again.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time;

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

/// How long the servers may take to recover.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::three()?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 2, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let ledger = under_load(plan, &mut site, &clients, async |site, random| {
        let leader = site.leader().await?;
        let Nats::Three(cluster) = &mut site.nats else { return Ok(()) };
        block_in_place(|| cluster.server(leader).kill())?;
        time::sleep(random.millis(3_000)).await;
        block_in_place(|| {
            cluster.server(leader).restart()?;
            cluster.wait()
        })?;
        // Otherwise no server may have all messages after the next kill.
        site.until_caught_up(LIMIT).await
    })
    .await?;
    let mut verdict =
        audit(&mut site, &clients, ledger, Strictness { server_forgets: true, ..Strictness::default() })
            .await?;
    verdict.note(format!("the stream's leader was killed {} times", plan.kills));
    Ok(verdict)
}
