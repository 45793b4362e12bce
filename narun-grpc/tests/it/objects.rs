//! ObjectPut, ObjectGet, ObjectDelete, ObjectList, ObjectUpload and ObjectDownload.

use async_nats::jetstream;
use bytes::{Bytes, BytesMut};
use narun_grpc::pb::{
    ObjectChunk, ObjectDeleteRequest, ObjectGetRequest, ObjectGetResponse, ObjectInfo, ObjectListRequest,
    ObjectPutRequest,
};
use tokio::io::AsyncReadExt;
use tonic::Code;

use crate::harness::{GrpcClient, Service, connect, eventually, new_user, soon};

pub(crate) fn put(user: &str, name: &str, data: impl Into<Bytes>) -> ObjectPutRequest {
    ObjectPutRequest {
        user_id: user.to_owned(),
        bucket: "b".into(),
        object_name: name.to_owned(),
        data: data.into(),
        metadata: [("kind".to_owned(), "täst".to_owned())].into(),
        ..Default::default()
    }
}

fn named(user: &str, name: &str) -> ObjectGetRequest {
    let (user_id, bucket, object_name) = (user.to_owned(), "b".to_owned(), name.to_owned());
    ObjectGetRequest { user_id, bucket, object_name, ..Default::default() }
}

async fn get(client: &GrpcClient, user: &str, name: &str) -> ObjectGetResponse {
    client.clone().object_get(named(user, name)).await.expect("a response").into_inner()
}

async fn list(client: &GrpcClient, user: &str) -> Vec<ObjectInfo> {
    let request = ObjectListRequest { user_id: user.to_owned(), bucket: "b".into(), ..Default::default() };
    client.clone().object_list(request).await.expect("a response").into_inner().objects
}

async fn delete(client: &GrpcClient, user: &str, name: &str) -> bool {
    let (user_id, bucket, object_name) = (user.to_owned(), "b".to_owned(), name.to_owned());
    let request = ObjectDeleteRequest { user_id, bucket, object_name, ..Default::default() };
    client.clone().object_delete(request).await.expect("a response").into_inner().success
}

/// The number of messages in a user's bucket.
async fn kept(user: &str) -> u64 {
    let context = jetstream::new(connect().await);
    let mut stream = context.get_stream(format!("OBJ_obj-user-{user}-b")).await.unwrap();
    stream.info().await.unwrap().state.messages
}

#[tokio::test]
async fn an_object_is_put_read_listed_replaced_and_deleted() {
    let (mut service, user) = (Service::start().await, new_user());
    let client = service.client.clone();
    assert!(!get(&client, &user, "o").await.found);
    assert!(!delete(&client, &user, "o").await);
    assert!(list(&client, &user).await.is_empty());
    // Several chunks with a partial last one, and no chunk.
    let data = Bytes::from_iter((0..300_001_u32).map(|number| number.to_le_bytes()[0]));
    let first = service.client.object_put(put(&user, "a/b c", data.clone())).await.unwrap().into_inner();
    assert!(first.success);
    service.client.object_put(put(&user, "empty", "")).await.unwrap();
    let object = get(&client, &user, "a/b c").await;
    assert!(object.found && object.data == data);
    assert_eq!(object.metadata.get("kind").map(String::as_str), Some("täst"));
    assert!(get(&client, &user, "empty").await.found);
    let listed = list(&client, &user).await;
    assert_eq!(listed.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["a/b c", "empty"]);
    assert_eq!(listed[0].size, 300_001);
    assert!(listed[0].modified.is_some() && listed[0].metadata == object.metadata);
    assert_eq!(kept(&user).await, 3 + 2);

    let second = service.client.object_put(put(&user, "a/b c", "new")).await.unwrap().into_inner();
    assert_ne!(first.object_id, second.object_id);
    assert_eq!(get(&client, &user, "a/b c").await.data, "new");
    assert_eq!(kept(&user).await, 1 + 2);
    assert!(delete(&client, &user, "a/b c").await);
    assert!(!delete(&client, &user, "a/b c").await);
    assert!(!get(&client, &user, "a/b c").await.found);
    assert_eq!(list(&client, &user).await.len(), 1);
    assert!(!get(&client, &new_user(), "empty").await.found);
}

