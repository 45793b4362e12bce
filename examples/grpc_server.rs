//! NATS over gRPC as a program of its own, with health and reflection.
//!
//! ```text
//! cargo run --example grpc_server
//! cargo run --example grpc_client
//! ```
//!
//! It serves at the port `GRPC_PORT`, 50056 by default, and uses the NATS servers of `NATS_URLS`, with the credentials
//! of `NATS_USERNAME` and so on. Without `NATS_URLS` it runs a private nats-server. It serves from when it is connected.
//! `--help` lists all settings: limits, quotas, how buckets are created. Each is a flag and an environment variable.
//! Replicas need the same `GRPC_ACK_TOKEN_KEY`.
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

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::OsStringValueParser;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser};
use narun_examples::http::{self, HttpLimits};
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::Peer;
use narun_grpc::auth::{Authenticator, JsonWebTokens, Principal, RequiredClaims, StaticTokens, TrustRequest};
use narun_grpc::registrar::{Consul, Registration};
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService, Settings, VARIABLES, Variable};
use tonic::service::Routes;
use tonic_reflection::server::Builder as Reflection;

/// The length of the shortest accepted secret, in bytes.
const SECRET: usize = 32;

/// Serves NATS over gRPC.
#[derive(Parser)]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// How long a connection may stay open without a call, in seconds.
    #[arg(long, env = "GRPC_KEEP_ALIVE_SECONDS", default_value_t = 75)]
    keep_alive_seconds: u64,
    /// How long the head of a call may take, and a new connection until its first call, in seconds.
    #[arg(long, env = "GRPC_HEAD_TIMEOUT_SECONDS", default_value_t = 30)]
    head_timeout_seconds: u64,
    /// How many connections may be open at the same time.
    #[arg(long, env = "GRPC_MAX_CONNECTIONS", default_value_t = 16_384)]
    max_connections: usize,
    /// How many calls a connection may have in flight.
    #[arg(long, env = "GRPC_MAX_STREAMS", default_value_t = 200)]
    max_streams: u32,
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
    let matches = command().get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    narun_examples::exit(run(args, &matches).await)
}

/// The arguments, with a flag for each variable of the settings.
fn command() -> clap::Command {
    let flag = |variable: &Variable| {
        let flag = Arg::new(variable.name).long(variable.flag).env(variable.name).help(variable.help);
        flag.value_name("VALUE")
            .value_parser(OsStringValueParser::new())
            .hide_env_values(variable.is_secret())
            .help_heading("Settings")
    };
    Args::command().args(VARIABLES.iter().map(flag))
}

async fn run(args: Args, matches: &ArgMatches) -> anyhow::Result<()> {
    let read = |name: &str| match matches.try_get_one::<OsString>(name) {
        Ok(Some(value)) => Some(value.clone()),
        _ => std::env::var_os(name),
    };
    let mut settings = Settings::from_variables(read)?;
    let mut private = None;
    if read("NATS_URLS").is_none_or(|urls| urls.is_empty()) {
        let nats = tokio::task::spawn_blocking(|| Nats::at_or_private_with_jetstream(None)).await??;
        settings.nats_urls = vec![nats.url().to_owned()];
        private = Some(nats);
    }
    let served = match (&args.jwt_secret, &args.jwt_jwks, &args.tokens) {
        (Some(secret), ..) if secret.len() < SECRET => bail!("--jwt-secret is shorter than {SECRET} bytes"),
        (Some(secret), ..) => {
            let tokens = JsonWebTokens::hs256(secret.as_bytes(), required_claims(&args)?);
            serve(&args, &settings, tokens).await
        }
        (None, Some(file), _) => {
            let tokens = JsonWebTokens::jwks_file(file, required_claims(&args)?);
            let tokens = tokens.with_context(|| format!("cannot use {}", file.display()))?;
            serve(&args, &settings, tokens).await
        }
        // Whoever sets them expects tokens to be checked.
        (None, None, _) if args.jwt_issuer.is_some() || args.jwt_audience.is_some() => {
            bail!("--jwt-issuer and --jwt-audience need --jwt-secret or --jwt-jwks")
        }
        (None, None, Some(file)) => serve(&args, &settings, read_tokens(file)?).await,
        (None, None, None) => serve(&args, &settings, TrustRequest::new()).await,
    };
    let stopped = private.map_or(Ok(()), Nats::stop);
    served.and(stopped)
}

async fn serve(args: &Args, settings: &Settings, authenticator: impl Authenticator) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let (urls, access) = (settings.nats_urls.join(","), settings.nats_access().clone());
    let (client, mut connection) = nats::connect_eventually(&urls, access, "narun-grpc").await?;
    // Before it, calls would be UNAVAILABLE.
    tokio::select! {
        made = connection.made() => made?,
        () = shutdown.begun() => return Ok(()),
    }

    let builder = NatsService::builder(client).authenticator(authenticator).settings(settings);
    // The server puts the peer's address into an extension of its own.
    let service = builder.peer(|extensions| extensions.get::<Peer>().map(Peer::address)).build();
    let nats = service.connection().clone();
    // The watch keeps health up to date for as long as it lives.
    let (health, _watch) = service.health();
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(service.clone().into_server())
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);

    let host = &args.host;
    let listener = http::listen(&[format!("{host}:{}", settings.grpc_port)], "GRPC_PORT").await?;
    let address = listener.local_addr()?;
    say!("ready {address}");
    let consul = settings.consul.then(|| Consul::from_settings(settings, address.port()));
    let registration = consul.map(Registration::start);
    let begun = shutdown.begun();
    http::serve_with(limits(args), listener, routes.into_axum_router(), async move {
        begun.await;
        // Clients that connect again should find another server.
        if let Some(registration) = registration {
            registration.end().await;
        }
        service.end_subscriptions();
    })
    .await;
    nats.finish().await;
    Ok(())
}

fn limits(args: &Args) -> HttpLimits {
    HttpLimits {
        keep_alive: Duration::from_secs(args.keep_alive_seconds),
        head: Duration::from_secs(args.head_timeout_seconds),
        connections: args.max_connections,
        streams: args.max_streams,
    }
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
