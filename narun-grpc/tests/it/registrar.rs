//! Consul, by an agent that is played here.

use std::sync::{Arc, Mutex};

use narun_grpc::registrar::{Consul, Registration};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{eventually, soon};

/// What the agent was asked: the request's line, and its body.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Answers one request, of HTTP/1.1 with a length, and closes.
async fn answer(stream: TcpStream, asked: &Asked, status: &str) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await.unwrap();
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).await.unwrap();
        match field.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    asked.lock().unwrap().push((line.trim_end().to_owned(), String::from_utf8(body).unwrap()));
    let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_service_is_put_in_again_after_a_refusal_and_taken_out_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = listener.local_addr().unwrap().to_string();
    let asked = Asked::default();
    let serving = tokio::spawn({
        let asked = asked.clone();
        async move {
            let mut first = true;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let status = if std::mem::replace(&mut first, false) { "500 No" } else { "200 OK" };
                answer(stream, &asked, status).await;
            }
        }
    });
    let consul = Consul::new(agent, "host a", 50056).alias("nats").token("secret");
    assert!(!format!("{consul:?}").contains("secret"));
    let registration = Registration::start(consul);
    eventually("both names", async || asked.lock().unwrap().len() >= 3).await;
    soon("the end", registration.end()).await;
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let lines: Vec<_> = asked.iter().map(|(line, _)| line.as_str()).collect();
    let register = "PUT /v1/agent/service/register?replace-existing-checks=true HTTP/1.1";
    assert_eq!(
        lines,
        [
            register,
            register,
            register,
            "PUT /v1/agent/service/deregister/nats-service-host%20a HTTP/1.1",
            "PUT /v1/agent/service/deregister/nats-service-host%20a-nats HTTP/1.1",
        ]
    );
    let first: serde_json::Value = serde_json::from_str(&asked[1].1).unwrap();
    assert_eq!(first["Name"], "nats-grpc-service");
    assert_eq!(first["ID"], "nats-service-host a");
    assert_eq!(first["Check"]["GRPC"], "host a:50056");
    assert_eq!(first["Check"]["Interval"], "10s");
    let second: serde_json::Value = serde_json::from_str(&asked[2].1).unwrap();
    assert_eq!(second["Name"], "nats");
    serving.abort();
}
