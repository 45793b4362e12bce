//! The bucket of bodies.

use std::time::Duration;

use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use data_encoding::BASE64URL;
use narun_core::App;
use narun_core::frame::ObjectRef;
use narun_nats::jetstream::{BodyStore, BodyStoreError, BucketRoom, TaskStreams};
use narun_support::testing::eventually;

use crate::harness::{ID, in_memory, messages, tasks};

const CHUNK: usize = 128 << 10;

fn body(length: usize) -> Bytes {
    (0_usize..length).map(|i| (i % 251) as u8).collect()
}

/// Stores, reads and deletes one body.
pub(crate) async fn is_stored_and_deleted(tasks: &TaskStreams, length: usize) {
    let bodies = tasks.bodies().await.unwrap();
    let stream = format!("OBJ_{}", bodies.bucket());
    let object = bodies.put(ID, body(length)).await.unwrap();
    assert_eq!((&*object.bucket, object.size), (bodies.bucket(), length as u64));
    assert!(bodies.get(&object).await.unwrap() == body(length), "{length} bytes");
    assert_eq!(messages(tasks, &stream).await, 1 + length.div_ceil(CHUNK) as u64);
    for _ in 0..2 {
        bodies.delete(&object).await.unwrap();
        assert_eq!(messages(tasks, &stream).await, 0);
    }
    if length > 0 {
        assert_eq!(bodies.get(&object).await, Err(BodyStoreError::Missing));
    }
}

#[tokio::test]
async fn a_body_is_stored_and_deleted() {
    let tasks = tasks(in_memory()).await;
    for length in [0, 1, CHUNK, CHUNK + 1, 3 << 20] {
        is_stored_and_deleted(&tasks, length).await;
    }
}

#[tokio::test]
async fn other_clients_read_a_body_as_an_object() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let object = bodies.put(ID, body(2 * CHUNK + 5)).await.unwrap();
    let store = tasks.context().get_object_store(bodies.bucket()).await.unwrap();
    let mut read = store.get(&object.name).await.unwrap();
    assert_eq!((read.info().size, read.info().chunks), (2 * CHUNK + 5, 3));
    let digest = format!("SHA-256={}", BASE64URL.encode(&object.digest));
    assert_eq!(read.info().digest.as_deref(), Some(&*digest));
    let mut content = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut read, &mut content).await.unwrap();
    assert!(content == body(2 * CHUNK + 5));
}

#[tokio::test]
async fn two_bodies_of_a_request_have_different_names() {
    let bodies = tasks(in_memory()).await.bodies().await.unwrap();
    let (first, second) = (bodies.put(ID, body(9)).await.unwrap(), bodies.put(ID, body(8)).await.unwrap());
    assert_ne!(first.name, second.name);
    bodies.delete(&first).await.unwrap();
    assert_eq!(bodies.get(&second).await.unwrap(), body(8));
}

#[tokio::test]
async fn a_body_that_differs_from_its_reference_is_corrupt() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let object = bodies.put(ID, body(2 * CHUNK)).await.unwrap();
    let others = [
        ObjectRef { digest: [0; 32], ..object.clone() },
        ObjectRef { size: 0, ..object.clone() },
        ObjectRef { size: object.size - 1, ..object.clone() },
        ObjectRef { size: object.size + 1, ..object.clone() },
        ObjectRef { size: u64::MAX, ..object.clone() },
    ];
    for other in others {
        assert_eq!(bodies.get(&other).await, Err(BodyStoreError::Corrupt), "{other:?}");
    }
    let stream = tasks.context().get_stream(format!("OBJ_{}", bodies.bucket())).await.unwrap();
    stream.delete_message(2).await.unwrap();
    assert_eq!(bodies.get(&object).await, Err(BodyStoreError::Corrupt));
    stream.delete_message(1).await.unwrap();
    assert_eq!(bodies.get(&object).await, Err(BodyStoreError::Missing));
}

#[tokio::test]
async fn a_body_in_tiny_chunks_is_corrupt() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let object = ObjectRef {
        bucket: bodies.bucket().to_owned(),
        name: "tiny".to_owned(),
        size: 1 << 20,
        digest: [0; 32],
    };
    let subject = format!("$O.{}.C.{}", object.bucket, BASE64URL.encode(object.name.as_bytes()));
    tasks.context().publish(subject, "x".into()).await.unwrap().await.unwrap();
    assert_eq!(bodies.get(&object).await, Err(BodyStoreError::Corrupt));
}

