//! Authentication by client certificates.

use narun_grpc::NatsService;
use narun_grpc::auth::CertificateSubject;
use narun_grpc::pb::PublishRequest;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

use crate::harness::connect;

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::from_pem(params.self_signed(&key).unwrap().pem());
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, names: &[(DnType, &str)]) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn certificates_identify_callers() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let service = NatsService::builder(connect().await).authenticator(CertificateSubject::new()).build();
    let tls = ServerTlsConfig::new()
        .identity(authority.sign(&[(DnType::CommonName, "server")]))
        .client_ca_root(authority.certificate.clone())
        .client_auth_optional(true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let router = Server::builder().tls_config(tls).unwrap().add_service(service.into_server());
    let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));

    let code = async |identity: Option<Identity>, user: &str, organization: &str| {
        let tls =
            ClientTlsConfig::new().ca_certificate(authority.certificate.clone()).domain_name("localhost");
        let tls = identity.into_iter().fold(tls, ClientTlsConfig::identity);
        let endpoint = Endpoint::from_shared(url.clone()).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.ok()?;
        let request = PublishRequest {
            user_id: user.to_owned(),
            organization_id: organization.to_owned(),
            subject: "a".into(),
            ..Default::default()
        };
        let result = NatsServiceClient::new(channel).publish(request).await;
        Some(result.map_or_else(|status| status.code(), |_| Code::Ok))
    };
    let ann = || [(DnType::CommonName, "ann"), (DnType::OrganizationName, "acme")];
    assert_eq!(code(Some(authority.sign(&ann())), "ann", "acme").await, Some(Code::Ok));
    assert_eq!(code(Some(authority.sign(&ann())), "ann", "").await, Some(Code::Ok));
    assert_eq!(code(Some(authority.sign(&ann())), "bob", "acme").await, Some(Code::PermissionDenied));
    assert_eq!(code(Some(authority.sign(&ann())), "ann", "other").await, Some(Code::PermissionDenied));
    let nameless = authority.sign(&[(DnType::OrganizationName, "acme")]);
    assert_eq!(code(Some(nameless), "", "acme").await, Some(Code::Unauthenticated));
    assert_eq!(code(None, "ann", "").await, Some(Code::Unauthenticated));
    // The connection fails, or breaks at the first call.
    let forged = code(Some(stranger.sign(&ann())), "ann", "acme").await;
    assert!(!matches!(forged, Some(Code::Ok)), "{forged:?}");
    serving.abort();
}
