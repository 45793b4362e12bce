use std::net::{Ipv6Addr, SocketAddr};

use bytes::Bytes;
use data_encoding::{Encoding, HEXUPPER};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::ServiceRegistrar;
use crate::Settings;

/// The tags of every service.
const TAGS: [&str; 4] = ["grpc", "nats", "messaging", "eventbus"];

/// The longest reason of a refusal that is kept, in bytes.
const LONGEST_REASON: usize = 256;

/// A Consul agent, over plain HTTP.
///
/// The service is registered with a gRPC health check: every 10 s, with a timeout of 5 s. Consul deregisters the service
/// when the check fails for more than a minute. The service id is `nats-service-{hostname}`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Consul {
    agent: String,
    name: String,
    aliases: Vec<String>,
    hostname: String,
    port: u16,
    token: Option<Secret>,
}

#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsulError {
    /// The agent cannot be reached.
    #[error("no connection to the Consul agent")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("no response from the Consul agent")]
    Http(#[source] hyper::Error),
    /// A setting does not fit an HTTP request.
    #[error("a setting that does not fit a request")]
    Request(#[source] http::Error),
    /// The agent refused the request.
    #[error("the Consul agent responded with {status}: {reason}")]
    #[non_exhaustive]
    Refused {
        /// The status, such as 403 for a token that may not register the name.
        status: StatusCode,
        /// The first 256 bytes of the response.
        reason: String,
    },
}

impl Consul {
    /// Registers with the agent at this address (host and port) a service at this host and port.
    pub fn new(agent: impl Into<String>, hostname: impl Into<String>, port: u16) -> Self {
        Self {
            agent: agent.into(),
            name: "nats-grpc-service".to_owned(),
            aliases: Vec::new(),
            hostname: hostname.into(),
            port,
            token: None,
        }
    }

    /// Uses the settings, with the token of `CONSUL_HTTP_TOKEN` if that is set. `port` is the port that the service listens
    /// on, which may differ from the setting.
    pub fn from_settings(settings: &Settings, port: u16) -> Self {
        let agent = format!("{}:{}", settings.consul_host, settings.consul_port);
        let consul = Self::new(agent, &settings.service_hostname, port).name(&settings.service_name);
        match settings.consul_token() {
            Some(token) => consul.token(token),
            None => consul,
        }
    }

    /// Sets the name of the service. Default: `nats-grpc-service`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Registers the service by another name too.
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// Sets the token for the agent. Default: no token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret(token.into()));
        self
    }

    /// The services to register: id and name.
    fn services(&self) -> impl Iterator<Item = (String, &str)> {
        let id = format!("nats-service-{}", self.hostname);
        let aliases = self.aliases.iter().map({
            let id = id.clone();
            move |alias| (format!("{id}-{alias}"), alias.as_str())
        });
        std::iter::once((id, self.name.as_str())).chain(aliases)
    }

    fn definition(&self, id: &str, name: &str) -> Value {
        let address = match self.hostname.parse::<Ipv6Addr>() {
            Ok(address) => SocketAddr::from((address, self.port)).to_string(),
            Err(_) => format!("{}:{}", self.hostname, self.port),
        };
        json!({
            "ID": id,
            "Name": name,
            "Tags": TAGS,
            "Address": self.hostname,
            "Port": self.port,
            "Check": {
                "GRPC": address,
                "Interval": "10s",
                "Timeout": "5s",
                // The least that Consul accepts. It raises less to this, with a warning each time.
                "DeregisterCriticalServiceAfter": "1m",
            },
        })
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<(), ConsulError> {
        let stream = TcpStream::connect(&self.agent).await.map_err(ConsulError::Connect)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ConsulError::Http)?;
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri(path)
            .header("host", &self.agent)
            .header("content-type", "application/json");
        if let Some(Secret(token)) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let request = request.body(Full::new(body)).map_err(ConsulError::Request)?;
        let response = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let reason =
                if status.is_success() { String::new() } else { beginning(response.into_body()).await };
            Ok((status, reason))
        };
        tokio::pin!(response, connection);
        // The connection is driven here. It may end together with the response.
        let response = tokio::select! {
            response = &mut response => response,
            ended = &mut connection => {
                ended.map_err(ConsulError::Http)?;
                response.await
            }
        };
        let (status, reason) = response.map_err(ConsulError::Http)?;
        match status {
            status if status.is_success() => Ok(()),
            status => Err(ConsulError::Refused { status, reason }),
        }
    }
}

#[tonic::async_trait]
impl ServiceRegistrar for Consul {
    type Error = ConsulError;

    async fn register(&self) -> Result<(), ConsulError> {
        for (id, name) in self.services() {
            let definition = self.definition(&id, name).to_string();
            self.put("/v1/agent/service/register?replace-existing-checks=true", definition.into()).await?;
        }
        Ok(())
    }

    async fn deregister(&self) -> Result<(), ConsulError> {
        let mut result = Ok(());
        for (id, _) in self.services() {
            match self.put(&format!("/v1/agent/service/deregister/{}", encoded(&id)), Bytes::new()).await {
                // It is not registered, as wanted.
                Ok(()) | Err(ConsulError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                // Deregister the others all the same.
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

/// The beginning of a body, as one line.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST_REASON
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    bytes.truncate(LONGEST_REASON);
    String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Percent-encodes an id as a path segment.
fn encoded(id: &str) -> String {
    const DIGITS: &Encoding = &HEXUPPER;
    let mut path = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(byte.into()),
            byte => {
                path.push('%');
                path.push_str(&DIGITS.encode(&[byte]));
            }
        }
    }
    path
}
