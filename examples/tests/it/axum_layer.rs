use http::StatusCode;
use rustix::process::Signal;

use crate::program::{Program, ask, get};

#[tokio::test]
async fn requests_without_a_route_reach_the_app() {
    let mut app = Program::start("axum_layer", ["--listen", "127.0.0.1:0"]);
    let server = app.address("ready").await;
    ask(server).await;
    assert_eq!(get(server, "/local").await, (StatusCode::OK, "from the app itself\n".to_owned()));
    let nowhere = (StatusCode::NOT_FOUND, "the app has no /nowhere\n".to_owned());
    assert_eq!(get(server, "/nowhere").await, nowhere);
    assert!(app.end(Signal::TERM).await.success());
}
