use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use narun_core::Body;
use pin_project::pin_project;

use crate::body::{BoxError, ResponseBody};
use crate::request::RequestFuture;

/// The future of the response of a [`GatewayService`](crate::GatewayService).
///
/// Cancel safe: dropping it cancels the request, and the consumer drops its handler.
#[derive(Debug)]
#[pin_project]
pub struct ResponseFuture<F, B>(#[pin] Inner<F, B>);

#[derive(Debug)]
#[pin_project(project = InnerProj)]
#[expect(clippy::large_enum_variant, reason = "the large variant is the one that most requests take")]
enum Inner<F, B> {
    Service(#[pin] F),
    Request(#[pin] RequestFuture<B>),
    Status(StatusFuture),
}

/// Boxed, because it is rare and would make the others larger.
struct StatusFuture(Pin<Box<dyn Future<Output = Response<Body>> + Send>>);

impl<F, B> ResponseFuture<F, B> {
    pub(crate) const fn service(future: F) -> Self {
        Self(Inner::Service(future))
    }

    pub(crate) const fn request(future: RequestFuture<B>) -> Self {
        Self(Inner::Request(future))
    }

    pub(crate) fn status(future: impl Future<Output = Response<Body>> + Send + 'static) -> Self {
        Self(Inner::Status(StatusFuture(Box::pin(future))))
    }
}

impl<F, B, R, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<R>, E>>,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().0.project() {
            InnerProj::Service(future) => {
                ready!(future.poll(cx)).map(|response| response.map(ResponseBody::service))
            }
            InnerProj::Request(future) => Ok(ready!(future.poll(cx)).map(ResponseBody::gateway)),
            InnerProj::Status(status) => Ok(ready!(status.0.as_mut().poll(cx)).map(ResponseBody::gateway)),
        })
    }
}

impl fmt::Debug for StatusFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusFuture").finish_non_exhaustive()
    }
}
