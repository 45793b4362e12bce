//! narun with bodies of any length: `/load/down` sends one, of the length `?LENGTH` or without an end, `/load/up`
//! receives one, and any other path echoes the request's body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use narun_gateway::{Gateway, Route};

use super::app::NatsApp;
use super::grpc;
use super::http_server::{self, Protocol};
use super::parent;
use crate::Error;
use crate::handler::echo;

/// The data that all bodies consist of.
pub(super) static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Serves HTTP, and gRPC if the protocol is HTTP/2.
pub(super) async fn gateway(at: NatsApp, window: u64, protocol: Protocol) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let gateway = Gateway::builder(client)
        .route(Route::any("/load/{*rest}", &at.app))
        .route(Route::post(format!("/{}/{{method}}", grpc::SERVICE), &at.app))
        .window(window)
        .build()
        .await?;
    http_server::serve_as(protocol, gateway.service()).await
}

/// Serves the handler until the process ends.
pub(super) async fn consumer(at: NatsApp, window: u64) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let app = at.app.clone();
    narun_consumer::serve(client, at.app, tower::service_fn(handle))
        .window(window)
        // Each of many slow readers holds a slot for the whole response.
        .concurrency(16 * 1024)
        .on_ready(move || parent::ready(&app))
        .await?;
    Err("the consumer stopped".into())
}

async fn handle<B>(request: Request<B>) -> Result<Response<Either<Full<Bytes>, Flood>>, Infallible>
where
    B: Body + Unpin,
{
    Ok(match request.uri().path() {
        "/load/down" => {
            let left = request.uri().query().and_then(|length| length.parse().ok());
            Response::new(Either::Right(Flood { left }))
        }
        "/load/up" => Response::new(Either::Left(count(request.into_body()).await.to_string().into())),
        _ => {
            let Ok(response) = echo(request).await;
            response.map(Either::Left)
        }
    })
}

/// Reads a body, and returns its length.
async fn count<B: Body + Unpin>(mut body: B) -> usize {
    let mut count = 0;
    while let Some(Ok(frame)) = body.frame().await {
        count += frame.data_ref().map_or(0, Buf::remaining);
    }
    count
}

/// A body whose data is always ready, with or without an end.
#[derive(Clone, Copy, Debug)]
struct Flood {
    left: Option<u64>,
}

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut data = Bytes::from_static(&CHUNK);
        if let Some(left) = &mut self.left {
            data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= data.len() as u64;
        }
        Poll::Ready(Some(data).filter(|data| !data.is_empty()).map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