#[tokio::test]
async fn an_upload_holds_a_few_chunks_and_can_store_them_early() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let mut upload = bodies.upload(ID);
    for part in body(3 << 20).chunks(100_000) {
        upload.write(Bytes::copy_from_slice(part)).await.unwrap();
        assert!(upload.held() <= 9 * CHUNK, "{}", upload.held());
    }
    upload.flush().await.unwrap();
    assert_eq!(upload.held(), 0);
    // Too short for a chunk.
    upload.write("x".into()).await.unwrap();
    upload.flush().await.unwrap();
    assert_eq!(upload.held(), 1);
    let object = upload.finish(Bytes::new()).await.unwrap();
    let stored = bodies.get(&object).await.unwrap();
    assert!(stored[..3 << 20] == body(3 << 20) && stored[3 << 20..] == b"x"[..]);

    let mut upload = bodies.upload(ID);
    upload.write(body(3 << 20)).await.unwrap();
    upload.discard().await;
    bodies.delete(&object).await.unwrap();
    assert_eq!(messages(&tasks, &format!("OBJ_{}", bodies.bucket())).await, 0);
}

#[tokio::test]
async fn the_last_chunk_of_another_body_is_not_returned() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    let object = bodies.put(ID, body(2 * CHUNK)).await.unwrap();
    let mut reader = bodies.read(&ObjectRef { digest: [0; 32], ..object }).unwrap();
    let first = reader.fetch().await.unwrap();
    assert_eq!(reader.accept(first).unwrap(), body(2 * CHUNK)[..CHUNK]);
    let last = reader.fetch().await.unwrap();
    assert_eq!(reader.accept(last), Err(BodyStoreError::Corrupt));
}

#[tokio::test]
async fn a_reference_reaches_only_its_body() {
    let (tasks, other) = (tasks(in_memory()).await, tasks(in_memory()).await);
    let (bodies, others) = (tasks.bodies().await.unwrap(), other.bodies().await.unwrap());
    let (mine, theirs) = (bodies.put(ID, body(9)).await.unwrap(), others.put(ID, body(9)).await.unwrap());
    assert_eq!(bodies.get(&theirs).await, Err(BodyStoreError::Missing));
    bodies.delete(&theirs).await.unwrap();
    assert_eq!(others.get(&theirs).await.unwrap(), body(9));
    for name in [">", "*", "", "a.>", "a b\r\n"] {
        let all = ObjectRef { name: name.to_owned(), ..mine.clone() };
        assert!(bodies.get(&all).await.is_err());
        // Some of them are invalid as subjects.
        let _ = bodies.delete(&all).await;
    }
    assert_eq!(bodies.get(&mine).await.unwrap(), body(9));
}

#[tokio::test]
async fn a_failed_put_leaves_nothing_behind() {
    let tasks = tasks(in_memory()).await;
    let bucket = object_store::Config {
        bucket: tasks.namespace().bodies_bucket(),
        storage: StorageType::Memory,
        max_bytes: 20 * CHUNK as i64,
        ..Default::default()
    };
    tasks.context().create_object_store(bucket).await.unwrap();
    let bodies = tasks.bodies().await.unwrap();
    let stream = format!("OBJ_{}", bodies.bucket());
    assert_eq!(bodies.put(ID, body(40 * CHUNK)).await, Err(BodyStoreError::Full));
    assert_eq!(messages(&tasks, &stream).await, 0);
    let object = bodies.put(ID, body(10 * CHUNK)).await.unwrap();
    assert_eq!(bodies.put(ID, body(10 * CHUNK)).await, Err(BodyStoreError::Full));
    assert_eq!(messages(&tasks, &stream).await, 11);
    assert!(bodies.get(&object).await.is_ok());

    tasks.context().delete_object_store(bodies.bucket()).await.unwrap();
    assert!(matches!(bodies.put(ID, body(9)).await, Err(BodyStoreError::Unavailable(_))));
    assert!(matches!(bodies.get(&object).await, Err(BodyStoreError::Unavailable(_))));
    assert!(matches!(bodies.delete(&object).await, Err(BodyStoreError::Unavailable(_))));
}

