use http::StatusCode;
use rustix::process::Signal;

use crate::program::{Program, get, run};

const ANYWHERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn requests_are_forwarded_to_the_own_server() {
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
async fn requests_are_forwarded_to_a_given_server() {
    let mut other = Program::start("axum_layer", ["--listen", ANYWHERE]);
    let target = format!("http://{}", other.address("ready").await);
    let mut proxy = Program::start("proxy_existing", ["--listen", ANYWHERE, "--target", &target]);
    let server = proxy.address("ready").await;
    assert_eq!(get(server, "/local").await, (StatusCode::OK, "from the app itself\n".to_owned()));
    let nowhere = (StatusCode::NOT_FOUND, "the app has no /nowhere\n".to_owned());
    assert_eq!(get(server, "/nowhere").await, nowhere);
    assert!(other.end(Signal::TERM).await.success());
    assert_eq!(get(server, "/local").await.0, StatusCode::BAD_GATEWAY);
    assert!(proxy.end(Signal::INT).await.success());
}

#[tokio::test]
async fn an_invalid_target_is_an_error() {
    for target in ["http://127.0.0.1/below", "/", "https://127.0.0.1"] {
        let (code, _, error) = run("proxy_existing", ["--listen", ANYWHERE, "--target", target]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("--target must be http://HOST:PORT"), "{error}");
    }
}
