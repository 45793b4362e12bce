//! Three private servers in one cluster.

mod builder;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

pub use self::builder::ClusterBuilder;
use crate::wire::Connection;
use crate::{Error, Server, ServerBuilder};

/// The number of servers: the smallest cluster that works with one server down.
const SIZE: usize = 3;

/// How long the servers may take to form a cluster.
const LIMIT: Duration = Duration::from_secs(30);

/// How long one request may take, including its retries.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(20);

/// A stream on all servers, which is created and deleted to check that the cluster can.
const PROBE: &str = "narun-support-probe";

/// Three nats-servers with JetStream on 127.0.0.1, as one cluster.
///
/// Each is a [`Server`], which can be killed and restarted through [`server`](Self::server), and
/// which does not outlive the program.
///
/// ```no_run
/// use narun_support::Cluster;
///
/// let mut cluster = Cluster::start()?;
/// if let Some(leader) = cluster.stream_leader("TASK") {
///     cluster.server(leader).kill()?;
///     cluster.server(leader).restart()?;
///     cluster.wait()?;
/// }
/// # Ok::<(), narun_support::Error>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Starts a cluster of the program that [`Binary::find`](crate::Binary::find) finds.
    ///
    /// # Errors
    ///
    /// As [`ClusterBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Returns a builder for a cluster with other settings than those of [`start`](Self::start).
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The URL of the first server, which tells clients the URLs of the others.
    #[must_use]
    pub fn url(&self) -> &str {
        self.servers[0].url()
    }

    /// The URL of each server. A restart does not change it.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url().to_owned()).collect()
    }

    /// All servers, running or not.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// One of the servers, 0 to 2, which can be killed, stopped or restarted.
    ///
    /// # Panics
    ///
    /// If the number is greater than 2.
    #[must_use]
    pub fn server(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// Waits until all running servers are connected with each other and have elected a leader.
    ///
    /// A restarted server may not have caught up with its streams yet.
    ///
    /// # Errors
    ///
    /// [`Error::NotTogether`] if this takes more than 30 s, for example because fewer than two run.
    pub fn wait(&self) -> Result<(), Error> {
        eventually(|| self.is_together())
    }

    /// The number of the server that leads a stream.
    ///
    /// Returns `None` if the stream does not exist or has no leader, or if no server responds.
    #[must_use]
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let response = self.running().find_map(|server| ask(server, &subject, "").ok())?;
        let (_, name) = response.split_once("\"leader\":\"")?;
        let (name, _) = name.split_once('"')?;
        (0..SIZE).find(|&number| name == server_name(number))
    }

    /// Starts the servers with these ports for their routes, and waits until streams can be created.
    fn launch(setup: &ServerBuilder, ports: &[u16]) -> Result<Self, Error> {
        let launch = |number| setup.clone().config(configuration(number, ports)).start();
        let servers = (0..SIZE).map(launch).collect::<Result<_, _>>()?;
        let cluster = Self { servers };
        cluster.wait()?;
        // The leader may not know all servers yet.
        eventually(|| cluster.takes_streams())?;
        Ok(cluster)
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.pid().is_some())
    }

    fn is_together(&self) -> Result<(), String> {
        for server in self.running() {
            let connection = Connection::open(server.port()).map_err(|error| error.to_string())?;
            let known =
                |other: &Server| connection.greeting().contains(&format!("\"127.0.0.1:{}\"", other.port()));
            if !self.running().all(known) {
                return Err(format!("server {} does not know the others", server.port()));
            }
            ask(server, "$JS.API.INFO", "")?;
        }
        Ok(())
    }

    fn takes_streams(&self) -> Result<(), String> {
        let stream = format!(
            r#"{{"name":"{PROBE}","subjects":["{PROBE}"],"storage":"memory","num_replicas":{SIZE}}}"#
        );
        ask(&self.servers[0], &format!("$JS.API.STREAM.CREATE.{PROBE}"), &stream)?;
        ask(&self.servers[0], &format!("$JS.API.STREAM.DELETE.{PROBE}"), "")?;
        Ok(())
    }
}

/// Returns the response of JetStream, or the reason if it is an error or there is none.
fn ask(server: &Server, subject: &str, payload: &str) -> Result<String, String> {
    let response = Connection::open(server.port())
        .and_then(|connection| connection.request(subject, payload, REQUEST_LIMIT));
    match response {
        Ok(response) if response.contains("\"error\":") => {
            Err(format!("the response to {subject} is {response}"))
        }
        Ok(response) => Ok(response),
        Err(error) => Err(format!("the request to {subject} failed: {error}")),
    }
}

fn eventually(condition: impl Fn() -> Result<(), String>) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    while let Err(state) = condition() {
        if Instant::now() > deadline {
            return Err(Error::NotTogether { limit: LIMIT, state });
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn server_name(number: usize) -> String {
    format!("narun-{number}")
}

/// The configuration of one server. It has a route to each, as a server must know the size of its cluster when it starts. Lame
/// duck mode is as short as a server allows.
fn configuration(number: usize, ports: &[u16]) -> String {
    let routes: Vec<_> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "server_name: {}\nlame_duck_duration: 30s\nlame_duck_grace_period: 1s\ncluster {{\n  name: narun\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n",
        server_name(number),
        ports[number],
        routes.join(", ")
    )
}

/// Finds free ports. Another process may take one before the server does, which then fails to start.
fn free_ports() -> Result<Vec<u16>, Error> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until the last one is known: otherwise two could be the same.
    let held: Result<Vec<_>, _> = (0..SIZE).map(bind).collect();
    let ports = held.and_then(|held| {
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_, _>>()
    });
    ports.map_err(|source| Error::Port { source })
}
