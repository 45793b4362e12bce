//! A round: a closed loop on every connection, and what is counted in its measured window.

mod order;
mod tally;

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{self, Instant};

pub(crate) use self::order::{Order, Round};
use self::tally::Tally;
use crate::{Error, usage};

/// How long the other side may take to answer for the first time, and for the last.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Between two tries when a connection broke or cannot be made.
const PAUSE: Duration = Duration::from_millis(20);

/// Why there was no complete, correct answer.
#[derive(Debug)]
pub(crate) enum RoundTripError {
    /// There was another one: the connection can be used again.
    Response(String),
    /// The connection cannot.
    Broken(String),
}

/// Makes the connections of a round.
pub(crate) trait Connect: Clone + Send + Sync + 'static {
    type Connection: RoundTrip;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Sees to it that there is enough to do for this order.
    fn prepare(&self, _order: &Order) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// How many requests are accepted but not done, where there can be such.
    fn backlog(&self) -> impl Future<Output = Option<u64>> + Send {
        async { None }
    }
}

/// A connection, for one exchange at a time.
pub(crate) trait RoundTrip: Send + 'static {
    /// Makes a request and takes in the whole answer.
    fn once(&mut self) -> impl Future<Output = Result<(), RoundTripError>> + Send;
}

/// When the window begins and ends.
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
        tally.fail("no answer".to_owned());
    }
    let machine_cpu_us = cpu_us.pop().flatten();
    let round = tally.round(order.window);
    // What was done is what was accepted and does not wait.
    let good = match (backlog_before, backlog) {
        (Some(before), Some(after)) => (round.good + before).saturating_sub(after),
        _ => round.good,
    };
    Round { good, cpu_us, machine_cpu_us, backlog, ..round }
}

/// The CPU time so far of the processes to watch, and last of the machine.
fn cpu(order: &Order) -> Vec<Option<f64>> {
    let watched = order.watch.iter().map(|&pid| usage::cpu_us(pid));
    watched.chain([usage::machine_cpu_us()]).collect()
}

/// Waits for the first good answer: the other side may be up but not all of what is behind it.
async fn settle<C: Connect>(connector: &C) -> Result<(), String> {
    let deadline = Instant::now() + GRACE;
    let mut last = "no answer at all".to_owned();
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

/// One connection's exchanges until the window ends.
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

/// The same until the connection breaks.
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
