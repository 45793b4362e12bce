//! Three private servers that work together.

mod builder;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

pub use self::builder::ClusterBuilder;
use crate::wire::Connection;
use crate::{Error, Server, ServerBuilder};

/// How many servers: the least of which one may be down.
const SIZE: usize = 3;

/// How long they may take to work together.
const LIMIT: Duration = Duration::from_secs(30);

/// How long one request may take, which is sent again and again meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A stream on all servers, declared and deleted again to see that they can do it.
const PROBE: &str = "narun-support-probe";

/// Three nats-servers with JetStream on 127.0.0.1, as one cluster.
///
/// Each is a [`Server`] of its own, to be killed and started again by [`server`](Self::server), and
/// like any other it does not outlive the program.
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
    /// Starts a cluster of the server that [`Binary::find`](crate::Binary::find) finds.
    ///
    /// # Errors
    ///
    /// As [`ClusterBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Sets up a cluster that is not as [`start`](Self::start) makes it.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Where the first server takes clients; it tells them of the others.
    #[must_use]
    pub fn url(&self) -> &str {
        self.servers[0].url()
    }

    /// Where each server takes clients; the same after a restart.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url().to_owned()).collect()
    }

    /// All servers, whether they run or not.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// One of the servers, 0 to 2, to be killed, stopped or restarted.
    ///
    /// # Panics
    ///
    /// If there is none of that number.
    #[must_use]
    pub fn server(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// Waits until all servers that run are connected with each other and have a leader among them.
    ///
    /// Streams may still be catching up on a server that was restarted.
    ///
    /// # Errors
    ///
    /// [`Error::NotTogether`] if that takes more than 30 s, as it does if fewer than two run.
    pub fn wait(&self) -> Result<(), Error> {
        eventually(|| self.is_together())
    }

    /// The number of the server that leads this stream; none if the stream has no leader at the
    /// moment, does not exist, or nobody answers.
    #[must_use]
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let answer = self.running().find_map(|server| ask(server, &subject, "").ok())?;
        let (_, name) = answer.split_once("\"leader\":\"")?;
        let (name, _) = name.split_once('"')?;
        (0..SIZE).find(|&number| name == server_name(number))
    }

    /// Starts the servers with these ports for each other, and waits until they can be used.
    fn launch(setup: &ServerBuilder, ports: &[u16]) -> Result<Self, Error> {
        let launch = |number| setup.clone().config(configuration(number, ports)).start();
        let servers = (0..SIZE).map(launch).collect::<Result<_, _>>()?;
        let cluster = Self { servers };
        cluster.wait()?;
        // They may have a leader that has not heard of all of them yet.
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

/// The answer of JetStream, unless that is an error.
fn ask(server: &Server, subject: &str, payload: &str) -> Result<String, String> {
    let answer =
        Connection::open(server.port()).and_then(|connection| connection.request(subject, payload, PATIENCE));
    match answer {
        Ok(answer) if answer.contains("\"error\":") => Err(format!("{subject} is answered {answer}")),
        Ok(answer) => Ok(answer),
        Err(error) => Err(format!("{subject} is not answered: {error}")),
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

/// A server has to know from the start how many it is to be one of, hence a route to each.
fn configuration(number: usize, ports: &[u16]) -> String {
    let routes: Vec<_> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "server_name: {}\ncluster {{\n  name: narun\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n",
        server_name(number),
        ports[number],
        routes.join(", ")
    )
}

/// Ports that are free now. Somebody may take one before the server does, which then says so.
fn free_ports() -> Result<Vec<u16>, Error> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until the last one is known, or they might be the same.
    let held: Result<Vec<_>, _> = (0..SIZE).map(bind).collect();
    let ports = held.and_then(|held| {
        held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_, _>>()
    });
    ports.map_err(|source| Error::Port { source })
}
