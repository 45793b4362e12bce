//! The scenario in which the server's store is put back to an earlier copy, while gateways and consumers go on.
//!
//! Sequence numbers, delivery counts and message ids are then used again for other requests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, stream};
use http::StatusCode;
use tokio::task::block_in_place;
use tokio::time::{self, Instant};

use super::super::audit::{Strictness, audit};
use super::super::clients::Clients;
use super::super::ledger::{Ledger, RequestKind};
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::verdict::Verdict;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// How long gateways, consumers and the server may take to work together again.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let all_kinds = nats.keeps_outcomes();
    let mut site = Site::start(nats, plan, 1, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, all_kinds);
    let share = plan.requests / 3;
    let scratch = tempfile::tempdir()?;

    make(&clients, plan, 0..share, &Ledger::default()).await;
    site.settle(LIMIT).await?;
    replace(&mut site, |store| copy(store, scratch.path()))?;
    until_served(&clients, plan.requests).await?;

    make(&clients, plan, share..2 * share, &Ledger::default()).await;
    site.settle(LIMIT).await?;
    let before = site.last_sequence().await?;
    replace(&mut site, |store| {
        fs::remove_dir_all(store)?;
        copy(scratch.path(), store)
    })?;
    let after = site.last_sequence().await?;
    until_served(&clients, 2 * plan.requests).await?;

    // What was accepted before is as the copy has it. What is accepted from now on is new.
    let ledger = Ledger::default();
    make(&clients, plan, 2 * share..plan.requests, &ledger).await;
    let strictness = Strictness { server_forgets: true, ..Strictness::default() };
    let mut verdict = audit(&mut site, &clients, ledger, strictness).await?;
    verdict.expect("the server uses sequence numbers again", after < before, (before, after));
    verdict.note("the requests were made after the store was put back");
    Ok(verdict)
}

/// Makes requests of all kinds, some at a time.
async fn make(clients: &Clients, plan: &Plan, numbers: std::ops::Range<u64>, ledger: &Ledger) {
    let entries = stream::iter(numbers).map(|number| {
        let (kind, large) = clients.kind(number);
        async move { (number, clients.make(TestRequest::new(number, Act::Work), kind, large).await) }
    });
    let entries: BTreeMap<_, _> = entries.buffer_unordered(plan.concurrency).collect().await;
    for (number, entry) in entries {
        ledger.enter(number, entry);
    }
}

/// Stops the server, changes its store, and starts it again.
fn replace(site: &mut Site, change: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let Nats::One(server) = &mut site.nats else { return Ok(()) };
    block_in_place(|| {
        server.stop()?;
        change(&server.store_dir())?;
        server.restart()?;
        Ok(())
    })
}

/// Makes requests with numbers from this one on, until one is done.
async fn until_served(clients: &Clients, first: u64) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    for number in first.. {
        let request = TestRequest::new(number, Act::Work);
        let path = format!("/jobs/{}", request.path());
        let sent = clients.send(RequestKind::Plain, &path, number, request.content(false)).await;
        if sent.is_ok_and(|response| response.status == StatusCode::OK) {
            return Ok(());
        }
        if Instant::now() > deadline {
            break;
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    Err("no request is served after the restart".into())
}

/// Copies the content of a directory.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
