//! Authentication by JSON Web Tokens.
//!
//! The keys in `keys/` are for these tests only.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use narun_grpc::NatsService;
use narun_grpc::auth::{JsonWebTokens, RequiredClaims};
use narun_grpc::pb::{ListStreamsRequest, NatsHealthCheckRequest, ObjectChunk, SubscribeRequest};
use narun_grpc::tenancy::Scope;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::auth::{code, with};
use crate::harness::{Service, connect};

pub(crate) const SECRET: &[u8] = b"a secret of 32 bytes or more, please";
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");
const P256_PUBLIC: &[u8] = include_bytes!("keys/p256.pub.pem");

pub(crate) fn rsa(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem).expect("a key")
}

pub(crate) fn p256(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_ec_pem(pem).expect("a key")
}

pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

pub(crate) fn bearer(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    format!("Bearer {}", encode(&Header::new(algorithm), claims, key).expect("a token"))
}

/// Checks one kind of key: valid tokens, tokens of other keys, and forged tokens.
async fn check(
    tokens: impl FnOnce(RequiredClaims) -> JsonWebTokens,
    algorithm: Algorithm,
    key: EncodingKey,
    other: EncodingKey,
    known: &[u8],
) {
    let service = with(tokens(RequiredClaims::new("here", "nats"))).await;
    let now = seconds();
    let good = json!({ "sub": "ann", "iss": "here", "aud": "nats", "exp": now + 600, "nbf": now - 1 });
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        bearer(algorithm, &key, &claims)
    };
    let ok = bearer(algorithm, &key, &good);
    assert_eq!(code(&service, "ann", Some(&ok)).await, Code::Ok);
    assert_eq!(code(&service, "bob", Some(&ok)).await, Code::PermissionDenied);
    assert_eq!(code(&service, "", Some(&ok)).await, Code::PermissionDenied);
    assert_eq!(code(&service, "ann", None).await, Code::Unauthenticated);

    let parts: Vec<_> = ok.trim_start_matches("Bearer ").split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("{parts:?}") };
    let forged = good.to_string().replace("ann", "bob");
    let forged = BASE64URL_NOPAD.encode(forged.as_bytes());
    let with_header = |header: Value, signature: &str| {
        format!("Bearer {}.{claims}.{signature}", BASE64URL_NOPAD.encode(header.to_string().as_bytes()))
    };
    for (what, wrong) in [
        ("expired", changed("exp", json!(now - 600))),
        ("no end", changed("exp", json!(null))),
        ("an invalid expiry", changed("exp", json!("soon"))),
        ("not yet valid", changed("nbf", json!(now + 600))),
        ("another issuer", changed("iss", json!("there"))),
        ("another audience", changed("aud", json!("other"))),
        ("no user", changed("sub", json!(null))),
        ("another key", bearer(algorithm, &other, &good)),
        ("other claims", format!("Bearer {header}.{forged}.{signature}")),
        ("no signature", format!("Bearer {header}.{claims}.")),
        ("half a signature", format!("Bearer {header}.{claims}.{}", &signature[..signature.len() / 2])),
        ("no algorithm", with_header(json!({ "alg": "none" }), "")),
        ("no algorithm, but a signature", with_header(json!({ "alg": "none" }), signature)),
        ("an unknown algorithm", with_header(json!({ "alg": "HS1" }), signature)),
        (
            "what the attacker knows as a secret",
            bearer(Algorithm::HS256, &EncodingKey::from_secret(known), &good),
        ),
        ("another length", bearer(Algorithm::HS512, &EncodingKey::from_secret(known), &good)),
        ("nothing", "Bearer ".to_owned()),
        ("no token", "Bearer a.b.c".to_owned()),
        ("another scheme", ok.replace("Bearer", "Basic")),
    ] {
        assert_eq!(code(&service, "bob", Some(&wrong)).await, Code::Unauthenticated, "{what}");
        assert_eq!(code(&service, "ann", Some(&wrong)).await, Code::Unauthenticated, "{what}");
    }
}

