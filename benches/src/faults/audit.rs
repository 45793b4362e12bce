//! Compares the responses that clients got with the executions that handlers noted.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{self, Instant};

use super::clients::Clients;
use super::executions::{Executions, Runs};
use super::ledger::{Entry, Fate, Ledger, RequestKind};
use super::site::Site;
use super::verdict::Verdict;
use crate::Error;

/// How long work may go on after the clients are done.
const LIMIT: Duration = Duration::from_secs(60);

/// The path prefix of status resources.
pub(super) const STATUS: &str = "/.narun/requests/";

/// How strict the comparison is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strictness {
    /// Whether a server was killed, and so may have forgotten delivery counts and message ids.
    pub(super) server_forgets: bool,
    /// Whether the server has room for all outcomes.
    pub(super) keeps_outcomes: bool,
}

impl Default for Strictness {
    fn default() -> Self {
        Self { server_forgets: false, keeps_outcomes: true }
    }
}

/// Waits until all requests are done, and compares.
pub(super) async fn audit(
    site: &mut Site,
    clients: &Clients,
    ledger: Ledger,
    strictness: Strictness,
) -> Result<Verdict, Error> {
    let settled = site.settle(LIMIT).await;
    let dead = site.dead().await?;
    let executions = site.executions()?;
    let entries = ledger.into_entries();
    let mut verdict = Verdict::default();

    verdict.expect("no request is left in the stream", settled.is_ok(), settled);
    done(&mut verdict, &entries, &executions);
    let dead = dead.iter().map(|(number, letter)| {
        let (reason, deliveries) = (letter.reason(), letter.deliveries());
        format!("request {number} after {deliveries} deliveries: {reason}; {:?}", executions.of(*number))
    });
    verdict.check("no request became a dead letter", entries.len(), dead);
    if strictness.keeps_outcomes && site.nats.keeps_outcomes() {
        outcomes(&mut verdict, &entries, &executions, clients).await;
    }
    let example = |(number, runs): (&u64, &Runs)| format!("request {number}: {runs:?}");
    let ids = executions.all().filter(|(_, runs)| runs.ids.len() > 1);
    verdict.check("no request is run under two ids", entries.len(), ids.map(example));
    let twice = executions.all().filter(|(_, runs)| runs.is_first_twice());
    if strictness.server_forgets {
        verdict.note(format!("{} were delivered twice with delivery count 1", twice.count()));
    } else {
        verdict.check("no request is accepted twice", entries.len(), twice.map(example));
    }
    verdict.note(fates(&entries));
    verdict.note(runs(&entries, &executions));
    Ok(verdict)
}

/// Checks that no request was run twice, as all were run by one process, which knows its own requests.
pub(super) fn run_again(verdict: &mut Verdict, site: &Site) -> Result<(), Error> {
    let executions = site.executions()?;
    let often = executions.all().filter(|(_, runs)| runs.starts.len() > 1);
    let often: Vec<_> = often.map(|(number, runs)| format!("request {number}: {runs:?}")).collect();
    verdict.check("no request is run twice by one process", executions.all().count(), often);
    Ok(())
}

/// Checks that the server has delivered requests again, so that there was something to join.
pub(super) async fn delivered_again(verdict: &mut Verdict, site: &Site) -> Result<(), Error> {
    let again = site.redeliveries().await?;
    verdict.expect("the server delivered requests again", again > 0, again);
    Ok(())
}

