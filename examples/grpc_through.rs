//! gRPC through NATS: a chat with streams both ways, between an ordinary tonic client and ordinary tonic services.
//!
//! ```text
//! cargo run --example grpc_through
//! cargo run --example grpc_through -- --listen 127.0.0.1:50057
//! grpcurl -plaintext 127.0.0.1:50057 list
//! grpcurl -plaintext -H 'name: ann' -d '{"text": "hello"}' 127.0.0.1:50057 example.chat.Chat/Join
//! ```
//!
//! It runs a private nats-server (or uses that of `--nats-url` or the environment variable `NATS_URL`), a consumer that
//! serves tonic's routes, with health and reflection among them, and a gateway over HTTP/2. It prints what happens in
//! the chat, and ends by itself: the exit code is 0 only if every step succeeded. With `--listen` it serves other clients
//! instead, until Ctrl-C.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream;
use narun_examples::chat::pb::chat_client::ChatClient;
use narun_examples::chat::pb::chat_server::ChatServer;
use narun_examples::chat::pb::{Heard, Said, WhoRequest};
use narun_examples::chat::{FILE_DESCRIPTOR_SET, Room};
use narun_examples::http as server;
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::Gateway;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tracing::level_filters::LevelFilter;

const APP: &str = "chat";

/// The services, each of which is a route of the gateway.
const SERVICES: [&str; 3] =
    ["example.chat.Chat", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// How long each step may take.
const SOON: Duration = Duration::from_secs(30);

/// Shows gRPC through NATS.
#[derive(Parser)]
struct Args {
    /// Serves other clients at this address until Ctrl-C; port 0 for any free port.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log_from(LevelFilter::WARN);
    narun_examples::exit(start(Args::parse()).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    let address = args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = server::listen(&[address.to_string()], "--listen").await?;
    let nats = Nats::at_or_private(args.nats_url)?;
    let result = run(listener, nats.url(), args.listen.is_none()).await;
    nats.stop()?;
    result
}

async fn run(listener: TcpListener, nats_url: &str, alone: bool) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let address = listener.local_addr()?;

    // The consumer: it serves the same routes as tonic's own server would.
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = narun_consumer::serve(nats::connect(nats_url, "chat").await?, APP, routes().await?)
        .shutdown_timeout(Duration::from_secs(1))
        .on_ready(|| ready.send(()).unwrap_or_default())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let mut consumer = tokio::spawn(consumer.into_future());

    // The gateway: a route for each service.
    let gateway = Gateway::builder(nats::connect(nats_url, "gateway").await?);
    let gateway = SERVICES.iter().fold(gateway, |gateway, service| gateway.grpc(service, APP));
    let gateway = gateway.build().await?;
    let http = tokio::spawn(server::serve(listener, gateway.service(), shutdown.begun()));

    let story = async {
        is_ready.await.context("the consumer did not start")?;
        if alone {
            Story::begin(address).await?.run().await?;
            shutdown.begin();
        } else {
            say!("ready http://{address}");
        }
        shutdown.begun().await;
        anyhow::Ok(())
    };
    tokio::select! {
        result = story => result?,
        () = shutdown.begun() => {}
        result = &mut consumer => return result?.context("the consumer ended"),
        () = gateway.closed() => anyhow::bail!("the gateway's connection to NATS is dead"),
    }
    // Chats have no end of their own: they end with their consumer.
    drop(stop);
    consumer.await?.context("the consumer ended")?;
    Ok(http.await?)
}

/// The services, as in any tonic server.
async fn routes() -> anyhow::Result<Routes> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ChatServer<Room>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(Routes::new(ChatServer::new(Room::new())).add_service(health).add_service(reflection).prepare())
}

/// The steps of this example, and what they need.
struct Story {
    channel: Channel,
    begun: Instant,
}

/// A member of the chat.
struct Member {
    name: &'static str,
    says: UnboundedSender<Said>,
    hears: Streaming<Heard>,
}

impl Story {
    async fn begin(gateway: SocketAddr) -> anyhow::Result<Self> {
        let channel = Endpoint::try_from(format!("http://{gateway}"))?.connect().await?;
        Ok(Self { channel, begun: Instant::now() })
    }

