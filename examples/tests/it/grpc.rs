use std::io::Write;

use narun_grpc::pb::nats_service_client::NatsServiceClient;
use narun_grpc::pb::{KvHistoryRequest, KvPutRequest};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::program::{PATIENCE, Program, get, run, run_with};

/// A server on a port of its own, and its URL.
async fn server(arguments: &[&str]) -> (Program, String) {
    let mut server = Program::start_with("grpc_server", arguments, &[("GRPC_PORT", "0")]);
    let address = server.line("ready ").await;
    (server, format!("http://{address}"))
}

#[tokio::test]
async fn every_method_works() {
    let (server, url) = server(&[]).await;
    let (code, text, error) = run("grpc_client", ["--server", &url]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(text.ends_with("every call succeeded\n"), "{text}");
    assert!(server.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn every_setting_is_a_flag_in_the_help() {
    let (code, help, _) = run("grpc_server", ["--help"]).await;
    assert_eq!(code, Some(0));
    for variable in narun_grpc::VARIABLES {
        let shown = [format!("--{} <VALUE>", variable.flag), format!("[env: {}", variable.name)];
        assert!(shown.iter().all(|shown| help.contains(shown)), "{variable:?} in\n{help}");
    }
    for flag in
        ["--max-connections", "--max-streams", "--head-timeout-seconds", "--keep-alive-seconds", "--jwt-jwks"]
    {
        assert!(help.contains(flag), "{flag} in\n{help}");
    }
    // A value of each kind, and its error.
    for arguments in [["--kv-history", "65"], ["--quota-streams", "many"], ["--scope", "all"]] {
        let (code, _, error) = run("grpc_server", arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(error.contains("GRPC_"), "{error}");
    }
}

#[tokio::test]
async fn flags_and_variables_change_the_service() {
    let arguments = ["--kv-history", "3", "--quota-streams", "1", "--message-limit", "100000"];
    let mut server =
        Program::start_with("grpc_server", arguments, &[("GRPC_PORT", "0"), ("GRPC_QUOTA_BUCKETS", "2")]);
    let url = format!("http://{}", server.line("ready ").await);
    let channel = Endpoint::from_shared(url).expect("a URL").connect().await.expect("a connection");
    let mut client = NatsServiceClient::new(channel);
    let put = |bucket: &str, size: usize| KvPutRequest {
        user_id: "ann".into(),
        bucket: bucket.to_owned(),
        key: "k".into(),
        value: vec![0; size].into(),
        ..Default::default()
    };
    for _ in 0..5 {
        client.kv_put(put("a", 1)).await.expect("a revision");
    }
    let (user_id, bucket, key) = ("ann".to_owned(), "a".to_owned(), "k".to_owned());
    let history = KvHistoryRequest { user_id, bucket, key, ..Default::default() };
    assert_eq!(client.kv_history(history).await.expect("a history").into_inner().entries.len(), 3);
    client.kv_put(put("b", 1)).await.expect("a revision");
    for refused in [put("c", 1), put("a", 200_000)] {
        let status = client.kv_put(refused).await.expect_err("a refusal");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }
    assert!(server.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn only_known_tokens_are_served() {
    let mut tokens = tempfile::NamedTempFile::new().expect("a file");
    writeln!(tokens, "# token, user\n\na-long-and-secret-token ann").expect("it is written");
    let path = tokens.path().to_str().expect("a path").to_owned();
    let (server, url) = server(&["--tokens", &path]).await;
    let (code, ..) = run("grpc_client", ["--server", &url, "--user", "ann"]).await;
    assert_eq!(code, Some(1));
    let token = "a-long-and-secret-token";
    let (code, ..) = run("grpc_client", ["--server", &url, "--user", "bob", "--token", token]).await;
    assert_eq!(code, Some(1));
    let (code, text, error) = run("grpc_client", ["--server", &url, "--user", "ann", "--token", token]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(server.end(Signal::INT).await.success());
}

#[tokio::test]
async fn an_axum_app_serves_every_method_too() {
    let mut app = Program::start("grpc_embedded", ["--listen", "127.0.0.1:0"]);
    let address = app.line("ready ").await;
    let (status, _) = get(address.parse().expect("an address"), "/").await;
    assert_eq!(status, 200);
    let (code, text, error) = run("grpc_client", ["--server", &format!("http://{address}")]).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
    assert!(app.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn audit_records_arrive_at_loki() {
    let (code, text, error) = run("audit_loki", [""; 0]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains(r#""service":"nats-grpc-service""#), "{text}");
    assert!(text.ends_with("3 records shipped, none dropped\n"), "{text}");
}

/// Reads a request: its head and its body.
async fn read(stream: &mut BufReader<TcpStream>) -> (String, String) {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        stream.read_line(&mut head).await.expect("a line");
        if let Some(value) = head[start..].to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a body");
    (head, String::from_utf8(body).expect("text"))
}

/// Responds, and closes the connection.
async fn respond(mut stream: BufReader<TcpStream>, status: &str, text: &str) {
    let length = text.len();
    let response =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
    stream.write_all(response.as_bytes()).await.expect("the response is sent");
}

/// Ships records to a Loki with these responses, the last of which is repeated; `None` closes the connection. Returns
/// the result of the program, and the bodies of its pushes.
async fn ship(responses: &[Option<(&str, &str)>]) -> ((Option<i32>, String, String), Vec<String>) {
    let loki = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", loki.local_addr().expect("an address"));
    let mut pushed = Vec::new();
    let play = async {
        loop {
            let mut stream = BufReader::new(loki.accept().await.expect("a connection").0);
            let response = responses[pushed.len().min(responses.len() - 1)];
            let (head, body) = read(&mut stream).await;
            // Loki takes any other content type for protobuf.
            let json = head.to_lowercase().contains("\r\ncontent-type: application/json\r\n");
            assert!(head.starts_with("POST /loki/api/v1/push HTTP/1.1\r\n") && json, "{head}");
            pushed.push(body);
            if let Some((status, text)) = response {
                respond(stream, status, text).await;
            }
        }
    };
    let variables = [("LOKI_URL", url.as_str())];
    let ended = tokio::select! {
        ended = run_with("audit_loki", [""; 0], &variables) => ended,
        () = play => unreachable!("it never ends"),
    };
    (ended, pushed)
}

#[tokio::test]
async fn audit_records_wait_for_a_loki_that_is_away() {
    let limit = "Ingestion rate limit exceeded for user fake (limit: 52 bytes/sec)";
    let responses = [
        None,
        Some(("500 Internal Server Error", "empty ring")),
        Some(("429 Too Many Requests", limit)),
        Some(("204 No Content", "")),
    ];
    let ((code, text, error), pushed) = ship(&responses).await;
    assert_eq!((code, text.as_str()), (Some(0), "3 records shipped, none dropped\n"), "{error}");
    assert!(error.contains("audit records wait for Loki"), "{error}");
    assert!(pushed.len() == 4 && pushed.iter().all(|body| *body == pushed[0]), "{pushed:?}");
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_logged() {
    let why = "entry for stream '{service=\"nats-grpc-service\"}' has timestamp too old";
    let ((code, text, error), pushed) = ship(&[Some(("400 Bad Request", why))]).await;
    assert_eq!((code, text.as_str()), (Some(1), ""), "{error}");
    assert!(error.contains("has timestamp too old"), "{error}");
    assert!(error.contains("0 records were shipped, 3 dropped"), "{error}");
    // A refused batch is not sent again.
    assert_eq!(pushed.len(), 1, "{pushed:?}");
}

/// Serves one request to a Consul agent, and returns its line, its token and its body.
async fn requested(agent: &TcpListener) -> (String, String, String) {
    let requested = async {
        let mut stream = BufReader::new(agent.accept().await.expect("a connection").0);
        let (head, body) = read(&mut stream).await;
        respond(stream, "200 OK", "").await;
        let token = head.lines().find_map(|line| line.strip_prefix("x-consul-token: "));
        let line = head.lines().next().unwrap_or_default();
        (line.to_owned(), token.unwrap_or_default().to_owned(), body)
    };
    timeout(PATIENCE, requested).await.expect("there is a request in time")
}

#[tokio::test]
async fn the_server_is_registered_with_consul_while_it_serves() {
    let agent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = agent.local_addr().expect("an address").port().to_string();
    let variables = [
        ("GRPC_PORT", "0"),
        ("CONSUL_ENABLED", "true"),
        ("CONSUL_PORT", &port),
        ("CONSUL_HTTP_TOKEN", "secret"),
        ("SERVICE_HOSTNAME", "127.0.0.1"),
    ];
    let mut server = Program::start_with("grpc_server", [""; 0], &variables);
    let address = server.line("ready ").await;
    let (line, token, body) = requested(&agent).await;
    assert_eq!(token, "secret");
    assert!(line.starts_with("PUT /v1/agent/service/register?"), "{line}");
    let service: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(service["Check"]["GRPC"], address, "{service}");
    let (ended, (line, ..)) = tokio::join!(server.end(Signal::TERM), requested(&agent));
    assert!(ended.success());
    assert_eq!(line, "PUT /v1/agent/service/deregister/nats-service-127.0.0.1 HTTP/1.1");
}
