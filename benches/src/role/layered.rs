//! An app with a gateway as a layer, behind an authentication that sets a field for the app.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use narun_gateway::{Gateway, Namespace, Route, StripHopByHopLayer};
use tower::{Layer, ServiceExt, service_fn};

use super::http_server;
use super::show::ShowSetup;
use crate::Error;

/// The field that the authentication sets.
const USER: &str = "x-auth-user";

/// Serves HTTP. Either the hop-by-hop fields are stripped outside of the authentication, or the gateway keeps its field.
pub(super) async fn gateway(show: ShowSetup, strip: bool) -> Result<(), Error> {
    let client = async_nats::connect(&show.nats).await?;
    let builder = Gateway::builder(client)
        .namespace(Namespace::new(&show.namespace)?)
        .route(Route::any("/show/{*rest}", show.app));
    let builder = match strip {
        true => builder,
        false => builder.keep_fields([http::HeaderName::from_static(USER)]),
    };
    let gateway = builder.build().await?;
    let app = gateway.layer().layer(service_fn(inner)).map_request(|mut request: Request<Incoming>| {
        request.headers_mut().insert(USER, HeaderValue::from_static("alice"));
        request
    });
    match strip {
        true => http_server::serve(StripHopByHopLayer.layer(app)).await,
        false => http_server::serve(app).await,
    }
}

/// The app itself, which serves what no route matches.
async fn inner(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Error> {
    Ok(Response::new(Full::new(format!("inner {}\n", request.uri().path()).into())))
}
