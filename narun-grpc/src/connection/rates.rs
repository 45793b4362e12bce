use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::State;
use futures::StreamExt;
use narun_nats::jetstream::Api;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::requests::Requests;

/// The time between two samples.
const EVERY: Duration = Duration::from_secs(10);

/// The time span of a rate.
const MINUTE: Duration = Duration::from_secs(60);

/// How long a stream is sampled after the last call that asked for its rates.
const WATCHED: Duration = Duration::from_secs(10 * 60);

/// Streams sampled, and requests for samples at a time, at most.
const STREAMS: usize = 1024;
const AT_ONCE: usize = 8;

/// How long a sample may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The message and byte rates of streams that calls recently asked for. They are sampled in the background.
#[derive(Debug)]
pub(crate) struct Rates {
    every: Duration,
    streams: Arc<Mutex<Streams>>,
    sampler: Mutex<Option<JoinHandle<()>>>,
}

type Streams = HashMap<String, Watched>;

#[derive(Debug)]
struct Watched {
    asked: Instant,
    samples: Samples,
}

/// The messages and bytes stored in a stream since the first sample.
#[derive(Debug, Default)]
struct Samples {
    last: Option<State>,
    sums: VecDeque<(Instant, Sum)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    messages: f64,
    bytes: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self::sampled(EVERY)
    }
}

impl Rates {
    fn sampled(every: Duration) -> Self {
        Self { every, streams: Arc::default(), sampler: Mutex::default() }
    }

    /// Messages and bytes stored per second over the last minute, or since the first sample. Takes the given state as a
    /// sample, and has the stream sampled from now on.
    pub(crate) fn of(&self, api: &Arc<Api<Requests>>, stream: &str, state: &State) -> (f64, f64) {
        self.watch(api);
        let (mut streams, now) = (lock(&self.streams), Instant::now());
        if streams.len() >= STREAMS && !streams.contains_key(stream) {
            // Replace the stream that was not asked for the longest.
            let oldest =
                streams.iter().min_by_key(|(_, watched)| watched.asked).map(|(name, _)| name.clone());
            oldest.and_then(|name| streams.remove(&name));
        }
        let watched = streams
            .entry(stream.to_owned())
            .or_insert_with(|| Watched { asked: now, samples: Samples::default() });
        watched.asked = now;
        watched.samples.add(now, state);
        watched.samples.rates()
    }

    /// Starts the sampler unless it runs.
    fn watch(&self, api: &Arc<Api<Requests>>) {
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        if sampler.as_ref().is_none_or(JoinHandle::is_finished) {
            let (api, streams) = (Arc::downgrade(api), self.streams.clone());
            *sampler = Some(tokio::spawn(sample(api, streams, self.every)));
        }
    }
}

impl Drop for Rates {
    fn drop(&mut self) {
        if let Some(sampler) = self.sampler.get_mut().unwrap_or_else(PoisonError::into_inner) {
            sampler.abort();
        }
    }
}

/// Takes samples until no stream is left.
async fn sample(api: Weak<Api<Requests>>, streams: Arc<Mutex<Streams>>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(api) = api.upgrade() else { return };
        let names: Vec<_> = {
            let mut streams = lock(&streams);
            streams.retain(|_, watched| watched.asked.elapsed() < WATCHED);
            streams.keys().cloned().collect()
        };
        if names.is_empty() {
            return;
        }
        // Without a connection the client would keep the requests for later.
        if !api.requester().is_connected() {
            continue;
        }
        let infos = futures::stream::iter(names).map(async |name: String| {
            let info = timeout(LIMIT, api.stream_info(&name)).await;
            (name, info)
        });
        let mut infos = infos.buffer_unordered(AT_ONCE);
        while let Some((name, info)) = infos.next().await {
            // A stream that is deleted or does not respond has no sample.
            if let Ok(Ok(info)) = info
                && let Some(watched) = lock(&streams).get_mut(&name)
            {
                watched.samples.add(Instant::now(), &info.state);
            }
        }
    }
}

fn lock(streams: &Mutex<Streams>) -> MutexGuard<'_, Streams> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Samples {
    fn add(&mut self, now: Instant, state: &State) {
        let last = self.last.replace(state.clone());
        let before = last.filter(|last| last.last_sequence <= state.last_sequence);
        let Some(before) = before else {
            // The first sample, or the stream was deleted and created again.
            self.sums = [(now, Sum::default())].into();
            return;
        };
        let (at, sum) = self.sums.back().copied().unwrap_or((now, Sum::default()));
        let messages = (state.last_sequence - before.last_sequence) as f64;
        let sum =
            Sum { messages: sum.messages + messages, bytes: sum.bytes + messages * size(&before, state) };
        // At most one sample per second is kept.
        let (len, late) = (self.sums.len(), now.saturating_duration_since(at) >= Duration::from_secs(1));
        match self.sums.back_mut() {
            Some(back) if len > 1 && !late => back.1 = sum,
            _ => self.sums.push_back((now, sum)),
        }
        self.sums.retain(|(at, _)| now.saturating_duration_since(*at) <= MINUTE);
    }

    fn rates(&self) -> (f64, f64) {
        let (Some((first, from)), Some((last, to))) = (self.sums.front(), self.sums.back()) else {
            return (0.0, 0.0);
        };
        let seconds = last.saturating_duration_since(*first).as_secs_f64();
        match seconds > 0.0 {
            true => ((to.messages - from.messages) / seconds, (to.bytes - from.bytes) / seconds),
            false => (0.0, 0.0),
        }
    }
}

/// The average size of a message stored between two states.
fn size(before: &State, after: &State) -> f64 {
    let stored = after.last_sequence - before.last_sequence;
    let (messages, bytes) =
        (after.messages.checked_sub(before.messages), after.bytes.checked_sub(before.bytes));
    match (messages, bytes) {
        // No message was removed in between.
        (Some(messages), Some(bytes)) if messages == stored && stored > 0 => bytes as f64 / stored as f64,
        // Assume that removed messages had the size of those that remain.
        _ if after.messages > 0 => after.bytes as f64 / after.messages as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;
