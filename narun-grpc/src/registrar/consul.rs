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

/// The tags of the service.
const TAGS: [&str; 4] = ["grpc", "nats", "messaging", "eventbus"];

/// Of what the agent says to a refusal, in bytes.
const LONGEST_REASON: usize = 256;

/// A Consul agent, over plain HTTP.
///
/// The service is registered with a gRPC health check every 10 s, of 5 s at most, and taken out by Consul itself when
/// that fails for more than a minute. Its id is `nats-service-{hostname}`.
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

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsulError {
    /// It cannot be reached.
    #[error("no connection to the Consul agent")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the Consul agent did not answer")]
    Http(#[source] hyper::Error),
    /// What it was to be told is no request.
    #[error("a setting that does not fit a request")]
    Request(#[source] http::Error),
    /// It refused, and said why, of which the beginning is here.
    #[error("the Consul agent answered {status}: {reason}")]
    #[non_exhaustive]
    Refused {
        /// Its answer: 403 for a token that may not register the name, for example.
        status: StatusCode,
        /// The first 256 bytes of its words.
        reason: String,
    },
}

impl Consul {
    /// The agent at this address (host and port), for a service at this host and port.
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

    /// As the settings say, with the token of `CONSUL_HTTP_TOKEN` if that is set, for the port that is served at, whatever
    /// it was to be.
    pub fn from_settings(settings: &Settings, port: u16) -> Self {
        let agent = format!("{}:{}", settings.consul_host, settings.consul_port);
        let consul = Self::new(agent, &settings.service_hostname, port).name(&settings.service_name);
        match settings.consul_token() {
            Some(token) => consul.token(token),
            None => consul,
        }
    }

    /// The name of the service. Default `nats-grpc-service`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Another name that the service is registered by too, beside others.
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// The token that the agent wants to see. Default none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret(token.into()));
        self
    }

    /// All that are registered: id and name.
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
                // The least that Consul does: it warns of less, each time, and takes it for this.
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
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let reason =
                if status.is_success() { String::new() } else { beginning(response.into_body()).await };
            Ok((status, reason))
        };
        tokio::pin!(answer, connection);
        // The connection is driven here, and ends with the request. It may end with the answer too.
        let answer = tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => {
                ended.map_err(ConsulError::Http)?;
                answer.await
            }
        };
        let (status, reason) = answer.map_err(ConsulError::Http)?;
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
                // It is not there, which is what was wanted.
                Ok(()) | Err(ConsulError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                // The others are to go all the same.
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

/// The beginning of what the agent says, as one line.
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

/// An id as a segment of a path.
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
