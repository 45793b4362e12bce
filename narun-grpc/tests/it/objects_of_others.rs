//! Objects that other clients wrote, and servers that take small messages only.

use async_nats::jetstream;
use bytes::Bytes;
use data_encoding::BASE64URL;
use narun_grpc::pb::{ObjectDeleteRequest, ObjectGetRequest, ObjectListRequest};
use narun_support::Server;
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{GrpcClient, Service, connect, new_user, soon};
use crate::objects::put;
use crate::restarts::serve;

/// Writes a description as another client does.
async fn describe(user: &str, name: &str, description: impl Into<Bytes>) {
    let context = jetstream::new(connect().await);
    let subject = format!("$O.obj-user-{user}-b.M.{}", BASE64URL.encode(name.as_bytes()));
    context.publish(subject, description.into()).await.unwrap().await.expect("a description stored");
}

fn description(user: &str, name: &str, changes: &Value) -> String {
    let mut description = json!({
        "name": name, "description": null, "headers": null, "metadata": null, "bucket": format!("obj-user-{user}-b"),
        "nuid": "n", "size": 0, "chunks": 0, "mtime": "", "digest": null,
        "options": { "link": null, "max_chunk_size": 131_072 },
    });
    let fields = description.as_object_mut().expect("an object");
    fields.extend(changes.as_object().expect("an object").clone());
    description.to_string()
}

fn link(user: &str, name: &str, to: &str, object: &str) -> String {
    let options = json!({ "link": { "bucket": format!("obj-user-{to}-b"), "name": object } });
    description(user, name, &json!({ "options": options, "nuid": "" }))
}

async fn names(client: &GrpcClient, user: &str) -> Vec<(String, bool)> {
    let request = ObjectListRequest { user_id: user.to_owned(), bucket: "b".into(), ..Default::default() };
    let objects = client.clone().object_list(request).await.expect("a list").into_inner().objects;
    objects.into_iter().map(|object| (object.name, object.link)).collect()
}

async fn get(client: &GrpcClient, user: &str, name: &str) -> Result<Option<Bytes>, Code> {
    let (user_id, bucket, object_name) = (user.to_owned(), "b".to_owned(), name.to_owned());
    let request = ObjectGetRequest { user_id, bucket, object_name, ..Default::default() };
    let got = client.clone().object_get(request).await.map_err(|status| status.code())?.into_inner();
    Ok(got.found.then_some(got.data))
}

async fn delete(client: &GrpcClient, user: &str, name: &str) -> bool {
    let (user_id, bucket, object_name) = (user.to_owned(), "b".to_owned(), name.to_owned());
    let request = ObjectDeleteRequest { user_id, bucket, object_name, ..Default::default() };
    client.clone().object_delete(request).await.expect("a response").into_inner().success
}

fn listed(names: &[&str]) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), false)).collect()
}

#[tokio::test]
async fn a_description_that_cannot_be_read_breaks_nothing() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.object_put(put(&user, "good", "data")).await.unwrap();
    let client = service.client.clone();
    // As nats.py marks what is deleted, and with nulls.
    describe(&user, "deleted", description(&user, "deleted", &json!({ "deleted": true }))).await;
    describe(&user, "nulls", description(&user, "nulls", &json!({ "size": null, "chunks": null }))).await;
    for name in ["damaged", "replaced"] {
        describe(&user, name, "{").await;
    }
    assert_eq!(names(&client, &user).await, listed(&["good", "nulls"]));
    assert_eq!(get(&client, &user, "damaged").await, Err(Code::DataLoss));
    assert_eq!(get(&client, &user, "good").await, Ok(Some("data".into())));
    assert_eq!(get(&client, &user, "nulls").await, Ok(Some("".into())));
    assert_eq!(get(&client, &user, "deleted").await, Ok(None));
    for name in ["replaced", "deleted"] {
        service.client.object_put(put(&user, name, "new")).await.unwrap();
        assert_eq!(get(&client, &user, name).await, Ok(Some("new".into())));
    }
    for name in ["damaged", "nulls", "replaced"] {
        assert!(delete(&client, &user, name).await, "{name}");
        assert!(!delete(&client, &user, name).await, "{name}");
        assert_eq!(get(&client, &user, name).await, Ok(None));
    }
    assert_eq!(names(&client, &user).await, listed(&["deleted", "good"]));
    assert_eq!(get(&client, &user, "good").await, Ok(Some("data".into())));
    // Chunks below a wildcard are not removed with such a description.
    describe(&user, "all", description(&user, "all", &json!({ "nuid": ">" }))).await;
    assert!(delete(&client, &user, "all").await);
    assert_eq!(get(&client, &user, "good").await, Ok(Some("data".into())));
}

#[tokio::test]
async fn links_are_followed_within_the_tenant_only() {
    let (mut service, user, other) = (Service::start().await, new_user(), new_user());
    for user in [&user, &other] {
        service.client.object_put(put(user, "o", user.clone())).await.unwrap();
    }
    let client = service.client.clone();
    for (name, to, object) in [
        ("own", &user, "o"),
        ("theirs", &other, "o"),
        ("bucket", &user, ""),
        ("twice", &user, "own"),
        ("none", &user, "no"),
    ] {
        describe(&user, name, link(&user, name, to, object)).await;
    }
    let links = ["bucket", "none", "own", "theirs", "twice"];
    let mut expected: Vec<_> = links.iter().map(|name| ((*name).to_owned(), true)).collect();
    expected.insert(2, ("o".to_owned(), false));
    assert_eq!(names(&client, &user).await, expected);
    assert_eq!(get(&client, &user, "own").await, Ok(Some(user.clone().into())));
    for name in ["bucket", "none", "theirs", "twice"] {
        assert_eq!(get(&client, &user, name).await, Ok(None), "{name}");
    }
    // Of the link, not of the object.
    for name in links {
        assert!(delete(&client, &user, name).await, "{name}");
    }
    assert_eq!(names(&client, &user).await, listed(&["o"]));
    for user in [&user, &other] {
        assert_eq!(get(&client, user, "o").await, Ok(Some(user.clone().into())));
    }
}

#[tokio::test]
async fn chunks_fit_a_server_that_takes_small_messages() {
    let server =
        Server::builder().jetstream(true).config("max_payload: 65536").start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let data = vec![7; 300_000];
    soon("a put", service.client.clone().object_put(put("u", "o", data.clone()))).await.unwrap();
    assert!(get(&service.client, "u", "o").await.unwrap().is_some_and(|got| got == data));
}
