use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project::pin_project;

use crate::body::{BoxError, ResponseBody};
use crate::exchange::Exchange;

/// The future of a [`GatewayService`](crate::GatewayService)'s response.
///
/// Cancel safe: dropped, it cancels the exchange, which reaches the handler.
#[derive(Debug)]
#[pin_project]
pub struct ResponseFuture<F, B>(#[pin] Inner<F, B>);

#[derive(Debug)]
#[pin_project(project = InnerProj)]
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that most requests take")]
enum Inner<F, B> {
    Service(#[pin] F),
    Exchange(#[pin] Exchange<B>),
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) const fn service(future: F) -> Self {
        Self(Inner::Service(future))
    }

    pub(crate) const fn exchange(exchange: Exchange<B>) -> Self {
        Self(Inner::Exchange(exchange))
    }
}

impl<F, B, R, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<R>, E>>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().0.project() {
            InnerProj::Service(future) => {
                ready!(future.poll(cx)).map(|response| response.map(ResponseBody::service))
            }
            InnerProj::Exchange(exchange) => Ok(ready!(exchange.poll(cx)).map(ResponseBody::exchange)),
        })
    }
}
