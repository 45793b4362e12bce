//! Credentials for NATS.

use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;
use narun_gateway::NatsAccess;
use narun_support::Server;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::config;
use crate::program::{Program, ask, run, run_with};

/// A user and a password that have to be percent-encoded in a URL, and a nats-server that requires them.
const USER: (&str, &str) = ("me@example", "p/s:w?rd");

fn server() -> Server {
    let (user, password) = USER;
    let config = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}");
    Server::builder().config(config).start().expect("a nats-server")
}

/// The URL of a server, with user and password.
fn url(nats: &Server, userinfo: &str) -> String {
    nats.url().replace("nats://", &format!("nats://{userinfo}@"))
}

#[tokio::test]
async fn credentials_come_from_the_url_the_file_and_the_environment() {
    let nats = server();
    let (user, password) = USER;
    let with_user = url(&nats, "me%40example:p%2Fs%3Aw%3Frd");
    let keys =
        format!("nats_username: '${{NARUN_UNSET:-{user}}}'\nnats_password: '${{NARUN_TEST_PASSWORD}}'\n");
    let (_one, in_url) = config(&with_user, "");
    let (_two, in_keys) = config(nats.url(), &keys);
    let environment = [("NATS_USERNAME", user), ("NATS_PASSWORD", password)];

    let mut hello = Program::start("hello", ["--nats-url", &with_user]);
    hello.line("ready").await;
    assert!(hello.end(Signal::TERM).await.success());
    let mut hello = Program::start_with("hello", ["--nats-url", nats.url()], &environment);
    hello.line("ready").await;
    for config in [in_url, in_keys] {
        let variables = [("NARUN_TEST_PASSWORD", password)];
        let mut gateway = Program::start_with("gateway", ["--config", &config], &variables);
        ask(gateway.address("ready").await).await;
        assert!(gateway.end(Signal::TERM).await.success());
    }
    let mut gateway = Program::start_with(
        "smallest_gateway",
        [""; 0],
        &[("NATS_URL", &with_user), ("LISTEN", "127.0.0.1:0")],
    );
    ask(gateway.address("ready").await).await;
    assert!(gateway.end(Signal::TERM).await.success());

    let mut server =
        Program::start_with("grpc_server", [""; 0], &[("GRPC_PORT", "0"), ("NATS_URLS", &with_user)]);
    server.line("ready ").await;
    assert!(server.end(Signal::TERM).await.success());
    assert!(hello.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn wrong_credentials_are_an_error_at_start() {
    let nats = server();
    let wrong = url(&nats, "me%40example:wrong");
    let (_one, in_url) = config(&wrong, "");
    let (_two, without) = config(nats.url(), "");
    let (_three, authority) = config(nats.url(), "nats_tls_ca: /nowhere.pem\n");
    for (example, arguments, variables) in [
        ("gateway", &["--config", &in_url][..], &[][..]),
        ("gateway", &["--config", &without], &[]),
        ("gateway", &["--config", &authority], &[]),
        ("hello", &["--nats-url", &wrong], &[]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_TOKEN", "wrong")]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_NKEY", "no seed")]),
        ("hello", &["--nats-url", nats.url()], &[("NATS_CREDS", "/nowhere.creds")]),
        ("grpc_server", &[], &[("GRPC_PORT", "0"), ("NATS_URLS", &wrong)]),
        ("smallest_consumer", &[], &[("NATS_URL", &wrong)]),
        ("axum_layer", &["--listen", "127.0.0.1:0", "--nats-url", &wrong], &[]),
    ] {
        let (code, text, error) = run_with(example, arguments, variables).await;
        assert_eq!((code, text.contains("ready")), (Some(1), false), "{example}: {text}{error}");
        // Neither a password, nor an error as `Debug` shows it.
        assert!(!error.contains("wrong") && !error.contains("kind: "), "{example}: {error}");
    }
    let (code, _, error) = run("gateway", ["--config", &without]).await;
    assert!(code == Some(1) && error.contains("authorization violation"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_an_error_once_nats_is_up() {
    let mut nats = server();
    let wrong = url(&nats, "me%40example:wrong");
    nats.kill().expect("it is killed");
    let (_directory, config) = config(&wrong, "");
    let mut programs = [
        Program::start_logging("gateway", ["--config", &config]),
        Program::start_logging("hello", ["--nats-url", &wrong]),
    ];
    for program in &mut programs {
        program.logged("NATS cannot be reached").await;
    }
    nats.restart().expect("it starts again");
    for mut program in programs {
        program.logged("authorization violation").await;
        assert_eq!(program.ended().await.code(), Some(1));
    }
}

/// Whether a connection with these settings is made, and works.
async fn connects(nats: &Server, access: NatsAccess) -> bool {
    match access.connect(&nats.url().replace("tls://", "nats://")).await {
        Ok(nats) => nats.client().flush().await.is_ok(),
        Err(_) => false,
    }
}

/// A JSON Web Token as nats-server knows it.
fn token(issuer: &KeyPair, subject: &KeyPair, mut nats: Value) -> String {
    nats["version"] = 2.into();
    let claims = json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(text.as_bytes()).expect("a signature");
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// The configuration of a server that wants a file with credentials, and files of the right and of a wrong user.
fn credentials(directory: &TempDir) -> (String, [String; 2]) {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let config = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        token(&operator, &operator, json!({ "type": "operator" })),
        account.public_key(),
        token(&operator, &account, json!({ "type": "account", "limits": limits })),
    );
    let file = |name: &str, seed: &KeyPair| {
        let jwt = token(&account, &user, json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 }));
        let seed = seed.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let files = [file("right", &user), file("wrong", &KeyPair::new_user())];
    (config, files)
}

#[tokio::test]
async fn tokens_nkeys_and_files_with_credentials_authenticate_programs() {
    let directory = TempDir::new().expect("a directory");
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = |pair: &KeyPair| pair.seed().expect("a seed");
    let (jwt, creds) = credentials(&directory);
    for (name, server, [right, wrong]) in [
        ("token", "authorization { token: secret }".to_owned(), ["secret".to_owned(), "other".to_owned()]),
        (
            "nkey",
            format!("authorization {{ users: [{{ nkey: {} }}] }}", user.public_key()),
            [seed(&user), seed(&other)],
        ),
        ("creds", jwt, creds),
    ] {
        let nats = Server::builder().config(server).start().expect("a nats-server");
        let key = |value: &str| config(nats.url(), &format!("nats_{name}: {value:?}\n"));
        let variable = format!("NATS_{}", name.to_uppercase());
        let arguments = ["--nats-url", nats.url()];

        let mut hello = Program::start_with("hello", arguments, &[(&variable, &right)]);
        hello.line("ready").await;
        let (_one, in_key) = key(&right);
        let mut gateway = Program::start("gateway", ["--config", &in_key]);
        ask(gateway.address("ready").await).await;
        assert!(gateway.end(Signal::TERM).await.success());
        assert!(hello.end(Signal::TERM).await.success());

        let (_two, in_key) = key(&wrong);
        for (example, arguments, variables) in [
            ("hello", &arguments[..], &[(&variable[..], &wrong[..])][..]),
            ("hello", &arguments[..], &[]),
            ("gateway", &["--config", &in_key], &[]),
        ] {
            let (code, text, error) = run_with(example, arguments, variables).await;
            assert_eq!((code, text.contains("ready")), (Some(1), false), "{name}, {example}: {text}{error}");
        }
        if name == "token" {
            let in_url = url(&nats, &right);
            let mut hello = Program::start("hello", ["--nats-url", &in_url]);
            hello.line("ready").await;
            assert!(hello.end(Signal::TERM).await.success());
        }
    }
}

/// A certificate authority, and files with certificates that it signed.
struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("a file");
        Self { directory, issuer: Issuer::new(params, key) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes the files of a certificate, and returns their paths: the certificate and its key.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (certificate_file, key_file) =
            (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key.pem")));
        fs::write(&certificate_file, certificate.pem()).expect("a file");
        fs::write(&key_file, key.serialize_pem()).expect("a file");
        (certificate_file, key_file)
    }
}

#[tokio::test]
async fn certificates_authenticate_server_and_client() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.sign("server");
    let tls = format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {:?}, verify: true }}",
        authority.file("ca.pem")
    );
    let nats = Server::builder().config(tls).start().expect("a nats-server");
    let access = |ca: &Authority, client: Option<(PathBuf, PathBuf)>| {
        let (tls_cert, tls_key) = client.unzip();
        NatsAccess { tls_ca: Some(ca.file("ca.pem")), tls_cert, tls_key, ..Default::default() }
    };
    assert!(connects(&nats, access(&authority, Some(authority.sign("client")))).await);
    assert!(!connects(&nats, access(&authority, None)).await);
    assert!(!connects(&nats, access(&other, Some(authority.sign("client")))).await);
    assert!(!connects(&nats, access(&authority, Some(other.sign("client")))).await);

    // Another attempt would not succeed: it is an error at start.
    for (ca, (cert, key)) in [(&other, authority.sign("client")), (&authority, other.sign("client"))] {
        let ca = ca.file("ca.pem");
        let keys = format!("nats_tls_ca: {ca:?}\nnats_tls_cert: {cert:?}\nnats_tls_key: {key:?}\n");
        let (_directory, config) = config(&nats.url().replace("tls://", "nats://"), &keys);
        let (code, text, error) = run("gateway", ["--config", &config]).await;
        assert_eq!((code, text.contains("ready")), (Some(1), false), "{error}");
    }
    let (cert, key) = authority.sign("client");
    let ca = authority.file("ca.pem");
    let keys = format!("nats_tls_ca: {ca:?}\nnats_tls_cert: {cert:?}\nnats_tls_key: {key:?}\n");
    let (_directory, config) = config(&nats.url().replace("tls://", "nats://"), &keys);
    let mut gateway = Program::start("gateway", ["--config", &config]);
    gateway.line("ready").await;
    assert!(gateway.end(Signal::TERM).await.success());
}
