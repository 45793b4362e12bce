use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, State};
use narun_support::Server;

use crate::Connection;

use super::{Rates, STREAMS, Samples, lock};

fn state(messages: u64, bytes: u64, last_sequence: u64) -> State {
    let mut state: State = serde_json::from_str(
        r#"{"messages":0,"bytes":0,"first_seq":0,"first_ts":"0001-01-01T00:00:00Z","last_seq":0,
            "last_ts":"0001-01-01T00:00:00Z","consumer_count":0}"#,
    )
    .expect("a state");
    (state.messages, state.bytes, state.last_sequence) = (messages, bytes, last_sequence);
    state
}

#[test]
fn rates_are_those_of_the_last_minute() {
    let (mut samples, start) = (Samples::default(), Instant::now());
    let mut at = |seconds: f64, messages, bytes, last| {
        samples.add(start + Duration::from_secs_f64(seconds), &state(messages, bytes, last));
        samples.rates()
    };
    assert_eq!(at(0.0, 100, 1000, 100), (0.0, 0.0));
    assert_eq!(at(10.0, 200, 3000, 200), (10.0, 200.0));
    assert_eq!(at(20.0, 200, 3000, 200), (5.0, 100.0));
    // Some were removed: those that came are as large as those that are left, 20 bytes.
    assert_eq!(at(50.0, 50, 1000, 300), (4.0, 80.0));
    // The first is out of the minute.
    assert_eq!(at(70.0, 650, 13000, 900), (700.0 / 60.0, 14_000.0 / 60.0));
    // All samples are.
    assert_eq!(at(1000.0, 0, 0, 2000), (0.0, 0.0));
    assert_eq!(at(1010.0, 10, 100, 2010), (1.0, 10.0));
    // Deleted and made again.
    assert_eq!(at(1020.0, 5, 50, 5), (0.0, 0.0));
    assert_eq!(at(1030.0, 15, 150, 15), (1.0, 10.0));
}

#[test]
fn samples_are_few_however_often_they_are_taken() {
    let (mut samples, start) = (Samples::default(), Instant::now());
    for number in 0..100_000 {
        samples.add(start + Duration::from_millis(number), &state(number, number * 10, number));
    }
    assert!(samples.sums.len() <= 62, "{}", samples.sums.len());
    let (messages, bytes) = samples.rates();
    assert!((messages - 1000.0).abs() < 1.0 && (bytes - 10_000.0).abs() < 10.0, "{messages} {bytes}");
}

#[tokio::test]
async fn samples_are_taken_in_the_background() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let connection = Connection::new(async_nats::connect(server.url()).await.expect("a connection"));
    let config = Config { name: "s".into(), subjects: vec!["s".into()], ..Default::default() };
    connection.jetstream().expect("recent").create_stream(config).await.expect("a stream");
    let rates = Rates::sampled(Duration::from_millis(5));
    assert_eq!(rates.of(&connection.0.api, "s", &state(0, 0, 0)), (0.0, 0.0));
    connection
        .jetstream()
        .expect("recent")
        .publish("s", "x".into())
        .await
        .expect("sent")
        .await
        .expect("stored");
    let sampled = async {
        while lock(&rates.streams)["s"].samples.last.as_ref().is_none_or(|state| state.last_sequence == 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), sampled).await.expect("a sample");
    assert!(lock(&rates.streams)["s"].samples.rates().0 > 0.0);
}

#[tokio::test]
async fn sampled_streams_are_bounded() {
    let server = Server::start().expect("a nats-server");
    let connection = Connection::new(async_nats::connect(server.url()).await.expect("a connection"));
    let rates = Rates::default();
    for number in 0..STREAMS {
        rates.of(&connection.0.api, &number.to_string(), &state(0, 0, 0));
    }
    rates.of(&connection.0.api, "0", &state(0, 0, 0));
    rates.of(&connection.0.api, "more", &state(0, 0, 0));
    let streams = lock(&rates.streams);
    assert_eq!(streams.len(), STREAMS);
    assert!(streams.contains_key("0") && streams.contains_key("more") && !streams.contains_key("1"));
}
