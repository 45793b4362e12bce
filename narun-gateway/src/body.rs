use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use narun_core::Body;
use pin_project::pin_project;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response: from the inner service, or over NATS.
#[derive(Debug)]
#[pin_project]
pub struct ResponseBody<B>(#[pin] Inner<B>);

#[derive(Debug)]
#[pin_project(project = InnerProj)]
enum Inner<B> {
    Service(#[pin] B),
    Gateway(#[pin] Body),
}

impl<B> ResponseBody<B> {
    pub(crate) const fn service(body: B) -> Self {
        Self(Inner::Service(body))
    }

    pub(crate) const fn gateway(body: Body) -> Self {
        Self(Inner::Gateway(body))
    }
}

impl<B> http_body::Body for ResponseBody<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().0.project() {
            InnerProj::Service(body) => body.poll_frame(cx).map_err(Into::into),
            InnerProj::Gateway(body) => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Service(body) => body.is_end_stream(),
            Inner::Gateway(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Service(body) => body.size_hint(),
            Inner::Gateway(body) => body.size_hint(),
        }
    }
}
