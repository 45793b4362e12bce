//! The scenario in which the only server is killed and started again.

use narun_support::{Binary, Release};
use tokio::task::block_in_place;
use tokio::time;

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::strikes::under_load;
use super::super::verdict::Verdict;
use crate::Error;

pub(super) async fn run(plan: &Plan, sync_always: bool) -> Result<Verdict, Error> {
    if sync_always && Binary::find()?.release() < Release::OLDEST {
        return Ok(Verdict::left_out("this server has no setting to sync every message"));
    }
    let nats = Nats::one(sync_always)?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 1, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let ledger = under_load(plan, &mut site, &clients, async |site, random| {
        let Nats::One(server) = &mut site.nats else { return Ok(()) };
        block_in_place(|| server.kill())?;
        time::sleep(random.millis(300)).await;
        block_in_place(|| server.restart())?;
        Ok(())
    })
    .await?;
    let mut verdict =
        audit(&mut site, &clients, ledger, Strictness { server_forgets: true, ..Strictness::default() })
            .await?;
    verdict.note(format!("the server was killed {} times", plan.kills));
    verdict.note(if sync_always {
        "every message was on disk before it was acknowledged: the loss of the machine would lose none either"
    } else {
        "messages were written at once but synced every 2 minutes: a crash of the machine, not only of the server, \
         would lose those accepted since"
    });
    Ok(verdict)
}
