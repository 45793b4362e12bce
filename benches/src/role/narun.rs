//! narun itself: the gateway's service behind hyper, and the consumer with the handler.

use futures::StreamExt;
use narun_gateway::{App, Gateway, Namespace, Route};

use super::app::{DeliveryKind, NatsApp, Work};
use super::http_server;
use super::parent;
use crate::Error;
use crate::handler::{burn, echo};

/// Serves HTTP with this many routes, one of which gets the requests.
pub(super) async fn gateway(at: NatsApp, routes: usize) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let others = (1..routes).map(|number| Route::any(format!("/other/{number}/{{*rest}}"), &at.app));
    let route = Route::any("/load/{*rest}", &at.app);
    let route = if at.delivery == DeliveryKind::Direct { route } else { route.durable() };
    let gateway = Gateway::builder(client)
        .namespace(Namespace::new(at.delivery.namespace())?)
        .stream_settings(at.delivery.stream())
        .route(route)
        .routes(others)
        .build()
        .await?;
    http_server::serve(gateway.service()).await
}

/// Serves the handler until the process ends.
pub(super) async fn consumer(at: NatsApp, work: Work) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let handler = tower::service_fn(move |request| async move {
        burn(work.burn);
        echo(request).await
    });
    let (app, namespace) = (at.app.clone(), at.delivery.namespace());
    let consumer = narun_consumer::serve(client, at.app, handler)
        .concurrency(work.concurrency)
        .queue(work.queue)
        .on_ready(move || parent::ready(&app));
    match at.delivery {
        DeliveryKind::Direct => consumer.await?,
        _ => consumer.stream(namespace).stream_settings(at.delivery.stream()).await?,
    }
    Err("the consumer stopped".into())
}

/// Receives an app's requests, and never replies.
pub(super) async fn silent(at: NatsApp) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let subject = Namespace::new(at.delivery.namespace())?.call_subject(&App::new(&at.app)?);
    let mut requests = client.subscribe(subject).await?;
    client.flush().await?;
    parent::ready(&at.app);
    while requests.next().await.is_some() {}
    Err("the NATS connection is gone".into())
}
