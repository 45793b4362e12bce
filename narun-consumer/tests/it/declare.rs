//! Declaring streams, consumers and buckets in advance.

use std::time::Duration;

use async_nats::jetstream;
use narun_consumer::{ServeError, StreamSettings, declare};

use crate::harness::{connect, new_app};

const ACK_WAIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn missing_streams_are_declared_and_existing_ones_compared() {
    let (client, app) = (connect().await, new_app());
    let checked = StreamSettings::new().declare(false);
    let missing = declare(client.clone(), &app, [&app], checked.clone(), ACK_WAIT).await;
    assert!(matches!(missing, Err(ServeError::Stream(_))), "{missing:?}");

    declare(client.clone(), &app, [&app], StreamSettings::new(), ACK_WAIT).await.expect("it is declared");
    declare(client.clone(), &app, [&app], checked.clone(), ACK_WAIT).await.expect("it is there");
    let another = declare(client.clone(), &app, [&new_app()], checked, ACK_WAIT).await;
    assert!(matches!(another, Err(ServeError::Stream(_))), "{another:?}");
    let more = declare(client.clone(), &app, [&app], StreamSettings::new().replicas(3), ACK_WAIT).await;
    assert!(matches!(more, Err(ServeError::Stream(_))), "{more:?}");

    let bodies = jetstream::new(client).get_stream(format!("OBJ_{app}-bodies")).await;
    assert_eq!(bodies.expect("a bucket").cached_info().config.num_replicas, 1);
}

#[tokio::test]
async fn nothing_is_declared_with_an_invalid_name_or_setting() {
    let (client, app) = (connect().await, new_app());
    let settings = StreamSettings::new;
    let bad_app = declare(client.clone(), &app, ["a.b"], settings(), ACK_WAIT).await;
    assert!(matches!(bad_app, Err(ServeError::Name(_))), "{bad_app:?}");
    let bad_namespace = declare(client.clone(), "a.b", [&app], settings(), ACK_WAIT).await;
    assert!(matches!(bad_namespace, Err(ServeError::Name(_))), "{bad_namespace:?}");
    let bad_wait = declare(client.clone(), &app, [&app], settings(), Duration::from_millis(99)).await;
    assert!(matches!(bad_wait, Err(ServeError::Setting(_))), "{bad_wait:?}");
    assert!(jetstream::new(client).get_stream(app).await.is_err());
}