#[tokio::test]
async fn bodies_that_nothing_refers_to_are_deleted() {
    let tasks = tasks(in_memory()).await;
    assert!(tasks.sweep_bodies(Duration::ZERO).await.is_err(), "there is no bucket");
    let bodies = tasks.bodies().await.unwrap();
    let stream = format!("OBJ_{}", bodies.bucket());
    tasks.declare_stream().await.unwrap();
    tasks.declare_dead_letters().await.unwrap();
    let whole = bodies.put(ID, body(2 * CHUNK)).await.unwrap();
    let mut partial = bodies.upload(ID);
    partial.write(body(2 * CHUNK)).await.unwrap();
    partial.confirm().await.unwrap();
    drop(partial);
    assert_eq!(messages(&tasks, &stream).await, 5);

    // They may still be needed.
    assert_eq!(tasks.sweep_bodies(Duration::from_secs(3600)).await, Ok(0));
    // A request, and then a dead letter, may refer to the whole one.
    let namespace = tasks.namespace().clone();
    let app = App::new("hello").unwrap();
    for (place, subject) in [
        (namespace.task_stream().to_owned(), namespace.task_subject(&app)),
        (namespace.dead_stream(), namespace.dead_subject(&app)),
    ] {
        tasks.context().publish(subject, "request".into()).await.unwrap().await.unwrap();
        tasks.sweep_bodies(Duration::ZERO).await.unwrap();
        assert_eq!(bodies.get(&whole).await.unwrap(), body(2 * CHUNK));
        assert_eq!(messages(&tasks, &stream).await, 3);
        tasks.context().get_stream(place).await.unwrap().purge().await.unwrap();
    }
    assert_eq!(tasks.sweep_bodies(Duration::from_secs(3600)).await, Ok(0));
    assert_eq!(tasks.sweep_bodies(Duration::ZERO).await, Ok(1));
    assert_eq!(messages(&tasks, &stream).await, 0);

    // An object that is no body stays.
    let store = tasks.context().get_object_store(bodies.bucket()).await.unwrap();
    store.put("an object", &mut &b"content"[..]).await.unwrap();
    assert_eq!(tasks.sweep_bodies(Duration::ZERO).await, Ok(0));
    assert_eq!(messages(&tasks, &stream).await, 2);
}

#[tokio::test]
async fn a_whole_body_is_not_taken_for_a_part_of_one_in_a_bucket_of_very_many() {
    let tasks = tasks(in_memory()).await;
    let bodies = tasks.bodies().await.unwrap();
    tasks.declare_stream().await.unwrap();
    tasks.declare_dead_letters().await.unwrap();
    let whole = bodies.put(ID, body(CHUNK)).await.unwrap();
    let request = tasks.namespace().task_subject(&App::new("hello").unwrap());
    tasks.context().publish(request, "request".into()).await.unwrap().await.unwrap();
    // The server lists 100,000 subjects, in order: the description is not among them.
    let client = tasks.context().client();
    for number in 0..100_000 {
        let subject = format!("$O.{}.C.{number}", bodies.bucket());
        // A server drops messages if thousands of them wait to be stored.
        if number % 5_000 == 0 {
            tasks.context().publish(subject, "".into()).await.unwrap().await.unwrap();
        } else {
            client.publish(subject, "".into()).await.unwrap();
        }
    }
    let stream = format!("OBJ_{}", bodies.bucket());
    eventually("all messages", async || messages(&tasks, &stream).await == 100_002).await;
    assert_eq!(tasks.sweep_bodies(Duration::ZERO).await, Ok(0));
    assert!(bodies.get(&whole).await.is_ok());
}

#[tokio::test]
async fn what_is_left_of_a_bucket_is_its_limit_less_what_it_has() {
    let bodies = tasks(in_memory().bodies_max_bytes(1 << 20)).await.bodies().await.unwrap();
    assert_eq!(bodies.room().await, Ok(BucketRoom { limit: 1 << 20, left: 1 << 20 }));
    for length in [0, 1, 4096, CHUNK, 3 * CHUNK] {
        let before = bodies.room().await.unwrap().left;
        bodies.put(ID, body(length)).await.unwrap();
        let taken = before - bodies.room().await.unwrap().left;
        assert!(taken > length as u64 && taken <= BodyStore::stored_size(length as u64), "{length}: {taken}");
    }
    let bodies = tasks(in_memory().bodies_max_bytes(u64::MAX)).await.bodies().await.unwrap();
    assert_eq!(bodies.room().await, Ok(BucketRoom { limit: u64::MAX, left: u64::MAX }));
}
