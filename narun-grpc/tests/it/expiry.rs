//! Credentials that end while gRPC streams are open, and keys that are replaced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use narun_grpc::auth::{AuthRequest, Authenticator, JsonWebTokens, Principal, RequiredClaims};
use narun_grpc::pb::{ObjectChunk, SubscribeRequest};
use narun_grpc::tenancy::{Space, Tenancy};
use narun_grpc::tenant::Tenant;
use narun_grpc::{Connection, NatsService};
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::auth::{code, with};
use crate::harness::{Service, connect, eventually, soon};
use crate::jwt::{SECRET, bearer, p256, rsa, seconds};

fn subscribe(authorization: &str) -> Request<SubscribeRequest> {
    authorized(
        SubscribeRequest { user_id: "ann".into(), subject: "expiry".into(), ..Default::default() },
        authorization,
    )
}

fn authorized<T>(message: T, authorization: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::try_from(authorization).unwrap());
    request
}

#[tokio::test]
async fn streams_end_when_their_token_expires() {
    let mut service = with(JsonWebTokens::hs256(SECRET, RequiredClaims::any())).await;
    let (key, exp) = (EncodingKey::from_secret(SECRET), seconds() + 2);
    let token = bearer(Algorithm::HS256, &key, &json!({ "sub": "ann", "exp": exp }));
    let mut messages = service.client.subscribe(subscribe(&token)).await.unwrap().into_inner();
    let (chunks, stream) = tokio::sync::mpsc::channel(1);
    let first = ObjectChunk {
        user_id: "ann".into(),
        bucket: "b".into(),
        object_name: "o".into(),
        ..Default::default()
    };
    chunks.send(first).await.unwrap();
    let upload = service.client.object_upload(authorized(ReceiverStream::new(stream), &token));
    let (end, uploaded) = soon("the ends", async { tokio::join!(messages.message(), upload) }).await;
    assert_eq!(end.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(uploaded.unwrap_err().code(), Code::Unauthenticated);
    // At the expiry, not after the leeway.
    assert!((exp..exp + 25).contains(&seconds()));
}

/// Extends a credential twice.
struct Sessions(AtomicUsize);

#[tonic::async_trait]
impl Authenticator for Sessions {
    async fn authenticate(&self, _: &AuthRequest<'_>) -> Result<Principal, Status> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0..=2 => Ok(Principal::user("ann").until(SystemTime::now() + Duration::from_millis(200))),
            _ => Err(Status::permission_denied("revoked")),
        }
    }
}

#[tokio::test]
async fn an_authenticator_is_asked_again_when_a_credential_ends() {
    let mut service = with(Sessions(AtomicUsize::new(0))).await;
    let mut messages = service.client.subscribe(subscribe("x")).await.unwrap().into_inner();
    let status = soon("the end", messages.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "revoked"));
}

/// A tenant that the second look-up refuses.
struct Removed {
    connection: Connection,
    asked: AtomicUsize,
}

#[tonic::async_trait]
impl Tenancy for Removed {
    async fn space(&self, _: &Principal, user_id: &str, _: &str) -> Result<Space, Status> {
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Space::new(Tenant::user(user_id).unwrap(), self.connection.clone())),
            _ => Err(Status::permission_denied("removed")),
        }
    }
}

#[tokio::test]
async fn a_tenant_is_looked_up_again_when_a_credential_ends() {
    let nats = connect().await;
    let tenancy = Removed { connection: Connection::new(nats.clone()), asked: AtomicUsize::new(0) };
    let builder = NatsService::builder(nats).authenticator(Sessions(AtomicUsize::new(0)));
    let mut service = Service::serve(builder.tenancy(tenancy).build()).await;
    let mut messages = service.client.subscribe(subscribe("x")).await.unwrap().into_inner();
    let status = soon("the end", messages.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "removed"));
}

fn named(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    jwk
}

#[tokio::test]
async fn keys_of_a_set_are_replaced_with_an_overlap() {
    let old = rsa(include_bytes!("keys/rsa.pem"));
    let new = p256(include_bytes!("keys/p256.pem"));
    let (old_jwk, new_jwk) = (named(&old, Algorithm::RS256, "old"), named(&new, Algorithm::ES256, "new"));
    let mut encryption = named(&rsa(include_bytes!("keys/rsa-other.pem")), Algorithm::RS256, "encryption");
    encryption.common.public_key_use = Some(PublicKeyUse::Encryption);
    let unknown = json!({ "kty": "future", "kid": "unknown" });
    let set = |keys: &[&Jwk]| {
        let keys = keys.iter().map(|key| json!(key)).chain([unknown.clone()]);
        json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    assert!(JsonWebTokens::jwks_file(&file, RequiredClaims::any()).is_err());
    std::fs::write(&file, set(&[&old_jwk, &encryption])).unwrap();
    let service = with(JsonWebTokens::jwks_file(&file, RequiredClaims::new("here", "nats")).unwrap()).await;

    let claims = json!({ "sub": "ann", "iss": "here", "aud": ["other", "nats"], "exp": seconds() + 600 });
    let token = |algorithm, key: &EncodingKey, id: Option<&str>| {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        format!("Bearer {}", encode(&header, &claims, key).unwrap())
    };
    let of_old = token(Algorithm::RS256, &old, Some("old"));
    let of_new = token(Algorithm::ES256, &new, Some("new"));
    let other = rsa(include_bytes!("keys/rsa-other.pem"));
    assert_eq!(code(&service, "ann", Some(&of_old)).await, Code::Ok);
    assert_eq!(code(&service, "ann", Some(&token(Algorithm::RS256, &old, None))).await, Code::Ok);
    for wrong in [
        &of_new,
        &token(Algorithm::RS256, &old, Some("new")),
        &token(Algorithm::RS256, &other, Some("encryption")),
        &token(Algorithm::RS256, &other, None),
    ] {
        assert_eq!(code(&service, "ann", Some(wrong)).await, Code::Unauthenticated);
    }
    std::fs::write(&file, set(&[&old_jwk, &new_jwk])).unwrap();
    eventually("the new key", async || code(&service, "ann", Some(&of_new)).await == Code::Ok).await;
    assert_eq!(code(&service, "ann", Some(&of_old)).await, Code::Ok);
    // A file that is half written changes nothing.
    std::fs::write(&file, "{").unwrap();
    assert_eq!(code(&service, "ann", Some(&of_old)).await, Code::Ok);
    std::fs::write(&file, set(&[&new_jwk])).unwrap();
    eventually("no old key", async || code(&service, "ann", Some(&of_old)).await == Code::Unauthenticated)
        .await;
    assert_eq!(code(&service, "ann", Some(&of_new)).await, Code::Ok);
}

#[test]
fn a_set_without_usable_keys_is_refused() {
    for set in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"future"}]}"#] {
        assert!(JsonWebTokens::jwks(set.as_bytes(), RequiredClaims::any()).is_err(), "{set}");
    }
}
