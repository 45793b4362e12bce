//! The processes that get the input: a server, the example `gateway`, and a consumer.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use narun_support::Server;
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time;

use super::raw::get;
use crate::Error;
use crate::process::Process;
use crate::role::{Job, Role, ShowSetup};

/// The namespace of all apps.
pub(super) const NAMESPACE: &str = "BAD";

/// The routes. The app `show` has a consumer; `raw` is served by whoever subscribes; `nobody` has none.
const ROUTES: &str = r#"
routes:
  - { path: "/show/", app: show, delivery: direct }
  - { path: "/get/", method: GET, app: show, delivery: direct }
  - { path: "/post/", method: POST, app: show, delivery: direct }
  - { path: "/six/", host: "[2001:db8::1]", app: show, delivery: direct }
  - { path: "/small/", app: show, delivery: direct, max_body_bytes: 1000 }
  - { path: "/raw/", app: raw, delivery: direct }
  - { path: "/nobody/", app: nobody, delivery: direct }
  - { path: "/jobs/", app: show }
  - { path: "/small-jobs/", app: show, max_body_bytes: 1000 }
  - { path: "/long-jobs/", app: show, max_body_bytes: 3145728 }
"#;

/// How long the gateway may take to connect.
const LIMIT: Duration = Duration::from_secs(30);

/// The processes. Dropping this value ends them.
#[derive(Debug)]
pub(super) struct Site {
    // Dropped in this order, beginning next to the client.
    _gateway: Example,
    address: SocketAddr,
    _consumer: Process,
    nats: Server,
}

/// The example `gateway`, with its files.
#[derive(Debug)]
pub(super) struct Example {
    process: Process,
    _directory: TempDir,
}

impl Site {
    pub(super) async fn start() -> Result<Self, Error> {
        let nats = block_in_place(|| Server::builder().jetstream(true).start())?;
        let config = format!("nats_stream: {NAMESPACE}\nrequest_timeout_seconds: 2\n{ROUTES}");
        let gateway = Example::start(nats.url(), &config)?;
        let setup = ShowSetup {
            nats: nats.url().to_owned(),
            namespace: NAMESPACE.to_owned(),
            app: "show".to_owned(),
        };
        let job = Job { workers: None, role: Role::Show(setup) };
        let consumer = block_in_place(|| Process::start("consumer", &job))?;
        let site = Self { address: gateway.address()?, _gateway: gateway, _consumer: consumer, nats };
        time::timeout(LIMIT, site.until_served()).await?;
        Ok(site)
    }

    /// The address of the gateway.
    pub(super) fn gateway(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn nats(&self) -> &Server {
        &self.nats
    }

    async fn until_served(&self) {
        while !get(self.address, "/show/x").await.is_ok_and(|response| response.status == 200) {
            time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Example {
    /// Starts a gateway with these lines in its configuration. The error has its log.
    pub(super) fn start(nats: &str, config: &str) -> Result<Self, Error> {
        let text = format!(
            "nats_url: \"{nats}\"\nserver_addr: \"127.0.0.1:0\"\nmetrics_addr: \"127.0.0.1:0\"\n{config}"
        );
        Self::of(text.as_bytes())
    }

    /// Starts a gateway with this configuration file.
    pub(super) fn of(config: &[u8]) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("narun-bad-input-").tempdir()?;
        let file = |name| -> PathBuf { directory.path().join(name) };
        fs::write(file("gateway.yaml"), config)?;
        let mut command = Process::example("gateway")?;
        command.arg("--config").arg(file("gateway.yaml")).stderr(File::create(file("log"))?);
        match block_in_place(|| Process::of("gateway", &mut command)) {
            Ok(process) => Ok(Self { process, _directory: directory }),
            Err(error) => {
                let log = fs::read_to_string(file("log")).unwrap_or_default();
                Err(format!("{error}: {}", log.trim()).into())
            }
        }
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Error> {
        Ok(self.process.address().parse()?)
    }
}
