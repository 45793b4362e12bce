//! Authentication, identities and scopes.

use narun_grpc::NatsService;
use narun_grpc::auth::{Authenticator, Principal, StaticTokens, TrustRequest};
use narun_grpc::pb::{PublishRequest, SubscribeRequest};
use narun_grpc::tenancy::Scope;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::harness::{Service, connect, new_user, soon};

pub(crate) async fn with(authenticator: impl Authenticator) -> Service {
    Service::serve(NatsService::builder(connect().await).authenticator(authenticator).build()).await
}

fn request(user: &str, authorization: Option<&str>) -> Request<PublishRequest> {
    let message = PublishRequest { user_id: user.to_owned(), subject: "a".into(), ..Default::default() };
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        let value = MetadataValue::try_from(authorization).expect("a header's value");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

pub(crate) async fn code(service: &Service, user: &str, authorization: Option<&str>) -> Code {
    let result = service.client.clone().publish(request(user, authorization)).await;
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn static_tokens_identify_callers() {
    let service = with(
        StaticTokens::new()
            .token("secret-of-ann", Principal::user("ann"))
            .token("secret-of-proxy", Principal::anyone("proxy")),
    )
    .await;
    assert_eq!(code(&service, "ann", Some("Bearer secret-of-ann")).await, Code::Ok);
    assert_eq!(code(&service, "ann", Some("bearer  secret-of-ann")).await, Code::Ok);
    assert_eq!(code(&service, "anyone", Some("Bearer secret-of-proxy")).await, Code::Ok);
    assert_eq!(code(&service, "bob", Some("Bearer secret-of-ann")).await, Code::PermissionDenied);
    assert_eq!(code(&service, "", Some("Bearer secret-of-ann")).await, Code::PermissionDenied);
    for wrong in ["Bearer secret-of-an", "Bearer secret-of-annn", "Bearer ", "Basic secret-of-ann", "x"] {
        assert_eq!(code(&service, "ann", Some(wrong)).await, Code::Unauthenticated, "{wrong}");
    }
    assert_eq!(code(&service, "ann", None).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_principal_acts_for_the_users_that_it_may() {
    let principal = Principal::user("ann").acting_for("bot").acting_for("b*");
    let service = with(StaticTokens::new().token("secret", principal)).await;
    for (user, expected) in [
        ("ann", Code::Ok),
        ("bot", Code::Ok),
        ("b*", Code::Ok),
        ("bob", Code::PermissionDenied),
        ("bot ", Code::PermissionDenied),
        ("Bot", Code::PermissionDenied),
        ("ann.bot", Code::PermissionDenied),
        ("", Code::PermissionDenied),
    ] {
        assert_eq!(code(&service, user, Some("Bearer secret")).await, expected, "{user:?}");
    }
}

#[tokio::test]
async fn organizations_are_tenants_with_that_scope() {
    let service = Service::with(|builder| builder.scope(Scope::Organization)).await;
    let organization = new_user();
    let subscribe = SubscribeRequest {
        user_id: "one".into(),
        organization_id: organization.clone(),
        subject: "a".into(),
        ..Default::default()
    };
    let mut stream = service.client.clone().subscribe(subscribe).await.unwrap().into_inner();
    let publish = |user: &str, organization: &str| PublishRequest {
        user_id: user.to_owned(),
        organization_id: organization.to_owned(),
        subject: "a".into(),
        ..Default::default()
    };
    service.client.clone().publish(publish("two", &organization)).await.unwrap();
    assert_eq!(soon("a message", stream.message()).await.unwrap().unwrap().subject, "a");
    let status = service.client.clone().publish(publish("two", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_organization_accepts_principals_that_belong_to_it() {
    let tokens = StaticTokens::new()
        .token("one", Principal::user("ann").organization("acme"))
        .token("two", Principal::user("ann"));
    let builder = NatsService::builder(connect().await).authenticator(tokens).scope(Scope::Organization);
    let service = Service::serve(builder.build()).await;
    let code = async |token: &str, organization: &str| {
        let mut request = request("ann", Some(&format!("Bearer {token}")));
        request.get_mut().organization_id = organization.to_owned();
        let result = service.client.clone().publish(request).await;
        result.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code("one", "acme").await, Code::Ok);
    assert_eq!(code("one", "other").await, Code::PermissionDenied);
    assert_eq!(code("two", "acme").await, Code::PermissionDenied);
}

#[tokio::test]
async fn trust_accepts_any_user_except_an_empty_one() {
    let service = with(TrustRequest::new()).await;
    assert_eq!(code(&service, "anyone", None).await, Code::Ok);
    assert_eq!(code(&service, "", None).await, Code::InvalidArgument);
}
