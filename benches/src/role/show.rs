//! A consumer whose handler responds with what it received, for bad input.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use narun_consumer::{Body, Received};
use serde::{Deserialize, Serialize};

use super::parent;
use crate::Error;

/// How long the handler of a path that ends in `/late` takes: longer than any timeout.
const LATE: Duration = Duration::from_secs(3_600);

/// The apps that show their requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShowSetup {
    pub(crate) nats: String,
    /// Serves direct and durable requests of this namespace.
    pub(crate) namespace: String,
    pub(crate) app: String,
}

/// Serves until the process ends.
pub(super) async fn serve(setup: ShowSetup) -> Result<(), Error> {
    let client = async_nats::connect(&setup.nats).await?;
    let (runs, app) = (Arc::new(AtomicU64::new(0)), setup.app.clone());
    let handler = tower::service_fn(move |request| show(request, runs.fetch_add(1, Ordering::Relaxed)));
    narun_consumer::serve(client, setup.app, handler)
        .stream(setup.namespace)
        .on_ready(move || parent::ready(&app))
        .await?;
    Err("the consumer stopped".into())
}

/// The last segment of the path may ask for another response than 200.
async fn show(request: Request<Body>, run: u64) -> Result<Response<Full<Bytes>>, Error> {
    let (parts, body) = request.into_parts();
    let status = match parts.uri.path().rsplit('/').next() {
        Some("103") => StatusCode::EARLY_HINTS,
        Some("205") => StatusCode::RESET_CONTENT,
        // Without its body being read.
        Some("401") => return Ok(response(StatusCode::UNAUTHORIZED, "who are you?".to_owned())),
        Some("late") => {
            tokio::time::sleep(LATE).await;
            StatusCode::OK
        }
        _ => StatusCode::OK,
    };
    let length = body.collect().await?.to_bytes().len();
    let mut text = format!("run {run}\nmethod {}\nbody {length}\n", parts.method);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    writeln!(text, "target {target}")?;
    if let Some(authority) = parts.uri.authority() {
        writeln!(text, "authority {authority}")?;
    }
    if let Some(peer) = parts.extensions.get::<Received>().and_then(Received::peer) {
        writeln!(text, "peer {peer}")?;
    }
    for (name, value) in &parts.headers {
        writeln!(text, "field {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
    }
    Ok(response(status, text))
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
