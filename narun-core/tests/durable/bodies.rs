//! Bodies as objects.

use bytes::Bytes;
use narun_core::durable::BodiesError;

use crate::harness::{ID, in_memory, state, tasks};

fn body(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn a_body_is_stored_read_and_deleted_without_a_trace() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let stream = format!("OBJ_{}", bodies.bucket());
    for length in [0, 1, 128 << 10, (128 << 10) + 1, 3 << 20] {
        let object = bodies.put(ID, body(length)).await.unwrap();
        assert_eq!(object.size, length as u64);
        assert!(bodies.get(&object).await.unwrap() == body(length), "{length} bytes");
        assert_eq!(state(&tasks, &stream).await.messages, 1 + length.div_ceil(128 << 10) as u64);
        bodies.delete(&object).await.unwrap();
        bodies.delete(&object).await.unwrap();
        assert_eq!(state(&tasks, &stream).await.messages, 0);
        if length > 0 {
            assert_eq!(bodies.get(&object).await, Err(BodiesError::Missing));
        }
    }
}
