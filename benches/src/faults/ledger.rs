//! The responses that the clients got to each request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use narun_consumer::ExchangeId;
use narun_gateway::FailureKind;

/// All requests, by number.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<u64, Entry>>);

/// A request, and its fate as its client knows it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: RequestKind,
    pub(super) fate: Fate,
    /// The number of attempts: more than one only with an `Idempotency-Key`.
    pub(super) tries: u32,
    /// The path of its status resource, if a response named it.
    pub(super) location: Option<String>,
    /// The exchange id in a response, if there was one.
    pub(super) id: Option<ExchangeId>,
}

/// A complete response.
#[derive(Clone, Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) location: Option<String>,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// The client waits for the response.
    Plain,
    /// The client sends an `Idempotency-Key`, waits, and sends the request again until it has a response.
    Keyed,
    /// The client sends `Prefer: respond-async`.
    Later,
}

/// What a client knows about its request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It got the handler's response.
    Answered,
    /// It got 202.
    Accepted,
    /// It got 504: accepted, but there was no response in time. Or 409: another attempt is in progress.
    Late,
    /// It got 504: the request may have been accepted.
    Unconfirmed,
    /// It got 503: the request was not accepted.
    Refused,
    /// It got nothing: the connection broke.
    Broken,
    /// It got a response that no client should get.
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
    /// The entry of a request that was not sent yet.
    pub(super) fn new(kind: RequestKind) -> Self {
        Self { kind, fate: Fate::Refused, tries: 0, location: None, id: None }
    }

    /// Adds the result of an attempt. An open fate of an earlier attempt stays unless this one settles it.
    pub(super) fn learn(&mut self, fate: Fate, response: Option<ReceivedResponse>) {
        self.tries += 1;
        // Other responses may contain the request id, which looks the same.
        if let (Fate::Late | Fate::Unconfirmed | Fate::Accepted, Some(response)) = (&fate, response) {
            self.id = id_in(&response.body).or_else(|| id_in(response.location.as_deref()?.as_bytes()));
            self.location = response.location;
        }
        let settles = !fate.is_open() || fate == Fate::Late;
        if settles || self.fate == Fate::Refused {
            self.fate = fate;
        }
    }
}

impl Fate {
    /// Whether a client with a key may send the request again.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Late | Self::Unconfirmed | Self::Refused | Self::Broken)
    }

    /// Whether the client knows that its request was accepted.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Answered | Self::Accepted | Self::Late)
    }

    /// The fate that a response means; `receipt` is the content of the handler's response.
    pub(super) fn of(kind: RequestKind, status: StatusCode, body: &Bytes, receipt: &str) -> Self {
        let says = |kind: FailureKind| contains(body, &narun_gateway::Failure::new(kind).to_string());
        match status {
            StatusCode::OK if **body == *receipt.as_bytes() => Self::Answered,
            StatusCode::ACCEPTED if kind == RequestKind::Later => Self::Accepted,
            StatusCode::CONFLICT if kind == RequestKind::Keyed => Self::Late,
            StatusCode::GATEWAY_TIMEOUT if says(FailureKind::ResponseLate) => Self::Late,
            StatusCode::GATEWAY_TIMEOUT if says(FailureKind::NotConfirmed) => Self::Unconfirmed,
            StatusCode::SERVICE_UNAVAILABLE => Self::Refused,
            _ => Self::Wrong(format!("{status} {:.120}", String::from_utf8_lossy(body))),
        }
    }
}

/// The first exchange id in a text. Returns `None` if there is none.
fn id_in(text: &[u8]) -> Option<ExchangeId> {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric());
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).next()
}

/// The `Location` of a response. Returns `None` if there is none.
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
    fn both_kinds_of_504_are_told_apart() {
        let fate = |kind| {
            let failure = narun_gateway::Failure::new(kind).with_detail("aaaaaaaaaaaaaaaaaaaaaaaaaa");
            let context = narun_gateway::FailureContext::new(http::Method::POST, None, false);
            let response = failure.to_response(&context);
            assert!(id_in(response.body()).is_some());
            Fate::of(RequestKind::Plain, response.status(), response.body(), "")
        };
        assert_eq!(fate(FailureKind::ResponseLate), Fate::Late);
        assert_eq!(fate(FailureKind::NotConfirmed), Fate::Unconfirmed);
        assert_eq!(fate(FailureKind::StreamFull), Fate::Refused);
        assert!(matches!(fate(FailureKind::TimedOut), Fate::Wrong(_)));
    }

    #[test]
    fn an_open_fate_stays_until_it_is_settled() {
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
    fn a_response_to_another_request_is_wrong() {
        let fate = |body: &'static str| {
            Fate::of(RequestKind::Plain, StatusCode::OK, &Bytes::from_static(body.as_bytes()), "7")
        };
        assert_eq!(fate("7"), Fate::Answered);
        assert!(matches!(fate("8"), Fate::Wrong(_)));
    }
}
