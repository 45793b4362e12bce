//! GetStatistics and GetStreamStats.

use std::time::Duration;

use async_nats::jetstream::stream::State;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Status;

use crate::call::{MethodCall, OnLoss, Unary};
use crate::convert::saturating;
use crate::status::OrStatus;
use crate::{Connection, Method, pb, random};

/// How long the first server may take to report the account's connections.
const FIRST_SERVER: Duration = Duration::from_secs(1);

/// How long another server may take after the previous one.
const NEXT_SERVER: Duration = Duration::from_millis(100);

impl Unary for pb::GetStatisticsRequest {
    const METHOD: Method = Method::GetStatistics;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::GetStatisticsResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::GetStatisticsResponse, Status> {
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

/// The connections of the account, over all servers. 1 if no server reports any.
async fn connections(connection: &Connection) -> Result<i32, Status> {
    let client = connection.client();
    let inbox = random::inbox(client);
    let mut replies = client.subscribe(inbox.clone()).await.or_status()?;
    client.publish_with_reply("$SYS.REQ.ACCOUNT.PING.STATZ", inbox, Bytes::new()).await.or_status()?;
    let (mut connections, mut patience) = (0_i64, FIRST_SERVER);
    while let Ok(Some(reply)) = timeout(patience, replies.next()).await {
        patience = NEXT_SERVER;
        let statistics: Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
        let accounts =
            statistics.pointer("/data/account_statz").or_else(|| statistics.pointer("/data/accounts"));
        let counts = accounts.and_then(Value::as_array).into_iter().flatten();
        connections =
            counts.filter_map(|account| account["conns"].as_i64()).fold(connections, i64::saturating_add);
        if reply.status.is_some() {
            break;
        }
    }
    Ok(saturating(connections.max(1)))
}

impl Unary for pb::GetStreamStatsRequest {
    const METHOD: Method = Method::GetStreamStats;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::GetStreamStatsResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::GetStreamStatsResponse, Status> {
        let (name, info) = call.stream(&self.stream_name).await?;
        let state = info.state;
        let (message_rate, byte_rate) = call.connection().rates(&name, &state);
        Ok(pb::GetStreamStatsResponse {
            stream_name: self.stream_name,
            messages: saturating(state.messages),
            bytes: saturating(state.bytes),
            consumer_count: saturating(state.consumer_count),
            message_rate,
            byte_rate,
        })
    }
}
