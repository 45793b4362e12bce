//! The hello app: an ordinary axum router, which knows nothing of NATS.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

/// A path that the app answers.
pub const PATH: &str = "/hello/";

/// A request that the app answers with [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Question {
    /// Who is greeted.
    pub name: String,
}

/// What the app answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answer {
    /// A greeting.
    pub message: String,
    /// The path of the request.
    pub received_path: String,
}

impl Question {
    /// The question of the documentation.
    pub fn example() -> Self {
        Self { name: "NATS User".to_owned() }
    }
}

impl Answer {
    /// What is answered to a question at a path.
    pub fn new(question: &Question, path: &str) -> Self {
        Self { message: format!("Hello, {}!", question.name), received_path: path.to_owned() }
    }
}

/// The app.
pub fn router() -> Router {
    delayed(Duration::ZERO)
}

/// The app, taking this long for each answer.
pub fn delayed(delay: Duration) -> Router {
    Router::new().route(PATH, post(hello)).route("/hello/{*rest}", post(hello)).with_state(delay)
}

/// Whatever content type it has, as `curl --data` does not say JSON.
async fn hello(State(delay): State<Duration>, uri: Uri, body: Bytes) -> Response {
    if !delay.is_zero() {
        let unfinished = Unfinished;
        tokio::time::sleep(delay).await;
        std::mem::forget(unfinished);
    }
    match serde_json::from_slice(&body) {
        Ok(question) => Json(Answer::new(&question, uri.path())).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("bad JSON: {error}\n")).into_response(),
    }
}

/// Logs when it is dropped.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        tracing::info!("a handler was dropped: nobody waits for its answer any more");
    }
}
