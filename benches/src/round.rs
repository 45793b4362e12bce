//! A round: a closed loop on every connection, measured during a window.

mod order;
mod tally;

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{self, Instant};

pub(crate) use self::order::{Order, Round};
use self::tally::Tally;
use crate::{Error, usage};

/// How long the first response of a round may take, and the last one.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// The pause after a connection broke or could not be made.
const PAUSE: Duration = Duration::from_millis(20);

/// Why there was no complete and correct response.
#[derive(Debug)]
pub(crate) enum RoundTripError {
    /// The response was wrong; the connection can be used again.
    Response(String),
    /// The connection broke.
    Broken(String),
}

/// Makes the connections of a round.
pub(crate) trait Connect: Clone + Send + Sync + 'static {
    type Connection: RoundTrip;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Prepares the work for an order, such as messages to pull.
    fn prepare(&self, _order: &Order) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// How many requests are accepted but not done; `None` for direct delivery.
    fn backlog(&self) -> impl Future<Output = Option<u64>> + Send {
        async { None }
    }
}

/// A connection that makes one request at a time.
pub(crate) trait RoundTrip: Send + 'static {
    /// Makes a request, and receives the whole response.
    fn once(&mut self) -> impl Future<Output = Result<(), RoundTripError>> + Send;
}

/// The measured time.
#[derive(Clone, Copy, Debug)]
struct Window {
    begin: Instant,
    end: Instant,
}

/// Runs a round.
pub(crate) async fn run<C: Connect>(connector: &C, connections: usize, order: &Order) -> Round {
    let tally = Tally::new();
    if let Err(error) = connector.prepare(order).await {
        tally.fail(error.to_string());
        return tally.round(order.window);
    }
    if let Err(failure) = settle(connector).await {
        tally.fail(failure);
        return tally.round(order.window);
    }

    let begin = Instant::now() + order.warm_up;
    let window = Window { begin, end: begin + order.window };
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(round_trips(connector.clone(), window, tally.clone()));
    }
    time::sleep_until(window.begin).await;
    let before = cpu(order);
    let backlog_before = connector.backlog().await;
    time::sleep_until(window.end).await;
    let backlog = connector.backlog().await;
    let used = cpu(order).into_iter().zip(before).map(|(after, before)| Some(after? - before?));
    let mut cpu_us: Vec<_> = used.collect();

    let deadline = window.end + GRACE;
    while let Ok(Some(result)) = time::timeout_at(deadline, tasks.join_next()).await {
        if let Err(error) = result {
            tally.fail(error.to_string());
        }
    }
    for _ in 0..tasks.len() {
        tally.fail("no response".to_owned());
    }
    let machine_cpu_us = cpu_us.pop().flatten();
    let round = tally.round(order.window);
    // Accepted requests that no longer wait are done.
    let good = match (backlog_before, backlog) {
        (Some(before), Some(after)) => (round.good + before).saturating_sub(after),
        _ => round.good,
    };
    Round { good, cpu_us, machine_cpu_us, backlog, ..round }
}

/// The CPU time so far of the watched processes, and at the end that of the machine.
fn cpu(order: &Order) -> Vec<Option<f64>> {
    let watched = order.watch.iter().map(|&pid| usage::cpu_us(pid));
    watched.chain([usage::machine_cpu_us()]).collect()
}

/// Waits for the first good response: the server may be up while a process behind it is not.
async fn settle<C: Connect>(connector: &C) -> Result<(), String> {
    let deadline = Instant::now() + GRACE;
    let mut last = "no response at all".to_owned();
    let attempt = async || {
        let mut connection = connector.connect().await.map_err(|error| error.to_string())?;
        connection.once().await.map_err(RoundTripError::into_text)
    };
    while let Ok(result) = time::timeout_at(deadline, attempt()).await {
        match result {
            Ok(()) => return Ok(()),
            Err(failure) => last = failure,
        }
        time::sleep(PAUSE).await;
    }
    Err(last)
}

/// Makes requests until the window ends, and a new connection whenever one breaks.
async fn round_trips<C: Connect>(connector: C, window: Window, tally: Tally) {
    let fail = |text| tally.fail(text);
    while Instant::now() < window.end {
        match connector.connect().await {
            Ok(connection) => match repeat_until(connection, window, &tally).await {
                Ok(()) => return,
                Err(failure) => fail(failure),
            },
            Err(error) => fail(error.to_string()),
        }
        time::sleep(PAUSE).await;
    }
}

/// Makes requests over one connection until the window ends or the connection breaks.
async fn repeat_until<T: RoundTrip>(mut connection: T, window: Window, tally: &Tally) -> Result<(), String> {
    let mut start = Instant::now();
    while start < window.end {
        let result = connection.once().await;
        let end = Instant::now();
        match result {
            Ok(()) if (window.begin..window.end).contains(&end) => {
                tally.succeed(end - start);
            }
            Ok(()) => {}
            Err(RoundTripError::Response(text)) => tally.fail(text),
            Err(RoundTripError::Broken(text)) => return Err(text),
        }
        start = end;
    }
    Ok(())
}

impl RoundTripError {
    fn into_text(self) -> String {
        match self {
            Self::Response(text) | Self::Broken(text) => text,
        }
    }
}