    async fn run(&self) -> anyhow::Result<()> {
        self.say("A consumer with tonic's routes, and a gateway with a route for each of their services.");
        let services = self.services().await?;
        self.say(&format!("Reflection, through the gateway: {}", services.join(", ")));
        ensure!(services == SERVICES, "the services should have been {}", SERVICES.join(", "));
        let service = SERVICES[0].to_owned();
        let health = HealthClient::new(self.channel.clone()).check(HealthCheckRequest { service }).await?;
        let status = health.into_inner().status();
        self.say(&format!("Health of {}: {}", SERVICES[0], status.as_str_name()));
        ensure!(status == ServingStatus::Serving, "it should have been SERVING");

        self.chapter("A chat: each member's call streams both ways");
        let mut ann = self.join("ann").await?;
        self.hears(&mut ann, "", "ann is here").await?;
        let mut bob = self.join("bob").await?;
        self.hears(&mut bob, "", "bob is here").await?;
        self.hears(&mut ann, "", "bob is here").await?;
        self.talk("ann", "can you hear me, Bob?", &mut ann, &mut bob).await?;
        self.talk("bob", "as if there were nothing between us", &mut bob, &mut ann).await?;
        self.who(&["ann", "bob"]).await?;
        let twice = self.join("bob").await.err().context("two members should not have one name")?;
        self.expect_status(twice, Code::AlreadyExists)?;

        self.chapter("Bob cancels his call: the handler is dropped, and his seat with it");
        drop(bob);
        self.hears(&mut ann, "", "bob is gone").await?;
        self.who(&["ann"]).await?;

        self.chapter("Ann closes her side, and the call ends with OK");
        ann.says.close_channel();
        let end = soon(ann.hears.message()).await??;
        ensure!(end.is_none(), "there should have been no message, not {end:?}");
        self.say("ann: OK");
        self.who(&[]).await?;

        self.chapter("A deadline crosses NATS, too: Carol has two seconds");
        self.carol().await?;

        say!();
        self.say("Every step succeeded.");
        Ok(())
    }

    /// Lists the services by reflection.
    async fn services(&self) -> anyhow::Result<Vec<String>> {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let mut responses = client.server_reflection_info(stream::iter([request])).await?.into_inner();
        let response = soon(responses.message()).await??.context("reflection should have responded")?;
        let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
            anyhow::bail!("reflection should have listed the services");
        };
        let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        Ok(names)
    }

    async fn join(&self, name: &'static str) -> anyhow::Result<Member> {
        let (says, said) = unbounded();
        let mut request = Request::new(said);
        request.metadata_mut().insert("name", MetadataValue::from_static(name));
        let response = soon(ChatClient::new(self.channel.clone()).join(request)).await??;
        Ok(Member { name, says, hears: response.into_inner() })
    }

    /// One member says something, and both hear it.
    async fn talk(&self, from: &str, text: &str, one: &mut Member, other: &mut Member) -> anyhow::Result<()> {
        one.says.unbounded_send(Said { text: text.to_owned() }).context("the call has ended")?;
        self.hears(one, from, text).await?;
        self.hears(other, from, text).await
    }

    async fn hears(&self, member: &mut Member, from: &str, text: &str) -> anyhow::Result<()> {
        let heard = soon(member.hears.message()).await??.context("the chat should not have ended")?;
        let speaker = if heard.from.is_empty() { "the room" } else { &heard.from };
        self.say(&format!("{} hears {speaker}: {}", member.name, heard.text));
        ensure!(heard.from == from && heard.text == text, "it should have been {from:?}: {text}");
        Ok(())
    }

    /// Lists the members until they are as expected: it may take a moment until a cancelled call is noticed.
    async fn who(&self, expected: &[&str]) -> anyhow::Result<()> {
        let mut client = ChatClient::new(self.channel.clone());
        let asked = async {
            while client.who(WhoRequest {}).await?.into_inner().names != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        soon(asked).await.with_context(|| format!("there should have been {expected:?}"))??;
        self.say(&format!("Who is there? {expected:?}"));
        Ok(())
    }

    /// Joins with a deadline, and says nothing.
    async fn carol(&self) -> anyhow::Result<()> {
        let mut request = Request::new(stream::pending());
        request.metadata_mut().insert("name", MetadataValue::from_static("carol"));
        request.set_timeout(Duration::from_secs(2));
        let hears = soon(ChatClient::new(self.channel.clone()).join(request)).await??.into_inner();
        let (says, _) = unbounded();
        let mut carol = Member { name: "carol", says, hears };
        self.hears(&mut carol, "", "carol is here").await?;
        let status = soon(carol.hears.message()).await?.err().context("her call should have timed out")?;
        self.expect_status(status.into(), Code::DeadlineExceeded)?;
        self.who(&[]).await
    }

    fn expect_status(&self, error: anyhow::Error, code: Code) -> anyhow::Result<()> {
        let status = error.downcast::<tonic::Status>()?;
        self.say(&format!("{:?}: {}", status.code(), status.message()));
        ensure!(status.code() == code, "it should have been {code:?}, not {:?}", status.code());
        Ok(())
    }

    fn chapter(&self, title: &str) {
        say!();
        self.say(title);
    }

    fn say(&self, text: &str) {
        say!("{:5.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }
}

async fn soon<F: Future>(future: F) -> anyhow::Result<F::Output> {
    tokio::time::timeout(SOON, future).await.context("it should not have taken so long")
}
