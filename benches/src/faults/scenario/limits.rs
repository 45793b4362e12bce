//! A full stream, handlers that fail for ever, messages that expire, ids that are used again.

use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use tokio::time;

use super::super::audit::{STATUS, Strictness, audit, outcome};
use super::super::clients::Clients;
use super::super::ledger::{Fate, Ledger, ReceivedResponse, RequestKind};
use super::super::plan::Plan;
use super::super::site::{Nats, Site};
use super::super::verdict::Verdict;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// How long consumers may take for what is left.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a request that fails is delivered.
const DELIVERIES: u64 = 3;

/// How many requests with the same key there are at a time.
const SAME: usize = 8;

pub(super) async fn run(plan: &Plan) -> Result<Verdict, Error> {
    let mut verdict = full(plan).await?;
    verdict.extend(failing(plan).await?);
    verdict.extend(expiring(plan).await?);
    let nats = Nats::one(false)?;
    if nats.keeps_outcomes() {
        verdict.extend(replayed(nats, plan).await?);
    }
    Ok(verdict)
}

/// Twice as many requests as the stream takes, and nobody to do them at first.
async fn full(plan: &Plan) -> Result<Verdict, Error> {
    let most = plan.requests.div_ceil(2);
    let mut site = Site::start(Nats::one(false)?, plan, 1, 0, |setup| {
        setup.max_messages = Some(most);
        setup.timeout = Duration::from_secs(1);
    })
    .await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let ledger = Ledger::default();
    let entries =
        join_all((0..plan.requests).map(|number| {
            let clients = clients.clone();
            async move {
                (number, clients.make(TestRequest::new(number, Act::Work), RequestKind::Plain, false).await)
            }
        }));
    let (mut accepted, mut refused) = (0, 0);
    for (number, entry) in entries.await {
        accepted += u64::from(entry.fate == Fate::Late);
        refused += u64::from(entry.fate == Fate::Refused);
        ledger.enter(number, entry);
    }
    let mut verdict = Verdict::default();
    let told = (accepted, refused);
    verdict.expect(
        "a full stream takes what it can, and refuses the rest",
        told == (most, plan.requests - most),
        told,
    );
    let waiting = site.waiting().await?;
    verdict.expect("what it took waits", waiting == most, waiting);
    site.add_consumer()?;
    verdict.extend(audit(&mut site, &clients, ledger, Strictness { server_forgets: false }).await?);
    Ok(verdict)
}

/// Handlers that panic, fail, or kill their process whenever they are run.
async fn failing(plan: &Plan) -> Result<Verdict, Error> {
    let change = |setup: &mut crate::role::DurableSetup| setup.max_deliveries = DELIVERIES;
    let mut site = Site::start(Nats::one(false)?, plan, 1, 1, change).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let mut verdict = Verdict::default();
    let acts = [Act::Panic, Act::Fail, Act::Exit];
    for (number, act) in (0..).zip(acts) {
        let task = TestRequest::new(number, act);
        let path = format!("/jobs/{}", task.path());
        let given_up = async {
            let answer = clients.send(RequestKind::Plain, &path, number, task.content(false)).await?;
            Ok::<_, Error>(answer.status)
        };
        let mut given_up = std::pin::pin!(given_up);
        let status = loop {
            tokio::select! {
                status = &mut given_up => break status?,
                () = time::sleep(Duration::from_millis(20)) => site.replace_gone()?,
            }
        };
        // A process that dies is noticed by the end of the ack wait, which may be after the client's patience.
        let told = status == StatusCode::INTERNAL_SERVER_ERROR
            || act == Act::Exit && status == StatusCode::GATEWAY_TIMEOUT;
        verdict.expect("a request whose handler fails for ever is answered 500", told, (act, status));
        site.settle(LIMIT).await?;
        let dead = site.dead().await?;
        let is_dead = dead.iter().any(|(dead, letter)| *dead == number && letter.deliveries() >= DELIVERIES);
        verdict.expect("it is a dead letter then", is_dead, (act, dead));
        let starts = site.executions()?.of(number).map_or(0, |runs| runs.starts.len() as u64);
        verdict.expect("it was run as often as is allowed", starts == DELIVERIES, (act, starts));
    }
    let number = acts.len() as u64;
    let entry = clients.make(TestRequest::new(number, Act::Work), RequestKind::Plain, false).await;
    verdict.expect("others are done as ever", entry.fate == Fate::Answered, entry);
    Ok(verdict)
}

