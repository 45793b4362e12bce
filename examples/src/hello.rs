//! The hello app: an ordinary axum router, which knows nothing of NATS.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

/// The path that the app serves.
pub const PATH: &str = "/hello/";

/// The content of a request, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HelloRequest {
    /// The name to greet.
    pub name: String,
}

/// The content of a response, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HelloResponse {
    /// A greeting.
    pub message: String,
    /// The path of the request.
    pub received_path: String,
}

impl HelloRequest {
    /// The request of the documentation.
    pub fn example() -> Self {
        Self { name: "NATS User".to_owned() }
    }
}

impl HelloResponse {
    /// The response to a request at this path.
    pub fn new(request: &HelloRequest, path: &str) -> Self {
        Self { message: format!("Hello, {}!", request.name), received_path: path.to_owned() }
    }
}

/// The app.
pub fn router() -> Router {
    delayed(Duration::ZERO)
}

/// The app, with this delay before each response.
pub fn delayed(delay: Duration) -> Router {
    Router::new().route(PATH, post(hello)).route("/hello/{*rest}", post(hello)).with_state(delay)
}

/// Accepts any content type, as `curl --data` does not send that of JSON.
async fn hello(State(delay): State<Duration>, uri: Uri, body: Bytes) -> Response {
    if !delay.is_zero() {
        let unfinished = Unfinished;
        tokio::time::sleep(delay).await;
        std::mem::forget(unfinished);
    }
    match serde_json::from_slice(&body) {
        Ok(request) => Json(HelloResponse::new(&request, uri.path())).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("bad JSON: {error}\n")).into_response(),
    }
}

/// Logs when it is dropped.
struct Unfinished;

impl Drop for Unfinished {
    fn drop(&mut self) {
        tracing::info!("a handler was dropped: its client has left or timed out");
    }
}
