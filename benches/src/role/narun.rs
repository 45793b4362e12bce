//! narun itself: the gateway's service right behind hyper, and the consumer with the handler.

use narun_gateway::{Gateway, Route};

use super::http_server;
use crate::Error;
use crate::handler::echo;

const APP: &str = "load";

/// Serves HTTP with that many routes, of which one leads to the handler.
pub(super) async fn gateway(nats: &str, routes: usize) -> Result<(), Error> {
    let client = async_nats::connect(nats).await?;
    let others = (1..routes).map(|number| Route::any(format!("/other/{number}/{{*rest}}"), APP));
    let gateway = Gateway::builder(client).route(Route::any("/load/{*rest}", APP)).routes(others).build();
    http_server::serve(gateway.await?.service()).await
}

/// Serves the handler until the process ends.
pub(super) async fn consumer(nats: &str) -> Result<(), Error> {
    let client = async_nats::connect(nats).await?;
    super::ready(APP);
    narun_consumer::serve(client, APP, tower::service_fn(echo)).await?;
    Ok(())
}
