//! What the clients were told of each request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use narun_consumer::ExchangeId;
use narun_gateway::FailureKind;

/// All requests, by number.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<u64, Entry>>);

/// A request, and what its client was told last.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: RequestKind,
    pub(super) fate: Fate,
    /// How often it was sent: more than once only with an `Idempotency-Key`.
    pub(super) tries: u32,
    /// What its client knows of where its outcome is.
    pub(super) location: Option<String>,
    /// The exchange id that its client was told.
    pub(super) id: Option<ExchangeId>,
}

/// A response, complete.
#[derive(Clone, Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) location: Option<String>,
}

/// How a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// It waits.
    Plain,
    /// It waits, with an `Idempotency-Key`, and asks again until it has an answer.
    Keyed,
    /// It prefers to come back later.
    Later,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// The answer to its request.
    Answered,
    /// 202.
    Accepted,
    /// 504: accepted, but not answered in time. Or 409: another try is under way.
    Late,
    /// 504: perhaps accepted.
    Unconfirmed,
    /// 503: not accepted.
    Refused,
    /// Nothing: the connection broke.
    Broken,
    /// Something that it should not be told.
    Wrong(String),
}

impl Ledger {
    pub(super) fn enter(&self, number: u64, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, entry);
    }

    pub(super) fn into_entries(self) -> BTreeMap<u64, Entry> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Of a request that was not sent yet.
    pub(super) fn new(kind: RequestKind) -> Self {
        Self { kind, fate: Fate::Refused, tries: 0, location: None, id: None }
    }

    /// Another try came to this. What an earlier one left open stays so unless it is settled now.
    pub(super) fn learn(&mut self, fate: Fate, answer: Option<ReceivedResponse>) {
        self.tries += 1;
        // In any other answer there is at most the request id, which looks the same.
        if let (Fate::Late | Fate::Unconfirmed | Fate::Accepted, Some(answer)) = (&fate, answer) {
            self.id = id_in(&answer.body).or_else(|| id_in(answer.location.as_deref()?.as_bytes()));
            self.location = answer.location;
        }
        let settles = !fate.is_open() || fate == Fate::Late;
        if settles || self.fate == Fate::Refused {
            self.fate = fate;
        }
    }
}

impl Fate {
    /// Whether nothing keeps a client that has a key from trying again.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Late | Self::Unconfirmed | Self::Refused | Self::Broken)
    }

    /// Whether the client was told that its request is accepted.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Answered | Self::Accepted | Self::Late)
    }

    /// Of a response, where `receipt` is what the handler says.
    pub(super) fn of(kind: RequestKind, status: StatusCode, body: &Bytes, receipt: &str) -> Self {
        let says = |kind: FailureKind| contains(body, &narun_gateway::Failure::new(kind).to_string());
        match status {
            StatusCode::OK if **body == *receipt.as_bytes() => Self::Answered,
            StatusCode::ACCEPTED if kind == RequestKind::Later => Self::Accepted,
            StatusCode::CONFLICT if kind == RequestKind::Keyed => Self::Late,
            StatusCode::GATEWAY_TIMEOUT if says(FailureKind::AnsweredLate) => Self::Late,
            StatusCode::GATEWAY_TIMEOUT if says(FailureKind::NotConfirmed) => Self::Unconfirmed,
            StatusCode::SERVICE_UNAVAILABLE => Self::Refused,
            _ => Self::Wrong(format!("{status} {:.120}", String::from_utf8_lossy(body))),
        }
    }
}

/// The exchange id in a text, if there is one.
fn id_in(text: &[u8]) -> Option<ExchangeId> {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric());
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).next()
}

/// Where a response says that the outcome will be.
pub(super) fn location(headers: &HeaderMap) -> Option<String> {
    headers.get(header::LOCATION)?.to_str().ok().map(str::to_owned)
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_one_504_from_the_other() {
        let fate = |kind| {
            let failure = narun_gateway::Failure::new(kind).with_detail("aaaaaaaaaaaaaaaaaaaaaaaaaa");
            let context = narun_gateway::FailureContext::new(http::Method::POST, None, false);
            let response = failure.to_response(&context);
            assert!(id_in(response.body()).is_some());
            Fate::of(RequestKind::Plain, response.status(), response.body(), "")
        };
        assert_eq!(fate(FailureKind::AnsweredLate), Fate::Late);
        assert_eq!(fate(FailureKind::NotConfirmed), Fate::Unconfirmed);
        assert_eq!(fate(FailureKind::StreamFull), Fate::Refused);
        assert!(matches!(fate(FailureKind::TimedOut), Fate::Wrong(_)));
    }

    #[test]
    fn what_is_open_stays_open() {
        let after = |fates: &[Fate]| {
            let mut entry = Entry::new(RequestKind::Keyed);
            fates.iter().for_each(|fate| entry.learn(fate.clone(), None));
            entry.fate
        };
        assert_eq!(after(&[Fate::Refused]), Fate::Refused);
        assert_eq!(after(&[Fate::Unconfirmed, Fate::Refused]), Fate::Unconfirmed);
        assert_eq!(after(&[Fate::Late, Fate::Broken]), Fate::Late);
        assert_eq!(after(&[Fate::Broken, Fate::Late, Fate::Refused]), Fate::Late);
        assert_eq!(after(&[Fate::Broken, Fate::Answered]), Fate::Answered);
    }

    #[test]
    fn an_answer_to_another_request_is_wrong() {
        let fate = |body: &'static str| {
            Fate::of(RequestKind::Plain, StatusCode::OK, &Bytes::from_static(body.as_bytes()), "7")
        };
        assert_eq!(fate("7"), Fate::Answered);
        assert!(matches!(fate("8"), Fate::Wrong(_)));
    }
}
