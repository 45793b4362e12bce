use http::StatusCode;
use rustix::process::Signal;

use crate::program::{Program, get, run};

const ANYWHERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn hands_requests_on_and_stops() {
    let (code, text, error) = run("proxy_existing", ["--once", "--listen", ANYWHERE]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("POST /shout -> 200 OK STREAMED BOTH WAYS {\"x-mood\": \"loud\"}\n"), "{text}");
    for field in
        ["x-for-all: \"1\"", "x-forwarded-for: \"127.0.0.1\"", "via: \"1.1 narun\"", "te: \"trailers\""]
    {
        assert!(text.lines().any(|line| line == field), "{field} is not in {text}");
    }
}

#[tokio::test]
async fn any_server_is_the_target() {
    let mut other = Program::start("axum_layer", ["--listen", ANYWHERE]);
    let target = format!("http://{}", other.address("ready").await);
    let mut proxy = Program::start("proxy_existing", ["--listen", ANYWHERE, "--target", &target]);
    let server = proxy.address("ready").await;
    assert_eq!(get(server, "/local").await, (StatusCode::OK, "answered by the app itself\n".to_owned()));
    let nowhere = (StatusCode::NOT_FOUND, "the app has no /nowhere\n".to_owned());
    assert_eq!(get(server, "/nowhere").await, nowhere);
    assert!(other.end(Signal::TERM).await.success());
    assert_eq!(get(server, "/local").await.0, StatusCode::BAD_GATEWAY);
    assert!(proxy.end(Signal::INT).await.success());
}

#[tokio::test]
async fn says_what_a_target_has_to_be() {
    for target in ["http://127.0.0.1/below", "/", "https://127.0.0.1"] {
        let (code, _, error) = run("proxy_existing", ["--listen", ANYWHERE, "--target", target]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("--target has to be http://HOST:PORT"), "{error}");
    }
}