#[tokio::test]
async fn tokens_of_a_shared_secret_are_accepted() {
    let other = EncodingKey::from_secret(b"another secret of 32 bytes or so");
    check(
        |claims| JsonWebTokens::hs256(SECRET, claims),
        Algorithm::HS256,
        EncodingKey::from_secret(SECRET),
        other,
        b"",
    )
    .await;
}

#[tokio::test]
async fn tokens_of_an_rsa_key_are_accepted_and_those_of_its_public_key_are_not() {
    let (key, other) = (rsa(include_bytes!("keys/rsa.pem")), rsa(include_bytes!("keys/rsa-other.pem")));
    check(
        |claims| JsonWebTokens::rs256(RSA_PUBLIC, claims).unwrap(),
        Algorithm::RS256,
        key,
        other,
        RSA_PUBLIC,
    )
    .await;
}

#[tokio::test]
async fn tokens_of_a_p256_key_are_accepted_and_those_of_its_public_key_are_not() {
    let (key, other) = (p256(include_bytes!("keys/p256.pem")), p256(include_bytes!("keys/p256-other.pem")));
    check(
        |claims| JsonWebTokens::es256(P256_PUBLIC, claims).unwrap(),
        Algorithm::ES256,
        key,
        other,
        P256_PUBLIC,
    )
    .await;
}

#[test]
fn invalid_public_keys_are_refused() {
    for pem in [&b""[..], b"-----BEGIN PUBLIC KEY-----", SECRET] {
        assert!(JsonWebTokens::rs256(pem, RequiredClaims::any()).is_err());
        assert!(JsonWebTokens::es256(pem, RequiredClaims::any()).is_err());
    }
    assert!(JsonWebTokens::rs256(P256_PUBLIC, RequiredClaims::any()).is_err());
    assert!(JsonWebTokens::es256(RSA_PUBLIC, RequiredClaims::any()).is_err());
}

#[tokio::test]
async fn organizations_come_from_the_token() {
    let builder = NatsService::builder(connect().await)
        .authenticator(JsonWebTokens::hs256(SECRET, RequiredClaims::any()));
    let mut service = Service::serve(builder.scope(Scope::Organization).build()).await;
    let key = EncodingKey::from_secret(SECRET);
    let exp = seconds() + 600;
    for (claims, organization, expected) in [
        (json!({ "organization_id": "acme" }), "acme", Code::Ok),
        (json!({ "org_id": "acme" }), "acme", Code::Ok),
        (json!({ "org_ids": ["acme", "other"] }), "other", Code::Ok),
        (json!({ "organization_id": "acme" }), "other", Code::PermissionDenied),
        (json!({ "organization_id": "acme" }), "", Code::InvalidArgument),
        (json!({}), "acme", Code::PermissionDenied),
        (json!({ "organization_id": 7 }), "7", Code::Unauthenticated),
    ] {
        let mut claims = claims;
        (claims["sub"], claims["exp"]) = (json!("ann"), json!(exp));
        let list = ListStreamsRequest { user_id: "ann".into(), organization_id: organization.to_owned() };
        let mut request = Request::new(list);
        let token =
            MetadataValue::try_from(bearer(Algorithm::HS256, &key, &claims)).expect("a header's value");
        request.metadata_mut().insert("authorization", token);
        let found =
            service.client.list_streams(request).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(found, expected, "{claims} {organization}");
    }
}

#[tokio::test]
async fn subscriptions_need_a_token_and_health_does_not() {
    let mut service = with(JsonWebTokens::hs256(SECRET, RequiredClaims::any())).await;
    let subscribe = SubscribeRequest { user_id: "ann".into(), subject: "a".into(), ..Default::default() };
    let status = service.client.subscribe(subscribe).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let chunk = ObjectChunk {
        user_id: "ann".into(),
        bucket: "b".into(),
        object_name: "o".into(),
        ..Default::default()
    };
    let status = service.client.object_upload(tokio_stream::once(chunk)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    service.client.health_check(NatsHealthCheckRequest { deep_check: false }).await.unwrap();
}
