use std::net::TcpListener;

use rustix::process::Signal;

use crate::program::{Program, ask, get, run};

const ANYWHERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn quickstart_prints_the_response_and_stops() {
    let (code, text, error) =
        run("quickstart", ["--once", "--listen", ANYWHERE, "--metrics", ANYWHERE]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.starts_with("ready http://127.0.0.1:"), "{text}");
    assert!(text.contains(r#"200 OK {"message":"Hello, NATS User!","received_path":"/hello/"}"#), "{text}");
}

#[tokio::test]
async fn quickstart_serves_until_ctrl_c() {
    let mut quickstart = Program::start("quickstart", ["--listen", ANYWHERE, "--metrics", ANYWHERE]);
    let server = quickstart.address("ready").await;
    let metrics = quickstart.address("metrics").await;
    ask(server).await;
    let (_, metrics) = get(metrics, "/metrics").await;
    for (name, labels) in [
        ("http_gateway_requests_total", r#"{method="POST",path="/hello/",status_code="200"} "#),
        ("http_gateway_request_duration_seconds_count", r#"{method="POST",path="/hello/"} "#),
        ("http_gateway_nats_requests_total", r#"{subject="call.TASK.hello",status="success"} "#),
        ("http_consumer_requests_total", r#"{app="hello",status_class="2xx"} "#),
    ] {
        assert!(metrics.contains(&format!("{name}{labels}")), "{name} is not in\n{metrics}");
    }
    assert!(quickstart.end(Signal::INT).await.success());
}

#[tokio::test]
async fn a_used_port_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind(ANYWHERE).expect("a free port");
    let taken = taken.local_addr().expect("it is bound").to_string();
    for (option, other) in [("--listen", "--metrics"), ("--metrics", "--listen")] {
        let (code, _, error) = run("quickstart", ["--once", option, &taken, other, ANYWHERE]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains(&taken) && error.contains(option), "{error}");
    }
}
