//! The scenario of a full stream, handlers that always fail, messages that expire, and keys that are used again.

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

/// How long consumers may take for the requests that are left.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a failing request is delivered.
const DELIVERIES: u64 = 3;

/// How many requests with the same key are made at a time.
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

/// Makes twice as many requests as the stream takes, before there is a consumer.
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
    let counted = (accepted, refused);
    verdict.expect(
        "a full stream refuses the requests over its limit",
        counted == (most, plan.requests - most),
        counted,
    );
    let waiting = site.waiting().await?;
    verdict.expect("the accepted requests wait in the stream", waiting == most, waiting);
    site.add_consumer()?;
    verdict.extend(audit(&mut site, &clients, ledger, Strictness::default()).await?);
    Ok(verdict)
}

/// Makes requests whose handlers always panic, return an error, or end their process.
async fn failing(plan: &Plan) -> Result<Verdict, Error> {
    let change = |setup: &mut crate::role::DurableSetup| setup.max_deliveries = DELIVERIES;
    let mut site = Site::start(Nats::one(false)?, plan, 1, 1, change).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let mut verdict = Verdict::default();
    let acts = [Act::Panic, Act::Fail, Act::Exit];
    for (number, act) in (0..).zip(acts) {
        let request = TestRequest::new(number, act);
        let path = format!("/jobs/{}", request.path());
        let given_up = async {
            let response = clients.send(RequestKind::Plain, &path, number, request.content(false)).await?;
            Ok::<_, Error>(response.status)
        };
        let mut given_up = std::pin::pin!(given_up);
        let status = loop {
            tokio::select! {
                status = &mut given_up => break status?,
                () = time::sleep(Duration::from_millis(20)) => site.replace_gone()?,
            }
        };
        // A process that dies is noticed when the ack wait has elapsed, which may be after the client's timeout.
        let expected = status == StatusCode::INTERNAL_SERVER_ERROR
            || act == Act::Exit && status == StatusCode::GATEWAY_TIMEOUT;
        verdict.expect("a request whose handler always fails is answered 500", expected, (act, status));
        site.settle(LIMIT).await?;
        let dead = site.dead().await?;
        let is_dead = dead.iter().any(|(dead, letter)| *dead == number && letter.deliveries() >= DELIVERIES);
        verdict.expect("it becomes a dead letter", is_dead, (act, dead));
        let starts = site.executions()?.of(number).map_or(0, |runs| runs.starts.len() as u64);
        verdict.expect("it was run as often as the limit allows", starts == DELIVERIES, (act, starts));
    }
    let number = acts.len() as u64;
    let entry = clients.make(TestRequest::new(number, Act::Work), RequestKind::Plain, false).await;
    verdict.expect("other requests are done as before", entry.fate == Fate::Answered, entry);
    Ok(verdict)
}

/// Makes requests that have expired before a consumer starts.
async fn expiring(plan: &Plan) -> Result<Verdict, Error> {
    let nats = Nats::one(false)?;
    let kind = if nats.keeps_outcomes() { RequestKind::Later } else { RequestKind::Plain };
    let mut site = Site::start(nats, plan, 1, 0, |setup| setup.timeout = Duration::from_millis(500)).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, false);
    let sent = join_all((0..plan.requests.min(20)).map(|number| {
        let (clients, request) = (clients.clone(), TestRequest::new(number, Act::Work));
        let path = format!("/short/{}", request.path());
        async move { clients.send(kind, &path, number, request.content(false)).await }
    }));
    let responses = sent.await.into_iter().collect::<Result<Vec<ReceivedResponse>, Error>>()?;
    let mut verdict = Verdict::default();
    let expected =
        if kind == RequestKind::Later { StatusCode::ACCEPTED } else { StatusCode::GATEWAY_TIMEOUT };
    let others = responses.iter().filter(|response| response.status != expected);
    let others = others.map(|response| format!("{response:?}"));
    verdict.check("requests that will expire are accepted", responses.len(), others);

    // Now they are expired.
    time::sleep(site.setup.expiry).await;
    site.add_consumer()?;
    site.settle(LIMIT).await?;
    let run = site.executions()?.all().map(|(number, _)| *number).collect::<Vec<_>>();
    verdict.check("expired requests are not run", responses.len(), run);
    if kind == RequestKind::Later {
        let mut others = Vec::new();
        for response in &responses {
            let path = response.location.clone().unwrap_or_default();
            let outcome = clients.status(&path).await?;
            if outcome.status != StatusCode::GATEWAY_TIMEOUT {
                others.push(format!("{path}: {outcome:?}"));
            }
        }
        verdict.check("the outcome of an expired request is 504", responses.len(), others);
    }
    Ok(verdict)
}

/// Makes the same requests with the same keys, at once and later, through two gateways.
async fn replayed(nats: Nats, plan: &Plan) -> Result<Verdict, Error> {
    let mut site = Site::start(nats, plan, 2, 2, |_| {}).await?;
    let clients = Clients::new(site.addresses(), plan.timeout, plan.seed, true);
    let keys = plan.requests.div_ceil(10);
    let (mut other, mut later, mut reused) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..keys {
        let request = TestRequest::new(number, Act::Work);
        let at_once = join_all((0..SAME).map(|_| clients.make(request, RequestKind::Keyed, false))).await;
        other.extend(at_once.into_iter().filter(|entry| entry.fate != Fate::Answered));
        let again = clients.make(request, RequestKind::Keyed, false).await;
        if again.fate != Fate::Answered || again.tries > 1 {
            later.push(again);
        }
        let path = format!("/jobs/{}", request.path());
        let response = clients.send(RequestKind::Keyed, &path, number, "something else".into()).await?;
        if response.status != StatusCode::UNPROCESSABLE_ENTITY {
            reused.push(response);
        }
    }
    site.settle(LIMIT).await?;
    let executions = site.executions()?;
    let often = executions.all().filter(|(_, runs)| runs.starts.len() != 1 || runs.ends != 1);
    let text = |entry: &dyn std::fmt::Debug| format!("{entry:?}");
    let mut verdict = Verdict::default();
    let count = keys as usize;
    verdict.check(
        "requests with the same key get the same response",
        SAME * count,
        other.iter().map(|e| text(e)),
    );
    verdict.check("a later request gets it at once", count, later.iter().map(|e| text(e)));
    verdict.check("another request with the same key is refused", count, reused.iter().map(|e| text(e)));
    verdict.check("a request with a key is run once", count, often.map(|e| text(&e)));
    verdict.expect(
        "as many were run as there are keys",
        executions.all().count() == count,
        executions.all().count(),
    );
    let mut unknown = Vec::new();
    for (number, runs) in executions.all() {
        for id in &runs.ids {
            if let Err(found) = outcome(&clients, &format!("{STATUS}{id}"), *number).await {
                unknown.push(format!("{id}: {found}"));
            }
        }
    }
    verdict.check("the status resource has its outcome", count, unknown);
    Ok(verdict)
}