/// Requests that are too old when a consumer comes.
async fn expiring(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let kind = if nats.keeps_outcomes() { RequestKind::Later } else { RequestKind::Plain };
    let mut site = Site::start(nats, plan, 1, 0, |setup| setup.timeout = Duration::from_millis(500)).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let sent = join_all((0..plan.requests.min(20)).map(|number| {
        let (clients, task) = (clients.clone(), TestRequest::new(number, Act::Work));
        let path = format!("/short/{}", task.path());
        async move { clients.send(kind, &path, number, task.content(false)).await }
    }));
    let answers = sent.await.into_iter().collect::<Result<Vec<ReceivedResponse>, Error>>()?;
    let mut verdict = Verdict::default();
    let expected =
        if kind == RequestKind::Later { StatusCode::ACCEPTED } else { StatusCode::GATEWAY_TIMEOUT };
    let others = answers.iter().filter(|answer| answer.status != expected);
    verdict.check("what will expire is accepted", answers.len(), others.map(|answer| format!("{answer:?}")));

    // Now they are.
    time::sleep(site.setup.expiry).await;
    site.add_consumer()?;
    site.settle(LIMIT).await?;
    let run = site.executions()?.all().map(|(number, _)| *number).collect::<Vec<_>>();
    verdict.check("what has expired is not run", answers.len(), run);
    if kind == RequestKind::Later {
        let mut others = Vec::new();
        for answer in &answers {
            let path = answer.location.clone().unwrap_or_default();
            let told = clients.status(&path).await?;
            if told.status != StatusCode::GATEWAY_TIMEOUT {
                others.push(format!("{path}: {told:?}"));
            }
        }
        verdict.check("its outcome is that it has expired", answers.len(), others);
    }
    Ok(verdict)
}

/// The same requests with the same keys, at once and later, at two gateways.
async fn replayed(nats: Nats, plan: &Plan) -> Result<Verdict, Error> {
    let mut site = Site::start(nats, plan, 2, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, true);
    let keys = plan.requests.div_ceil(10);
    let (mut other, mut later, mut reused) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..keys {
        let task = TestRequest::new(number, Act::Work);
        let at_once = join_all((0..SAME).map(|_| clients.make(task, RequestKind::Keyed, false))).await;
        other.extend(at_once.into_iter().filter(|entry| entry.fate != Fate::Answered));
        let again = clients.make(task, RequestKind::Keyed, false).await;
        if again.fate != Fate::Answered || again.tries > 1 {
            later.push(again);
        }
        let path = format!("/jobs/{}", task.path());
        let answer = clients.send(RequestKind::Keyed, &path, number, "something else".into()).await?;
        if answer.status != StatusCode::UNPROCESSABLE_ENTITY {
            reused.push(answer);
        }
    }
    site.settle(LIMIT).await?;
    let executions = site.executions()?;
    let often = executions.all().filter(|(_, runs)| runs.starts.len() != 1 || runs.ends != 1);
    let text = |entry: &dyn std::fmt::Debug| format!("{entry:?}");
    let mut verdict = Verdict::default();
    let count = keys as usize;
    verdict.check(
        "requests with the same key have the same answer",
        SAME * count,
        other.iter().map(|e| text(e)),
    );
    verdict.check("and have it later, at once", count, later.iter().map(|e| text(e)));
    verdict.check("another request with a key is refused", count, reused.iter().map(|e| text(e)));
    verdict.check("a request with a key is run once", count, often.map(|e| text(&e)));
    verdict.expect(
        "as many were run as there are keys",
        executions.all().count() == count,
        executions.all().count(),
    );
    let mut unknown = Vec::new();
    for (number, runs) in executions.all() {
        for id in &runs.ids {
            if let Err(told) = outcome(&clients, &format!("{STATUS}{id}"), *number).await {
                unknown.push(format!("{id}: {told}"));
            }
        }
    }
    verdict.check("its outcome can be asked for", count, unknown);
    Ok(verdict)
}
