//! Declaring.

use std::time::Duration;

use narun_core::App;
use narun_core::durable::Tasks;

use crate::harness::{in_memory, tasks};

async fn declare_all(tasks: &Tasks) {
    tasks.declare_stream().await.unwrap();
    tasks.declare_dead_letters().await.unwrap();
    tasks.outcomes().await.unwrap();
    tasks.bodies().await.unwrap();
    let wait = Duration::from_secs(3);
    assert_eq!(tasks.declare_consumer(&App::new("hello").unwrap(), wait).await, Ok(wait));
}

#[tokio::test]
async fn declaring_again_changes_nothing() {
    let tasks = tasks(in_memory()).await;
    declare_all(&tasks).await;
    declare_all(&tasks).await;
}
