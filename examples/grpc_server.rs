//! NATS over gRPC as a program of its own, with health and reflection.
//!
//! ```text
//! cargo run --example grpc_server
//! cargo run --example grpc_client
//! ```
//!
//! It serves at the port `GRPC_PORT`, 50056 by default, and uses the NATS servers of `NATS_URLS`, with the credentials
//! of `NATS_USERNAME` and so on. Without `NATS_URLS` it runs a private nats-server. It serves from when it is connected.
//!
//! By default it does not authenticate its clients, and so listens on 127.0.0.1 only. To be reached from elsewhere
//! (`--host 0.0.0.0`) it should: with `--jwt-secret` or `--jwt-jwks FILE`, or with `--tokens FILE`, which has a token and its user in each
//! line:
//!
//! ```text
//! a-long-and-secret-token ann
//! ```
//!
//! With `CONSUL_ENABLED=true` it registers with the Consul agent at `CONSUL_HOST` and `CONSUL_PORT`, with the token
//! `CONSUL_HTTP_TOKEN` if there is one.
//!
//! Ctrl-C and SIGTERM end it: gRPC streams end with UNAVAILABLE, so that clients connect elsewhere, and calls in flight
//! are finished.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use narun_examples::http;
use narun_examples::nats::{self, Nats};
use narun_examples::signal::Shutdown;
use narun_grpc::auth::{Authenticator, JsonWebTokens, Principal, RequiredClaims, StaticTokens, TrustRequest};
use narun_grpc::registrar::{Consul, Registration};
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService, Settings};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_reflection::server::Builder as Reflection;

/// The interval and the timeout of HTTP/2 keepalive, which detects clients that died.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// How long calls in flight may take after the signal.
const PATIENCE: Duration = Duration::from_secs(20);

/// The length of the shortest accepted secret, in bytes.
const SECRET: usize = 32;

/// Serves NATS over gRPC; settings come from the environment.
#[derive(Parser)]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Authenticates callers by JSON Web Tokens signed with this secret (HS256), of 32 bytes or more.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, conflicts_with = "tokens")]
    jwt_secret: Option<String>,
    /// Authenticates callers by JSON Web Tokens signed with a key of the JSON Web Key Set in this file, which is read again.
    #[arg(long, env = "JWT_JWKS", conflicts_with_all = ["tokens", "jwt_secret"])]
    jwt_jwks: Option<PathBuf>,
    /// The issuer that JSON Web Tokens must have.
    #[arg(long, env = "JWT_ISSUER")]
    jwt_issuer: Option<String>,
    /// The audience that JSON Web Tokens must have.
    #[arg(long, env = "JWT_AUDIENCE")]
    jwt_audience: Option<String>,
    /// Accepts JSON Web Tokens of any issuer if there is no --jwt-issuer.
    #[arg(long, conflicts_with = "jwt_issuer")]
    jwt_any_issuer: bool,
    /// Accepts JSON Web Tokens for any audience if there is no --jwt-audience.
    #[arg(long, conflicts_with = "jwt_audience")]
    jwt_any_audience: bool,
    /// Authenticates callers by the tokens in this file.
    #[arg(long)]
    tokens: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut settings = Settings::from_env()?;
    let mut private = None;
    if std::env::var_os("NATS_URLS").is_none_or(|urls| urls.is_empty()) {
        let nats = tokio::task::spawn_blocking(|| Nats::at_or_private_with_jetstream(None)).await??;
        settings.nats_urls = vec![nats.url().to_owned()];
        private = Some(nats);
    }
    let served = match (&args.jwt_secret, &args.jwt_jwks, &args.tokens) {
        (Some(secret), ..) if secret.len() < SECRET => bail!("--jwt-secret is shorter than {SECRET} bytes"),
        (Some(secret), ..) => {
            let tokens = JsonWebTokens::hs256(secret.as_bytes(), required_claims(&args)?);
            serve(&args.host, &settings, tokens).await
        }
        (None, Some(file), _) => {
            let tokens = JsonWebTokens::jwks_file(file, required_claims(&args)?);
            let tokens = tokens.with_context(|| format!("cannot use {}", file.display()))?;
            serve(&args.host, &settings, tokens).await
        }
        (None, None, Some(file)) => serve(&args.host, &settings, read_tokens(file)?).await,
        (None, None, None) => serve(&args.host, &settings, TrustRequest::new()).await,
    };
    let stopped = private.map_or(Ok(()), Nats::stop);
    served.and(stopped)
}

async fn serve(host: &str, settings: &Settings, authenticator: impl Authenticator) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let (urls, access) = (settings.nats_urls.join(","), settings.nats_access().clone());
    let (client, mut connection) = nats::connect_eventually(&urls, access, "narun-grpc").await?;
    // Before it, calls would be UNAVAILABLE.
    tokio::select! {
        made = connection.made() => made?,
        () = shutdown.begun() => return Ok(()),
    }

    let mut builder = NatsService::builder(client).authenticator(authenticator);
    if let Some(domain) = &settings.jetstream_domain {
        builder = builder.jetstream_domain(domain);
    }
    let service = builder.build();
    // The watch keeps health up to date for as long as it lives.
    let (health, _watch) = service.health();
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (every, limit) = KEEPALIVE;
    let server = Server::builder()
        .http2_keepalive_interval(Some(every))
        .http2_keepalive_timeout(Some(limit))
        .add_service(service.clone().into_server())
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);

    let listener = http::listen(&[format!("{host}:{}", settings.grpc_port)], "GRPC_PORT").await?;
    let address = listener.local_addr()?;
    println!("ready {address}");
    let consul = settings.consul.then(|| Consul::from_settings(settings, address.port()));
    let registration = consul.map(Registration::start);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let begun = shutdown.begun();
    let serving = server.serve_with_incoming_shutdown(incoming, async move {
        begun.await;
        // Clients that connect again should find another server.
        if let Some(registration) = registration {
            registration.end().await;
        }
        service.end_subscriptions();
    });
    let end = shutdown.begun();
    let too_late = async {
        end.await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = serving => served?,
        () = too_late => tracing::warn!("calls are still in flight, and are aborted"),
    }
    Ok(())
}

/// Issuer and audience must be set, or switched off: another service may have tokens of the same key.
fn required_claims(args: &Args) -> anyhow::Result<RequiredClaims> {
    let (any_issuer, any_audience) = (args.jwt_any_issuer, args.jwt_any_audience);
    Ok(match (&args.jwt_issuer, &args.jwt_audience) {
        (Some(issuer), Some(audience)) => RequiredClaims::new(issuer, audience),
        (Some(issuer), None) if any_audience => RequiredClaims::issuer(issuer),
        (None, Some(audience)) if any_issuer => RequiredClaims::audience(audience),
        (None, None) if any_issuer && any_audience => RequiredClaims::any(),
        (None, _) if !any_issuer => bail!("tokens need --jwt-issuer, or --jwt-any-issuer"),
        _ => bail!("tokens need --jwt-audience, or --jwt-any-audience"),
    })
}

/// Reads lines of a token and a user. Empty lines, and lines that begin with `#`, are skipped.
fn read_tokens(file: &Path) -> anyhow::Result<StaticTokens> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut tokens = StaticTokens::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // The error does not contain the line, as there is a secret in it.
        let Some((token, user)) = line.trim().split_once(char::is_whitespace) else {
            bail!("{}, line {}: expected a token and a user", file.display(), number + 1);
        };
        tokens = tokens.token(token, Principal::user(user.trim()));
    }
    Ok(tokens)
}
