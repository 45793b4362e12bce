//! GetStatistics and GetStreamStats.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::State;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Status;

use crate::call::{Call, Unary};
use crate::convert::saturating;
use crate::status::OrStatus;
use crate::{Connection, Method, pb};

/// How long another server may take to tell the account's connections after the one before.
const NEXT_SERVER: Duration = Duration::from_millis(100);

/// The time that rates are of.
const MINUTE: Duration = Duration::from_secs(60);

/// Streams whose samples are kept, and samples of each.
const STREAMS: usize = 4096;
const SAMPLES: usize = 61;

/// How far streams were when they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<String, VecDeque<(Instant, u64)>>>);

impl Samples {
    /// Messages stored in a second since the first sample of the last minute, of which this becomes the last.
    fn rate(&self, stream: &str, now: Instant, last: u64) -> f64 {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = |at: Instant| now.saturating_duration_since(at) > MINUTE;
        if streams.len() >= STREAMS && !streams.contains_key(stream) {
            streams.retain(|_, samples| samples.back().is_some_and(|(at, _)| !stale(*at)));
            if streams.len() >= STREAMS {
                return 0.0;
            }
        }
        let samples = streams.entry(stream.to_owned()).or_default();
        // One that was deleted and made again begins anew.
        samples.retain(|(at, sequence)| !stale(*at) && *sequence <= last);
        let rate = samples.front().map_or(0.0, |(at, first)| {
            let seconds = now.saturating_duration_since(*at).as_secs_f64();
            if seconds > 0.0 { (last - first) as f64 / seconds } else { 0.0 }
        });
        // One a second is enough.
        if samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= MINUTE / 60) {
            samples.push_back((now, last));
        }
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        rate
    }
}

impl Unary for pb::GetStatisticsRequest {
    const METHOD: Method = Method::GetStatistics;
    type Response = pb::GetStatisticsResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::GetStatisticsResponse, Status> {
        let streams = call.all_streams().await?;
        let total = |of: fn(&State) -> u64| -> i64 {
            saturating(streams.iter().map(|info| of(&info.state)).sum::<u64>())
        };
        let (received, sent) = (&call.tally.received, &call.tally.sent);
        Ok(pb::GetStatisticsResponse {
            total_streams: saturating(streams.len()),
            total_consumers: total(|state| state.consumer_count as u64),
            total_messages: total(|state| state.messages),
            total_bytes: total(|state| state.bytes),
            connections: connections(call.connection()).await?,
            in_msgs: saturating(received.messages()),
            out_msgs: saturating(sent.messages()),
            in_bytes: saturating(received.bytes()),
            out_bytes: saturating(sent.bytes()),
        })
    }
}

/// Connections of the account, over all servers; that of this service alone if no server tells.
async fn connections(connection: &Connection) -> Result<i32, Status> {
    let client = connection.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.or_status()?;
    client.publish_with_reply("$SYS.REQ.ACCOUNT.PING.STATZ", inbox, Bytes::new()).await.or_status()?;
    let mut connections = 0_i64;
    while let Ok(Some(answer)) = timeout(NEXT_SERVER, answers.next()).await {
        let statistics: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        let accounts =
            statistics.pointer("/data/account_statz").or_else(|| statistics.pointer("/data/accounts"));
        let counts = accounts.and_then(Value::as_array).into_iter().flatten();
        connections =
            counts.filter_map(|account| account["conns"].as_i64()).fold(connections, i64::saturating_add);
        if answer.status.is_some() {
            break;
        }
    }
    Ok(saturating(connections.max(1)))
}

impl Unary for pb::GetStreamStatsRequest {
    const METHOD: Method = Method::GetStreamStats;
    type Response = pb::GetStreamStatsResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::GetStreamStatsResponse, Status> {
        let (name, info) = call.stream(&self.stream_name).await?;
        let state = info.state;
        let message_rate = call.shared.samples.rate(&name, Instant::now(), state.last_sequence);
        // What was stored and is gone again is not told in bytes: it is taken to be as large as what is there.
        let average = if state.messages == 0 { 0.0 } else { state.bytes as f64 / state.messages as f64 };
        Ok(pb::GetStreamStatsResponse {
            stream_name: self.stream_name,
            messages: saturating(state.messages),
            bytes: saturating(state.bytes),
            consumer_count: saturating(state.consumer_count),
            message_rate,
            byte_rate: message_rate * average,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Samples;

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let (samples, start) = (Samples::default(), Instant::now());
        let at = |seconds: u64, last: u64| samples.rate("s", start + Duration::from_secs(seconds), last);
        assert_eq!(at(0, 100), 0.0);
        assert_eq!(at(10, 200), 10.0);
        assert_eq!(at(20, 200), 5.0);
        assert_eq!(at(65, 750), 10.0);
        // Deleted and made again.
        assert_eq!(at(66, 5), 0.0);
        assert_eq!(at(76, 15), 1.0);
        assert_eq!(samples.rate("t", start, 1), 0.0);
    }
}
