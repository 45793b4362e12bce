//! Calling the user's service for a durable request.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use narun_core::{Body, FailureContext};
use tokio::time::{Instant, timeout};
use tower_service::Service;
use tracing::Span;

use super::dead_letter::DeliveryFailure;
use super::request::DeliveredRequest;
use super::state::WorkerState;
use crate::error::BoxError;
use crate::handler::{Extent, Handler, HandlerError, HandlerResponse};
use crate::metrics::HandlerFailure;
use crate::response::{report, too_large, unsendable};

impl DeliveredRequest {
    /// Runs the handler and returns its encoded response.
    pub(super) async fn handle<S, B>(
        &self,
        service: S,
        request: Request<Body>,
        context: &FailureContext,
        received: Instant,
        span: &Span,
    ) -> Result<Bytes, DeliveryFailure>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let WorkerState { consumer, settings, .. } = self.state.as_ref();
        let outcome = match settings.handler_timeout {
            None => Some(self.call(service, request).await),
            Some(limit) => timeout(limit, self.call(service, request)).await.ok(),
        };
        let (status, response) = match outcome {
            Some(Ok(collected)) => {
                let status = collected.parts.status;
                let response = match settings.retry_server_errors && status.is_server_error() {
                    true => Err(DeliveryFailure::Status(status)),
                    false => Ok(self.encode(&collected, context)),
                };
                (status, response)
            }
            Some(Err(HandlerError::TooLarge)) => {
                unsendable(&too_large(self.state.room()), consumer, context);
                (StatusCode::BAD_GATEWAY, Ok(self.error_response(context)))
            }
            Some(Err(error)) => {
                report(&error, consumer, context);
                (StatusCode::INTERNAL_SERVER_ERROR, Err(DeliveryFailure::from(error)))
            }
            None => (StatusCode::INTERNAL_SERVER_ERROR, Err(DeliveryFailure::TimedOut)),
        };
        span.record("http.response.status_code", status.as_u16());
        consumer.metrics.handled(status, received.elapsed());
        match response {
            Err(DeliveryFailure::TimedOut) => consumer.metrics.failed(HandlerFailure::TimedOut),
            Err(DeliveryFailure::Status(_)) => consumer.metrics.failed(HandlerFailure::Status),
            // Already counted.
            _ => {}
        }
        response
    }

    /// Calls the service.
    async fn call<S, B>(&self, service: S, request: Request<Body>) -> Result<HandlerResponse, HandlerError>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let WorkerState { slots, consumer, .. } = self.state.as_ref();
        // There is always a free slot, unless the server sent more messages than were requested.
        let slot = slots.try_slot().ok_or_else(|| slots.slot());
        let mut handler = pin!(Handler::new(service, request, slot, Extent::Whole(self.state.room())));
        let mut in_flight = None;
        poll_fn(|cx| {
            let poll = handler.as_mut().poll(cx);
            if in_flight.is_none() && handler.has_started() {
                in_flight = Some(InFlight::new(&consumer.metrics.in_flight));
            }
            poll
        })
        .await
    }
}

/// Counts a request as being handled until dropped.
struct InFlight<'a>(&'a ::metrics::Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a ::metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
