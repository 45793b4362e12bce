//! The HTTP clients, which keep the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use super::gate::Gate;
use super::ledger::{Entry, Fate, Ledger, ReceivedResponse, RequestKind, location};
use super::random::Random;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// The pause after a refusal, and between two attempts of a request.
const PAUSE: Duration = Duration::from_millis(25);

/// How long a response may take beyond the gateway's own timeout: no client waits for ever.
const GRACE: Duration = Duration::from_secs(15);

/// Clients of one or several gateways. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    http: Client<HttpConnector, Full<Bytes>>,
    /// Addresses of the gateways. A killed gateway is replaced by another one in the same place.
    gateways: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicU64>,
    timeout: Duration,
    seed: u64,
    /// Whether requests are of all kinds, or plain only.
    all_kinds: bool,
}

impl Clients {
    pub(super) fn new(gateways: Vec<String>, timeout: Duration, seed: u64, all_kinds: bool) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            gateways: Arc::new(Mutex::new(gateways)),
            turn: Arc::default(),
            timeout,
            seed,
            all_kinds,
        }
    }

    /// Sets the address of a gateway that was replaced.
    pub(super) fn moved(&self, gateway: usize, address: &str) {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        address.clone_into(&mut gateways[gateway]);
    }

    /// Makes requests, `concurrency` at a time, until the gate closes.
    pub(super) async fn run(&self, concurrency: usize, gate: Arc<Gate>) -> Result<Ledger, Error> {
        let ledger = Arc::new(Ledger::default());
        let mut tasks = JoinSet::new();
        for _ in 0..concurrency {
            tasks.spawn(self.clone().work(gate.clone(), ledger.clone()));
        }
        while let Some(result) = tasks.join_next().await {
            result?;
        }
        Arc::into_inner(ledger).ok_or_else(|| "a client is still at work".into())
    }

    async fn work(self, gate: Arc<Gate>, ledger: Arc<Ledger>) {
        while let Some(number) = gate.next().await {
            let (kind, large) = self.kind(number);
            let entry = self.make(TestRequest::new(number, Act::Work), kind, large).await;
            let refused = entry.fate == Fate::Refused;
            ledger.enter(number, entry);
            if refused {
                time::sleep(PAUSE).await;
                gate.refused();
            } else {
                gate.finished();
            }
        }
    }

    /// The kind of a request, and whether its body is large. Both follow from its number.
    pub(super) fn kind(&self, number: u64) -> (RequestKind, bool) {
        let mut random = Random::new(self.seed, number);
        let kind = match random.below(10) {
            _ if !self.all_kinds => RequestKind::Plain,
            0..6 => RequestKind::Plain,
            6 | 7 => RequestKind::Keyed,
            _ => RequestKind::Later,
        };
        (kind, self.all_kinds && random.below(100) == 0)
    }

    /// Makes a request. With a key, which makes that safe, it is sent again until there is a response.
    pub(super) async fn make(&self, request: TestRequest, kind: RequestKind, large: bool) -> Entry {
        let deadline = Instant::now() + 4 * self.timeout;
        let content = request.content(large);
        let path = format!("/jobs/{}", request.path());
        let mut entry = Entry::new(kind);
        loop {
            let response = self.send(kind, &path, request.number, content.clone()).await.ok();
            let fate = match &response {
                Some(response) => Fate::of(kind, response.status, &response.body, &request.receipt(&content)),
                None => Fate::Broken,
            };
            let again = kind == RequestKind::Keyed && fate.is_open() && Instant::now() < deadline;
            entry.learn(fate, response);
            if !again {
                return entry;
            }
            time::sleep(PAUSE).await;
        }
    }

    /// Sends a request once, to the gateways in turn.
    pub(super) async fn send(
        &self,
        kind: RequestKind,
        path: &str,
        number: u64,
        content: Bytes,
    ) -> Result<ReceivedResponse, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let request = Request::post(self.uri(turn, path));
        let request = match kind {
            RequestKind::Plain => request,
            RequestKind::Keyed => request.header("idempotency-key", format!("\"{number}\"")),
            RequestKind::Later => request.header("prefer", "respond-async"),
        };
        self.response(request.body(Full::new(content))?).await
    }

    /// Requests a status resource from the last gateway.
    pub(super) async fn status(&self, path: &str) -> Result<ReceivedResponse, Error> {
        let request = Request::builder().method(Method::GET).uri(self.uri(usize::MAX, path));
        self.response(request.body(Full::default())?).await
    }

    async fn response(&self, request: Request<Full<Bytes>>) -> Result<ReceivedResponse, Error> {
        let round_trip = async {
            let response = self.http.request(request).await?;
            let location = location(response.headers());
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, Error>(ReceivedResponse { status, body, location })
        };
        time::timeout(self.timeout + GRACE, round_trip).await?
    }

    fn uri(&self, turn: usize, path: &str) -> String {
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let last = gateways.len() - 1;
        let gateway = &gateways[if turn == usize::MAX { last } else { turn % gateways.len() }];
        format!("http://{gateway}{path}")
    }
}
