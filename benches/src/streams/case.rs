//! The compared cases, and the processes that each case consists of.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use narun_support::Server;

use crate::Error;
use crate::group::Group;
use crate::process::Process;
use crate::role::{DeliveryKind, Job, Method, NatsApp, Protocol, Role, Transfer};

const MIB: usize = 1024 * 1024;

/// Bytes that are read at once of a body at a pace.
const PACED: usize = 64 * 1024;

/// Bytes in a small request, and in a gRPC message.
const SMALL: usize = 200;

/// Long bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Bulk {
    /// NATS messages and credit for them, no HTTP
    Credit,
    /// Downloads without an end
    Down,
    /// Uploads without an end
    Up,
    /// Downloads of 1 MiB
    #[value(name = "down_1m")]
    Down1m,
    /// Uploads of 1 MiB
    #[value(name = "up_1m")]
    Up1m,
}

/// gRPC calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrpcCall {
    through_nats: bool,
    method: Method,
}

/// Starts the processes of cases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launcher<'a> {
    pub(super) nats: &'a Server,
    pub(super) workers: Option<usize>,
    pub(super) window_kib: u64,
}

impl Bulk {
    /// Whether its bodies have no end.
    pub(super) fn is_unending(self) -> bool {
        matches!(self, Self::Credit | Self::Down | Self::Up)
    }

    /// Starts the processes; the one farthest from the client comes first.
    pub(super) fn start(self, launcher: &Launcher<'_>, at_once: usize) -> Result<Group, Error> {
        if self == Self::Credit {
            return launcher.credit(at_once);
        }
        let upload = matches!(self, Self::Up | Self::Up1m);
        let transfer = Transfer { upload, unending: self.is_unending(), part: MIB, pace: None };
        launcher.http(&self.to_string(), Protocol::Http1, |to| Role::BulkClient {
            to,
            connections: at_once,
            transfer,
        })
    }
}

impl GrpcCall {
    /// All calls; those through NATS come after the direct ones.
    pub(super) const ALL: [Self; 4] = [
        Self { through_nats: false, method: Method::Unary },
        Self { through_nats: true, method: Method::Unary },
        Self { through_nats: false, method: Method::Stream },
        Self { through_nats: true, method: Method::Stream },
    ];
}

impl Launcher<'_> {
    /// Small requests, and `beside` them a number of downloads, each of a number of MiB per second.
    pub(super) fn small(&self, at_once: usize, beside: Option<(usize, u32)>) -> Result<Group, Error> {
        let name = if beside.is_some() { "beside" } else { "small" };
        let mut address = None;
        let group = self.http(name, Protocol::Http1, |to| {
            address = Some(to);
            Role::HttpClient { to, connections: at_once, body: SMALL, later: None }
        })?;
        let (Some(to), Some((connections, mib))) = (address, beside) else { return Ok(group) };
        let pace = Duration::from_secs_f64(PACED as f64 / MIB as f64 / f64::from(mib));
        let transfer = Transfer { upload: false, unending: true, part: PACED, pace: Some(pace) };
        Ok(group.beside(client(Role::BulkClient { to, connections, transfer })?))
    }

    /// Downloads that are read slowly, at `kib` KiB per second all together.
    pub(super) fn readers(&self, readers: usize, kib: u64) -> Result<Group, Error> {
        let part = usize::try_from(kib * 1024)? / readers;
        let pace = Some(Duration::from_secs(1));
        let transfer = Transfer { upload: false, unending: true, part, pace };
        self.http("readers", Protocol::Http1Small, |to| Role::BulkClient {
            to,
            connections: readers,
            transfer,
        })
    }

    pub(super) fn grpc(&self, call: GrpcCall, connections: usize) -> Result<Group, Error> {
        let GrpcCall { through_nats, method } = call;
        if !through_nats {
            let backend = self.process("backend", Role::GrpcBackend)?;
            let to = backend.address().parse()?;
            let client = client(Role::GrpcClient { to, connections, method, body: SMALL })?;
            return Ok(Group::new(client, vec![backend], None));
        }
        let at = self.at(&format!("grpc-{method:?}"));
        let consumer = self.process("consumer", Role::GrpcConsumer { at: at.clone() })?;
        let gateway = self.gateway(at, Protocol::Http2)?;
        let to = gateway.address().parse()?;
        let client = client(Role::GrpcClient { to, connections, method, body: SMALL })?;
        Ok(Group::new(client, vec![gateway, consumer], self.nats.pid()))
    }

    fn credit(&self, connections: usize) -> Result<Group, Error> {
        let (at, window) = (self.at("credit"), self.window_kib * 1024);
        let sender = self.process("sender", Role::CreditSender { at: at.clone(), window })?;
        let receiver = Role::CreditReceiver { at, window, connections };
        let receiver = Process::start("receiver", &Job { workers: None, role: receiver })?;
        Ok(Group::new(receiver, vec![sender], self.nats.pid()))
    }

    fn http(
        &self,
        name: &str,
        protocol: Protocol,
        role: impl FnOnce(std::net::SocketAddr) -> Role,
    ) -> Result<Group, Error> {
        let (at, window) = (self.at(name), self.window_kib * 1024);
        let consumer = self.process("consumer", Role::FloodConsumer { at: at.clone(), window })?;
        let gateway = self.gateway(at, protocol)?;
        let client = client(role(gateway.address().parse()?))?;
        Ok(Group::new(client, vec![gateway, consumer], self.nats.pid()))
    }

    fn gateway(&self, at: NatsApp, protocol: Protocol) -> Result<Process, Error> {
        self.process("gateway", Role::FloodGateway { at, window: self.window_kib * 1024, protocol })
    }

    fn process(&self, name: &'static str, role: Role) -> Result<Process, Error> {
        Process::start(name, &Job { workers: self.workers, role })
    }

    // The groups of other cases run at the same time, and must not take these requests.
    fn at(&self, name: &str) -> NatsApp {
        let nats = self.nats.url().to_owned();
        NatsApp { nats, app: format!("streams-{name}"), delivery: DeliveryKind::Direct }
    }
}

/// Starts a client, which has one thread in all cases, so that it costs the same.
fn client(role: Role) -> Result<Process, Error> {
    Process::start("client", &Job { workers: None, role })
}

impl fmt::Display for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credit => "credit",
            Self::Down => "down",
            Self::Up => "up",
            Self::Down1m => "down_1m",
            Self::Up1m => "up_1m",
        })
    }
}

impl fmt::Display for GrpcCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.through_nats, self.method) {
            (false, Method::Unary) => "direct_unary",
            (true, Method::Unary) => "narun_unary",
            (false, Method::Stream) => "direct_stream",
            (true, Method::Stream) => "narun_stream",
        })
    }
}