#[tokio::test]
async fn large_objects_are_uploaded_and_downloaded_in_chunks() {
    let (mut service, user) = (Service::start().await, new_user());
    // More than a gRPC message may have, in uneven chunks.
    let piece = Bytes::from_iter((0..777_777_u32).map(|number| number.to_le_bytes()[1]));
    let first = ObjectChunk {
        user_id: user.clone(),
        bucket: "b".into(),
        object_name: "large".into(),
        size: 30 * 777_777,
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    };
    let chunks = (0..30).map({
        let piece = piece.clone();
        move |_| ObjectChunk { data: piece.clone(), ..Default::default() }
    });
    let chunks = tokio_stream::iter(std::iter::once(first).chain(chunks));
    assert!(service.client.object_upload(chunks).await.unwrap().into_inner().success);
    let status = service.client.object_get(named(&user, "large")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let mut download = service.client.object_download(named(&user, "large")).await.unwrap().into_inner();
    let first = download.message().await.unwrap().unwrap();
    assert_eq!((first.object_name.as_str(), first.size), ("large", 30 * 777_777));
    assert_eq!(first.metadata.get("a").map(String::as_str), Some("b"));
    let mut data = BytesMut::new();
    while let Some(chunk) = soon("a chunk", download.message()).await.unwrap() {
        data.extend_from_slice(&chunk.data);
    }
    assert!(data.chunks(piece.len()).all(|found| found == piece) && data.len() == 30 * piece.len());
    let status = service.client.object_download(named(&user, "none")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn objects_with_interleaved_chunks_are_read_whole() {
    let (service, user) = (Service::start().await, new_user());
    let data = |number: u8| Bytes::from_iter((0..2_000_000_u32).map(|at| at.to_le_bytes()[2] ^ number));
    let names = ["a", "b", "c", "d"];
    let puts = names.iter().zip(1..).map(|(name, number)| {
        let (mut client, request) = (service.client.clone(), put(&user, name, data(number)));
        async move { client.object_put(request).await.map(drop) }
    });
    for result in futures::future::join_all(puts).await {
        result.unwrap();
    }
    for (name, number) in names.iter().zip(1..) {
        assert!(get(&service.client, &user, name).await.data == data(number), "{name}");
    }
}

#[tokio::test]
async fn concurrent_puts_of_an_object_leave_one_version() {
    let (service, user) = (Service::start().await, new_user());
    let puts = (0..12_u8).map(|number| {
        let (mut client, request) = (service.client.clone(), put(&user, "o", vec![number; 200_000]));
        async move { client.object_put(request).await.map(drop) }
    });
    for result in futures::future::join_all(puts).await {
        result.unwrap();
    }
    let data = get(&service.client, &user, "o").await.data;
    assert!(data.len() == 200_000 && data.iter().all(|byte| *byte == data[0]));
    assert_eq!(kept(&user).await, 2 + 1);
    // Some clients put it and some delete it; one of them is the last.
    let mixed = (0..12_u8).map(|number| {
        let (client, user) = (service.client.clone(), user.clone());
        async move {
            match number % 2 {
                0 => drop(client.clone().object_put(put(&user, "o", vec![number; 200_000])).await.unwrap()),
                _ => drop(delete(&client, &user, "o").await),
            }
        }
    });
    futures::future::join_all(mixed).await;
    let chunks = if get(&service.client, &user, "o").await.found { 2 } else { 0 };
    assert_eq!(kept(&user).await, chunks + 1);
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing() {
    let (service, user) = (Service::start().await, new_user());
    let (sender, chunks) = tokio::sync::mpsc::channel(1);
    let first = ObjectChunk {
        user_id: user.clone(),
        bucket: "b".into(),
        object_name: "half".into(),
        data: vec![1; 500_000].into(),
        ..Default::default()
    };
    sender.send(first).await.unwrap();
    let mut client = service.client.clone();
    let uploading = tokio::spawn(async move {
        client.object_upload(tokio_stream::wrappers::ReceiverStream::new(chunks)).await.map(drop)
    });
    let context = jetstream::new(connect().await);
    eventually("chunks", async || match context.get_stream(format!("OBJ_obj-user-{user}-b")).await {
        Ok(stream) => stream.cached_info().state.messages >= 3,
        Err(_) => false,
    })
    .await;
    uploading.abort();
    eventually("nothing", async || kept(&user).await == 0).await;
    assert!(!get(&service.client, &user, "half").await.found);
    drop(sender);
}

#[tokio::test]
async fn a_deleted_bucket_is_created_again() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.object_put(put(&user, "o", "one")).await.unwrap();
    service.client.object_put(put(&user, "o", "one more")).await.unwrap();
    let context = jetstream::new(connect().await);
    context.delete_object_store(format!("obj-user-{user}-b")).await.unwrap();
    // The bucket stays verified for a while, until a request fails.
    let status = service.client.object_put(put(&user, "o", "two")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    service.client.object_put(put(&user, "o", "two")).await.unwrap();
    assert_eq!(get(&service.client, &user, "o").await.data, "two");
}

#[tokio::test]
async fn other_clients_see_the_same_objects_and_damage_is_detected() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.object_put(put(&user, "here", "from here")).await.unwrap();
    let context = jetstream::new(connect().await);
    let store = context.get_object_store(format!("obj-user-{user}-b")).await.unwrap();
    let mut text = String::new();
    store.get("here").await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "from here");
    let info = store.put("there", &mut &b"from there"[..]).await.unwrap();
    assert_eq!(get(&service.client, &user, "there").await.data, "from there");
    store.add_link("link", &info).await.unwrap();
    assert_eq!(get(&service.client, &user, "link").await.data, "from there");

    // Replace its chunk by another of the same size.
    let subject = format!("$O.obj-user-{user}-b.C.{}", info.nuid);
    let stream = context.get_stream(format!("OBJ_obj-user-{user}-b")).await.unwrap();
    stream.purge().filter(&subject).await.unwrap();
    context.publish(subject, "From there".into()).await.unwrap().await.unwrap();
    let status = service.client.object_get(named(&user, "there")).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    let mut download = service.client.object_download(named(&user, "there")).await.unwrap().into_inner();
    let status = loop {
        match download.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a whole object"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::DataLoss);
}

#[tokio::test]
async fn invalid_objects_are_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    let refused = [
        ObjectPutRequest { bucket: String::new(), ..put(&user, "o", "") },
        ObjectPutRequest { bucket: "a.b".into(), ..put(&user, "o", "") },
        put(&user, "", ""),
        put(&user, &"o".repeat(4000), ""),
        put("", "o", ""),
    ];
    for request in refused {
        let shown = format!("{request:.100?}");
        let status = service.client.object_put(request).await.expect_err(&shown);
        assert_eq!(status.code(), Code::InvalidArgument, "{shown}");
    }
    for size in [4, 6, -1, i64::MAX] {
        let chunk = ObjectChunk {
            user_id: user.clone(),
            bucket: "b".into(),
            object_name: "short".into(),
            data: Bytes::from_static(b"12345"),
            size,
            ..Default::default()
        };
        let status = service.client.object_upload(tokio_stream::once(chunk)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{size}");
    }
    assert!(!get(&service.client, &user, "short").await.found);
    let nothing = tokio_stream::iter(Vec::<ObjectChunk>::new());
    let status = service.client.object_upload(nothing).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
