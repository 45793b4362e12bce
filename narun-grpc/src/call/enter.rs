use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use http::Extensions;
use narun_core::fields::grpc_timeout;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span, field, info_span};

use super::identified::Identified;
use super::record::CallRecord;
use super::{MethodCall, Responses, Streaming, Unary, Weighed};
use crate::auth::AuthRequest;
use crate::state::ServiceState;
use crate::state::tally::Tally;
use crate::{Method, SERVICE, status};

impl ServiceState {
    pub(crate) async fn unary<R: Unary>(
        self: &Arc<Self>,
        request: Request<R>,
    ) -> Result<Response<R::Response>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let nobody = self.nobody(&metadata, &extensions);
        let deadline = self.deadline(grpc_timeout(metadata.as_ref()), request.patience());
        let mut record = CallRecord::begin(self, R::METHOD, &named(nobody, &request), || request.resource());
        let span = span(R::METHOD);
        let result = {
            // Pinned where it is made: what is moved takes its place, and is copied, once more each time.
            let work = pin!(async {
                let call = self.enter(&named(nobody, &request), deadline, &mut record).await?;
                request.run(&call).await
            });
            timeout_at(deadline, work.instrument(span.clone())).await
        };
        let result = result.unwrap_or_else(|_| Err(status::late()));
        record.ends(code(&result));
        span.record("rpc.grpc.status_code", i32::from(code(&result)));
        result.map(Response::new)
    }

    pub(crate) async fn streaming<R: Streaming>(
        self: &Arc<Self>,
        request: Request<R>,
    ) -> Result<Response<Responses<R::Item>>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let nobody = self.nobody(&metadata, &extensions);
        let asked = grpc_timeout(metadata.as_ref());
        let deadline = self.deadline(asked, Duration::ZERO);
        let mut record = CallRecord::begin(self, R::METHOD, &named(nobody, &request), || request.resource());
        let span = span(R::METHOD);
        let result = {
            let work = pin!(async {
                let call = self.enter(&named(nobody, &request), deadline, &mut record).await?;
                Ok((request.open(&call).await?, call.tally))
            });
            timeout_at(deadline, work.instrument(span)).await
        };
        match result.unwrap_or_else(|_| Err(status::late())) {
            Ok((items, tally)) => {
                // A stream lives on after it was opened, unless the client itself has set an end to it.
                let sleep = asked.map(|_| Box::pin(tokio::time::sleep_until(deadline)));
                Ok(Response::new(Box::pin(Recorded { items: Box::pin(items), sleep, tally, record })))
            }
            Err(status) => {
                record.ends(status.code());
                Err(status)
            }
        }
    }

    /// A call whose request is a stream. Once its first message has come, it has no end but that which the client sets.
    pub(crate) async fn client_streaming<R: Identified, T>(
        self: &Arc<Self>,
        method: Method,
        request: Request<tonic::Streaming<R>>,
        work: impl AsyncFnOnce(&MethodCall<'_>, R, tonic::Streaming<R>) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let asked = grpc_timeout(metadata.as_ref());
        let deadline = self.deadline(asked, Duration::ZERO);
        let nobody = self.nobody(&metadata, &extensions);
        let mut record = CallRecord::begin(self, method, &nobody, String::new);
        let work = async {
            let first = timeout_at(deadline, next_of(&mut messages)).await;
            let first = first.unwrap_or_else(|_| Err(status::late()))?;
            let first = first.ok_or_else(|| Status::invalid_argument("there is no first message"))?;
            let caller = named(nobody, &first);
            record.is_about(&caller, || first.resource());
            let call = self.enter(&caller, deadline, &mut record).await?;
            work(&call, first, messages).await
        };
        let work = work.instrument(span(method));
        let result = match asked {
            Some(_) => timeout_at(deadline, work).await.unwrap_or_else(|_| Err(status::late())),
            None => work.await,
        };
        record.ends(code(&result));
        result.map(Response::new)
    }

    /// A unary call that belongs to nobody.
    pub(crate) async fn anonymous<T>(
        self: &Arc<Self>,
        method: Method,
        metadata: &MetadataMap,
        extensions: &Extensions,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let mut record = CallRecord::begin(self, method, &self.nobody(metadata, extensions), String::new);
        let deadline = self.deadline(grpc_timeout(metadata.as_ref()), Duration::ZERO);
        let result = timeout_at(deadline, work.instrument(span(method))).await;
        let result = result.unwrap_or_else(|_| Err(status::late()));
        record.ends(code(&result));
        result.map(Response::new)
    }

    /// Who calls without having said who that is.
    fn nobody<'a>(&self, metadata: &'a MetadataMap, extensions: &'a Extensions) -> AuthRequest<'a> {
        let peer = self.peer.as_ref().and_then(|peer| peer(extensions));
        AuthRequest { metadata, extensions, peer, user_id: "", organization_id: "" }
    }

    fn deadline(&self, asked: Option<Duration>, patience: Duration) -> Instant {
        let own = self.timeout.saturating_add(patience).min(self.longest);
        Instant::now() + asked.map_or(own, |asked| asked.min(self.longest))
    }

    /// Finds out who is calling, and whose names the call is about.
    async fn enter<'a>(
        self: &'a Arc<Self>,
        caller: &AuthRequest<'_>,
        deadline: Instant,
        record: &'a mut CallRecord,
    ) -> Result<MethodCall<'a>, Status> {
        let principal = self.authenticator.authenticate(caller).await?;
        record.is_by(principal.name());
        principal.check(caller.user_id, caller.organization_id)?;
        let space = self.tenancy.space(&principal, caller.user_id, caller.organization_id).await?;
        let tally = self.tallies.of(&space.tenant);
        Ok(MethodCall { state: self, space, tally, deadline, record })
    }
}

/// Who calls, as the request says.
fn named<'a>(nobody: AuthRequest<'a>, request: &'a impl Identified) -> AuthRequest<'a> {
    AuthRequest { user_id: request.user_id(), organization_id: request.organization_id(), ..nobody }
}

/// The next message of a client's stream.
pub(crate) async fn next_of<R>(messages: &mut tonic::Streaming<R>) -> Result<Option<R>, Status> {
    let next = messages.message().await.map_err(|status| match status.code() {
        // The client has left, or has broken it off.
        Code::Unknown => Status::cancelled("the stream broke off"),
        _ => status,
    })?;
    if next.is_none() {
        // That is what tonic makes of a cancelled stream too, whose call is dropped as soon as it waits for anything.
        tokio::task::yield_now().await;
    }
    Ok(next)
}

/// A stream of responses with its record, which ends with it.
struct Recorded<S> {
    items: Pin<Box<S>>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    tally: Arc<Tally>,
    record: CallRecord,
}

impl<T: Weighed, S: Stream<Item = Result<T, Status>>> Stream for Recorded<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let late = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        let item =
            if late { Poll::Ready(Some(Err(status::late()))) } else { self.items.as_mut().poll_next(cx) };
        match &item {
            Poll::Ready(Some(Ok(item))) => {
                self.tally.sent.add(1, item.weight());
                self.record.sent(1, item.weight());
            }
            Poll::Ready(Some(Err(status))) => self.record.ends(status.code()),
            Poll::Ready(None) => self.record.ends(Code::Ok),
            Poll::Pending => {}
        }
        item
    }
}

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

fn span(method: Method) -> Span {
    info_span!(
        "nats_grpc.call",
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = SERVICE,
        rpc.method = method.name(),
        rpc.grpc.status_code = field::Empty,
    )
}