/// Checks that accepted requests are done, that refused ones are not, and that there was no other response.
fn done(verdict: &mut Verdict, entries: &BTreeMap<u64, Entry>, executions: &Executions) {
    let is_done = |number| executions.of(number).is_some_and(|runs| runs.ends > 0);
    let of = |wanted: &dyn Fn(&Entry) -> bool| {
        entries.iter().filter(|(_, entry)| wanted(entry)).map(|(&number, _)| number).collect::<Vec<_>>()
    };
    let example =
        |number: &u64| format!("request {number}: {:?}, {:?}", entries[number], executions.of(*number));

    let accepted = of(&|entry| entry.fate.is_accepted());
    // Otherwise nothing is known.
    verdict.expect("requests were accepted", !accepted.is_empty(), fates(entries));
    let lost = accepted.iter().filter(|number| !is_done(**number));
    verdict.check("every accepted request is done", accepted.len(), lost.map(example));

    let wrong = of(&|entry| matches!(entry.fate, Fate::Wrong(_)));
    verdict.check("every response is that of its own request", entries.len(), wrong.iter().map(example));

    let refused = of(&|entry| entry.fate == Fate::Refused);
    let run = refused.iter().filter(|number| executions.of(**number).is_some());
    verdict.check("no refused request is run", refused.len(), run.map(example));

    let unknown = of(&|entry| matches!(entry.fate, Fate::Unconfirmed | Fate::Broken));
    let half = unknown.iter().filter(|number| executions.of(**number).is_some() && !is_done(**number));
    verdict.check(
        "a request that may have been accepted is done or not begun",
        unknown.len(),
        half.map(example),
    );

    let named = of(&|entry| entry.id.is_some());
    let other = named.iter().filter(|number| {
        let id = entries[*number].id;
        executions.of(**number).is_some_and(|runs| id.is_some_and(|id| !runs.ids.contains(&id)))
    });
    verdict.check("client and handler see the same id", named.len(), other.map(example));
}

/// Checks that each kept outcome is the handler's response.
async fn outcomes(
    verdict: &mut Verdict,
    entries: &BTreeMap<u64, Entry>,
    executions: &Executions,
    clients: &Clients,
) {
    let kept =
        entries.iter().filter(|(_, entry)| entry.kind != RequestKind::Plain && entry.fate.is_accepted());
    let (mut asked, mut wrong) = (0, Vec::new());
    for (&number, entry) in kept {
        let Some(id) = executions.of(number).and_then(|runs| runs.ids.first()) else { continue };
        asked += 1;
        let path = entry.location.clone().unwrap_or_else(|| format!("{STATUS}{id}"));
        if let Err(found) = outcome(clients, &path, number).await {
            wrong.push(format!("request {number}, {path}: {found}; {entry:?}"));
        }
    }
    verdict.check("the status resource has the response", asked, wrong);
}

/// Asks for an outcome until it is no longer pending. Returns an error if it is not the response of this request.
pub(super) async fn outcome(clients: &Clients, path: &str, number: u64) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT / 4;
    loop {
        let response = clients.status(path).await.map_err(|error| crate::text(&error))?;
        if response.status == StatusCode::OK && response.body.starts_with(format!("{number} ").as_bytes()) {
            return Ok(());
        }
        let pending = matches!(response.status, StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE);
        if !pending || Instant::now() > deadline {
            return Err(format!("{} {:.120}", response.status, String::from_utf8_lossy(&response.body)));
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many requests had which fate.
fn fates(entries: &BTreeMap<u64, Entry>) -> String {
    let mut counts = BTreeMap::new();
    for entry in entries.values() {
        let name = match entry.fate {
            Fate::Wrong(_) => "Wrong".to_owned(),
            ref fate => format!("{fate:?}"),
        };
        *counts.entry(name).or_insert(0_u64) += 1;
    }
    let again = entries.values().filter(|entry| entry.tries > 1).count();
    let counts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!(
        "responses: {}; {again} requests were sent again with their key",
        counts.join(", ").to_lowercase()
    )
}

/// How many requests were run how many times.
fn runs(entries: &BTreeMap<u64, Entry>, executions: &Executions) -> String {
    let mut counts = BTreeMap::new();
    for (_, runs) in executions.all() {
        *counts.entry(runs.starts.len()).or_insert(0_u64) += 1;
    }
    let counts: Vec<_> =
        counts.into_iter().map(|(starts, count)| format!("{count} begun {starts} times")).collect();
    let again = |(number, runs): &(&u64, &Runs)| {
        runs.ends > 1 && entries.get(number).is_some_and(|entry| entry.kind != RequestKind::Plain)
    };
    let (done, kept) = (executions.all().filter(|(_, runs)| runs.ends > 1), executions.all().filter(again));
    let (done, kept) = (done.count(), kept.count());
    format!("executions: {}; {done} done again, {kept} of these with a kept outcome", counts.join(", "))
}
