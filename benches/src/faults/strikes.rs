//! Kills under load.

use std::sync::Arc;

use super::clients::Clients;
use super::gate::Gate;
use super::ledger::Ledger;
use super::plan::Plan;
use super::random::Random;
use super::site::Site;
use crate::Error;

/// Makes all requests of the plan, and calls `strike` for each kill of the plan meanwhile.
///
/// A strike comes after a share of the requests was let in, when a random part of that share has begun.
pub(super) async fn under_load(
    plan: &Plan,
    site: &mut Site,
    clients: &Clients,
    mut strike: impl AsyncFnMut(&mut Site, &mut Random) -> Result<(), Error>,
) -> Result<Ledger, Error> {
    let gate = Arc::new(Gate::new());
    let strikes = async {
        let mut random = Random::new(plan.seed, u64::MAX);
        let share = plan.requests / (plan.kills + 1);
        for _ in 0..plan.kills {
            gate.allow(share);
            gate.until_left(random.below(share)).await;
            tokio::time::sleep(random.millis(20)).await;
            strike(site, &mut random).await?;
        }
        gate.allow(plan.requests - share * plan.kills);
        gate.finish().await;
        Ok(())
    };
    let (ledger, ()) = tokio::try_join!(clients.run(plan.concurrency, gate.clone()), strikes)?;
    Ok(ledger)
}
