use std::fmt;
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::Status;
use tonic::transport::server::Connected;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::{CN, O};

use super::{AuthRequest, Authenticator, Principal};

/// What tonic's own server puts into the extensions of a request over TLS. It has a name only together with tonic's choice
/// of a cryptography library, which is the program's.
pub(crate) type TlsConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

/// Authenticates callers by the subject of their certificate, over mutual TLS with tonic's own server. The common name
/// (CN) is the user, and organization names (O) are the user's organizations.
///
/// TLS verifies the certificate when the client connects: the server must be configured with the clients' certificate
/// authority. A subject without exactly one common name is refused. gRPC streams end when the certificate expires.
#[derive(Clone, Copy, Default)]
#[must_use]
pub struct CertificateSubject(());

impl CertificateSubject {
    /// Uses the certificate of the connection.
    pub const fn new() -> Self {
        Self(())
    }
}

impl fmt::Debug for CertificateSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateSubject")
    }
}

#[tonic::async_trait]
impl Authenticator for CertificateSubject {
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
        let info = request.extensions.get::<TlsConnectInfo>();
        let certificates = info.and_then(TlsConnectInfo::peer_certs);
        let certificates = certificates.ok_or_else(|| Status::unauthenticated("no client certificate"))?;
        let certificate = certificates.first().and_then(|der| principal(der));
        certificate.ok_or_else(|| Status::unauthenticated("the client certificate names no user"))
    }

    fn reads_ids(&self) -> bool {
        false
    }
}

fn principal(der: &[u8]) -> Option<Principal> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let end = SystemTime::UNIX_EPOCH.checked_add(certificate.validity.not_after.to_unix_duration())?;
    let subject = certificate.subject;
    let (mut users, mut organizations) = (Vec::new(), Vec::new());
    for attribute in subject.0.iter().flat_map(|name| name.0.iter()) {
        let value = || {
            let text =
                attribute.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned());
            text.or_else(|| {
                Some(attribute.value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned())
            })
        };
        match attribute.oid {
            CN => users.push(value()?),
            O => organizations.push(value()?),
            _ => {}
        }
    }
    let [user] = users.try_into().ok()?;
    Some(organizations.into_iter().fold(Principal::user(user).until(end), Principal::organization))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::{Principal, principal};

    fn certificate(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_subject_becomes_a_principal() {
        let der = certificate(&[(DnType::CommonName, "ann"), (DnType::OrganizationName, "acme")]);
        let ann = principal(&der).unwrap();
        assert_eq!(ann, Principal::user("ann").until(ann.end().unwrap()).organization("acme"));
        assert!(ann.end().unwrap() > SystemTime::now());
        let der = certificate(&[(DnType::OrganizationName, "acme")]);
        assert_eq!(principal(&der), None);
        assert_eq!(principal(&der[..der.len() / 2]), None);
        assert_eq!(principal(b""), None);
    }
}
