//! Registration, with a fake Consul agent and a fake registry.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narun_grpc::registrar::{Consul, ConsulError, Registration, ServiceRegistrar};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tracing::Level;

use crate::events::Events;
use crate::harness::{eventually, soon};

/// A fake agent that registers and deregisters services as Consul 1.21 does.
#[derive(Default)]
struct Agent {
    services: BTreeMap<String, Value>,
    /// The request lines received.
    asked: Vec<String>,
    /// The number of requests that fail first.
    failures: usize,
    /// The valid token, and the names that it may write. `None` allows everything.
    access: Option<(&'static str, &'static [&'static str])>,
}

/// A fake agent that listens.
struct Running {
    agent: Arc<Mutex<Agent>>,
    address: String,
    serving: JoinHandle<()>,
}

impl Agent {
    fn respond(&mut self, line: &str, token: &str, body: &str) -> (&'static str, String) {
        self.asked.push(line.to_owned());
        if let Some(failures) = self.failures.checked_sub(1) {
            self.failures = failures;
            return ("500 Internal Server Error", "out of order\n".to_owned());
        }
        let path = line.split(' ').nth(1).unwrap();
        let done = match path.strip_prefix("/v1/agent/service/deregister/") {
            Some(id) => self.deregister(&id.replace("%20", " "), token),
            None => self.register(body, token),
        };
        done.map_or_else(|refusal| refusal, |()| ("200 OK", String::new()))
    }

    fn register(&mut self, body: &str, token: &str) -> Result<(), (&'static str, String)> {
        let service: Value = serde_json::from_str(body).unwrap();
        self.allow(&service["Name"], token)?;
        self.services.insert(service["ID"].as_str().unwrap().to_owned(), service);
        Ok(())
    }

    fn deregister(&mut self, id: &str, token: &str) -> Result<(), (&'static str, String)> {
        let Some(service) = self.services.get(id) else {
            let hint = "Ensure that the service ID is passed, not the service name.";
            return Err(("404 Not Found", format!("Unknown service ID {id:?}. {hint}")));
        };
        self.allow(&service["Name"], token)?;
        self.services.remove(id);
        Ok(())
    }

    fn allow(&self, name: &Value, token: &str) -> Result<(), (&'static str, String)> {
        let refusal = match self.access {
            Some((known, _)) if token != known => "ACL not found".to_owned(),
            Some((_, names)) if !names.iter().any(|allowed| name == allowed) => {
                let who = "token with AccessorID '0aac4e48-25b7-caca-7f2b-d3ea57ec9fb0'";
                format!("Permission denied: {who} lacks permission 'service:write' on {name}")
            }
            _ => return Ok(()),
        };
        Err(("403 Forbidden", refusal))
    }
}

impl Running {
    async fn start(agent: Agent) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, agent) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(agent)));
        let serving = tokio::spawn({
            let agent = agent.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    serve(stream, &agent).await;
                }
            }
        });
        Self { agent, address, serving }
    }

    fn services(&self) -> Vec<Value> {
        self.agent.lock().unwrap().services.values().cloned().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Responds to one HTTP/1.1 request with a content length, and closes.
async fn serve(stream: TcpStream, agent: &Mutex<Agent>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut token, mut length) = (String::new(), String::new(), 0);
    stream.read_line(&mut line).await.unwrap();
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).await.unwrap();
        match field.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("x-consul-token", value)) => token = value.to_owned(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let (status, text) = agent.lock().unwrap().respond(line.trim_end(), &token, &body);
    let length = text.len();
    let response =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
    stream.write_all(response.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_service_is_registered_after_a_failure_and_deregistered_at_the_end() {
    let running = Running::start(Agent { failures: 1, ..Agent::default() }).await;
    let consul = Consul::new(&running.address, "host a", 50056).alias("nats").token("secret");
    assert!(!format!("{consul:?}").contains("secret"));
    let registration = Registration::start(consul);
    eventually("both names", async || running.services().len() == 2).await;
    let service = |id, name| {
        json!({
            "ID": id,
            "Name": name,
            "Tags": ["grpc", "nats", "messaging", "eventbus"],
            "Address": "host a",
            "Port": 50056,
            "Check": {
                "GRPC": "host a:50056",
                "Interval": "10s",
                "Timeout": "5s",
                "DeregisterCriticalServiceAfter": "1m",
            },
        })
    };
    let expected =
        [service("nats-service-host a", "nats-grpc-service"), service("nats-service-host a-nats", "nats")];
    assert_eq!(running.services(), expected);
    soon("the end", registration.end()).await;
    assert_eq!(running.services(), [Value::Null; 0]);
    let register = "PUT /v1/agent/service/register?replace-existing-checks=true HTTP/1.1";
    assert_eq!(
        running.agent.lock().unwrap().asked,
        [
            register,
            register,
            register,
            "PUT /v1/agent/service/deregister/nats-service-host%20a HTTP/1.1",
            "PUT /v1/agent/service/deregister/nats-service-host%20a-nats HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_refusal_has_the_reason_of_the_agent() {
    let running = Running::start(Agent::default()).await;
    let access = |access| running.agent.lock().unwrap().access = access;
    let consul = Consul::new(&running.address, "a", 50056).alias("nats").token("secret");
    for (known, names, expected) in [
        ("another", [].as_slice(), "the Consul agent responded with 403 Forbidden: ACL not found"),
        ("secret", &["nats-grpc-service"], "lacks permission 'service:write' on \"nats\""),
    ] {
        access(Some((known, names)));
        let error = consul.register().await.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    // Only the beginning of the body.
    access(Some(("secret", &[])));
    let consul = consul.name("a".repeat(1000));
    let Err(ConsulError::Refused { reason, .. }) = consul.register().await else { panic!("not refused") };
    assert!(reason.starts_with("Permission denied") && reason.len() == 256, "{reason}");
}

#[tokio::test]
async fn all_names_are_deregistered_even_if_one_is_refused() {
    let running = Running::start(Agent::default()).await;
    let consul = Consul::new(&running.address, "a", 50056).alias("nats").token("secret");
    consul.register().await.unwrap();
    running.agent.lock().unwrap().access = Some(("secret", &["nats"]));
    assert!(matches!(consul.deregister().await, Err(ConsulError::Refused { .. })));
    let left: Vec<_> = running.services().into_iter().map(|service| service["Name"].clone()).collect();
    assert_eq!(left, ["nats-grpc-service"]);
    // A service that is not registered is no error.
    running.agent.lock().unwrap().access = None;
    consul.deregister().await.unwrap();
    consul.deregister().await.unwrap();
}

#[tokio::test]
async fn an_ipv6_address_is_checked_in_brackets() {
    let running = Running::start(Agent::default()).await;
    Consul::new(&running.address, "::1", 50056).register().await.unwrap();
    let [service] = running.services().try_into().unwrap();
    assert_eq!((&service["Address"], &service["Check"]["GRPC"]), (&json!("::1"), &json!("[::1]:50056")));
}

/// A fake registry with given failures, which succeeds after them.
#[derive(Clone, Default)]
struct FakeRegistry {
    failures: Arc<Mutex<VecDeque<Option<&'static str>>>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
    /// A permit for each attempt that may finish. `None` lets all finish.
    gate: Option<Arc<Semaphore>>,
}

#[derive(Debug)]
struct No(Why);

#[derive(Debug)]
struct Why(&'static str);

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for No {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl std::error::Error for Why {}

impl FakeRegistry {
    fn asks(&self, what: &'static str) {
        self.asked.lock().unwrap().push(what);
    }

    fn asked(&self) -> Vec<&'static str> {
        self.asked.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl ServiceRegistrar for FakeRegistry {
    type Error = No;

    async fn register(&self) -> Result<(), No> {
        self.asks("register");
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
            self.asks("registered");
        }
        match self.failures.lock().unwrap().pop_front().flatten() {
            Some(why) => Err(No(Why(why))),
            None => Ok(()),
        }
    }

    async fn deregister(&self) -> Result<(), No> {
        self.asks("deregister");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_registered_again_and_each_reason_of_failure_is_warned_of_once() {
    let warnings = Events::of(|metadata| {
        *metadata.level() == Level::WARN && metadata.target().starts_with("narun_grpc::registrar")
    });
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let registry = FakeRegistry::default();
    // Attempts after 0 s, 0.5 s, 1.5 s and 3.5 s, then a minute later, and so on.
    registry.failures.lock().unwrap().extend([
        Some("away"),
        Some("away"),
        Some("refused"),
        None,
        Some("refused"),
    ]);
    let registration = Registration::start(registry.clone());
    tokio::time::sleep(Duration::from_secs(130)).await;
    let reasons: Vec<_> =
        warnings.take().into_iter().map(|mut fields| fields.remove("error").unwrap()).collect();
    assert_eq!(reasons, ["no: away", "no: refused", "no: refused"]);
    assert_eq!(registry.asked(), ["register"; 7]);
    registration.end().await;
    assert_eq!(registry.asked()[7..], ["deregister"]);
}

#[tokio::test]
async fn deregistration_waits_for_a_registration_in_progress() {
    let gate = Arc::new(Semaphore::new(0));
    let registry = FakeRegistry { gate: Some(gate.clone()), ..FakeRegistry::default() };
    let registration = Registration::start(registry.clone());
    eventually("an attempt", async || !registry.asked().is_empty()).await;
    let end = tokio::spawn(registration.end());
    // Let the task run as far as it can.
    for _ in 0..100 {
        yield_now().await;
    }
    gate.add_permits(1);
    soon("the end", end).await.unwrap();
    assert_eq!(registry.asked(), ["register", "registered", "deregister"]);
}
