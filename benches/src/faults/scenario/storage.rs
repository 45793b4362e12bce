//! The scenario in which JetStream's store is full: of requests, so that there is no room for their outcomes.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use tokio::time::{self, Instant};

use super::super::audit::{Strictness, audit, run_again};
use super::super::clients::Clients;
use super::super::ledger::{Fate, Ledger, RequestKind};
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::verdict::Verdict;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// Room for about half of the requests.
const REQUEST: u64 = 1_000;

/// How long new requests may be refused after the store has room again.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::with_store(plan.requests * REQUEST)?;
    if !nats.keeps_outcomes() {
        return Ok(Verdict::left_out("this server cannot keep outcomes"));
    }
    // With the limits that narun declares by default, the store would be too small from the beginning.
    Site::declare_unlimited(&nats).await?;
    let mut site = Site::start(nats, plan, 1, 0, |setup| setup.max_deliveries = 5).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, true);
    let ledger = Ledger::default();
    let mut verdict = Verdict::default();

    let entries =
        join_all((0..plan.requests).map(|number| {
            let clients = clients.clone();
            async move {
                (number, clients.make(TestRequest::new(number, Act::Work), RequestKind::Later, false).await)
            }
        }));
    let (mut accepted, mut refused) = (0, 0);
    for (number, entry) in entries.await {
        accepted += u64::from(entry.fate == Fate::Accepted);
        refused += u64::from(entry.fate == Fate::Refused);
        ledger.enter(number, entry);
    }
    let counted = (accepted, refused);
    let good = accepted > 0 && refused > 0 && accepted + refused == plan.requests;
    verdict.expect("a full store refuses requests with 503", good, counted);

    // Not even a small outcome can be stored.
    let refused = site.fill().await?;
    verdict.expect("the store is full to its last bytes", refused.contains("insufficient"), refused);

    site.add_consumer()?;
    let strictness = Strictness { server_forgets: false, keeps_outcomes: false };
    verdict.extend(audit(&mut site, &clients, ledger, strictness).await?);
    run_again(&mut verdict, &site)?;

    // Done work has made room.
    let request = TestRequest::new(plan.requests, Act::Work);
    let path = format!("/jobs/{}", request.path());
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        let response = clients.send(RequestKind::Later, &path, plan.requests, request.content(false)).await?;
        if response.status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
            break response.status;
        }
        time::sleep(Duration::from_millis(50)).await;
    };
    verdict.expect("afterwards requests are accepted again", status == StatusCode::ACCEPTED, status);
    Ok(verdict)
}
