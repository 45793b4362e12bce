use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use http::Extensions;
use narun_core::fields::grpc_timeout;
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span, field, info_span};

use super::expiry::expiry;
use super::identified::Identified;
use super::record::CallRecord;
use super::{MethodCall, Responses, Streaming, Unary, Weighed};
use crate::auth::{AuthRequest, Authenticated, Principal};
use crate::state::ServiceState;
use crate::state::tally::Tally;
use crate::{Method, SERVICE, status};

impl ServiceState {
    pub(crate) async fn unary<R: Unary>(
        self: &Arc<Self>,
        request: Request<R>,
    ) -> Result<Response<R::Response>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let unidentified = self.unidentified(&metadata, &extensions);
        let deadline = self.deadline(grpc_timeout(metadata.as_ref()), request.patience());
        let mut record =
            CallRecord::begin(self, R::METHOD, &identified(unidentified, &request), || request.resource());
        let span = span(R::METHOD);
        let result = {
            // Pinned in place: a moved future is copied, and takes its size once more.
            let work = pin!(async {
                let call = self.enter(&identified(unidentified, &request), deadline, &mut record).await?;
                self.fitting(call.run(request).await?)
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
        let unidentified = self.unidentified(&metadata, &extensions);
        let asked = grpc_timeout(metadata.as_ref());
        let deadline = self.deadline(asked, Duration::ZERO);
        let mut record =
            CallRecord::begin(self, R::METHOD, &identified(unidentified, &request), || request.resource());
        let span = span(R::METHOD);
        let result = {
            let work = pin!(async {
                let auth = identified(unidentified, &request);
                let call = self.enter(&auth, deadline, &mut record).await?;
                let expiry = call.until.map(|until| expiry(&call, &auth, until));
                let items = call.connection().repeat(|| request.clone().open(&call)).await?;
                Ok((items, call.tally, expiry))
            });
            timeout_at(deadline, work.instrument(span)).await
        };
        match result.unwrap_or_else(|_| Err(status::late())) {
            Ok((items, tally, expiry)) => {
                // An open response stream has no deadline unless the client set one.
                let sleep = asked.map(|_| Box::pin(tokio::time::sleep_until(deadline)));
                let state = self.clone();
                Ok(Response::new(Box::pin(Recorded {
                    state,
                    items: Box::pin(items),
                    sleep,
                    expiry,
                    tally,
                    record,
                })))
            }
            Err(status) => {
                record.ends(status.code());
                Err(status)
            }
        }
    }

    /// A call whose request is a gRPC stream. After the first message, only a deadline of the client's ends it.
    pub(crate) async fn client_streaming<R: Identified, T>(
        self: &Arc<Self>,
        method: Method,
        request: Request<tonic::Streaming<R>>,
        work: impl AsyncFnOnce(&MethodCall<'_>, R, tonic::Streaming<R>) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let asked = grpc_timeout(metadata.as_ref());
        let deadline = self.deadline(asked, Duration::ZERO);
        let unidentified = self.unidentified(&metadata, &extensions);
        let mut record = CallRecord::begin(self, method, &unidentified, String::new);
        let work = async {
            let first = timeout_at(deadline, next_of(&mut messages)).await;
            let first = first.unwrap_or_else(|_| Err(status::late()))?;
            let first = first.ok_or_else(|| Status::invalid_argument("the request has no message"))?;
            let auth = identified(unidentified, &first);
            record.is_about(&auth, || first.resource());
            let call = self.enter(&auth, deadline, &mut record).await?;
            match call.until.map(|until| expiry(&call, &auth, until)) {
                None => work(&call, first, messages).await,
                Some(expiry) => tokio::select! {
                    result = work(&call, first, messages) => result,
                    status = expiry => Err(status),
                },
            }
        };
        let work = work.instrument(span(method));
        let result = match asked {
            Some(_) => timeout_at(deadline, work).await.unwrap_or_else(|_| Err(status::late())),
            None => work.await,
        };
        record.ends(code(&result));
        result.map(Response::new)
    }

    /// A unary call without authentication, of no tenant.
    pub(crate) async fn anonymous<T>(
        self: &Arc<Self>,
        method: Method,
        metadata: &MetadataMap,
        extensions: &Extensions,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let mut record =
            CallRecord::begin(self, method, &self.unidentified(metadata, extensions), String::new);
        let deadline = self.deadline(grpc_timeout(metadata.as_ref()), Duration::ZERO);
        let result = timeout_at(deadline, work.instrument(span(method))).await;
        let result = result.unwrap_or_else(|_| Err(status::late()));
        record.ends(code(&result));
        result.map(Response::new)
    }

    /// When the message of a request must have arrived, and the peer.
    pub(crate) fn arrival(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> (Instant, Option<SocketAddr>) {
        let asked = grpc_timeout(metadata.as_ref()).unwrap_or(self.longest);
        let peer = self.peer.as_ref().and_then(|peer| peer(extensions));
        (Instant::now() + asked.min(self.longest), peer)
    }

    /// Authenticates the caller before the message is read.
    pub(crate) async fn authenticate_early(
        self: &Arc<Self>,
        method: Method,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<Principal, Status> {
        let auth = self.unidentified(metadata, extensions);
        let deadline = self.deadline(grpc_timeout(metadata.as_ref()), Duration::ZERO);
        let result = timeout_at(deadline, self.authenticator.authenticate(&auth)).await;
        let result = result.unwrap_or_else(|_| Err(status::late()));
        if let Err(status) = &result {
            CallRecord::begin(self, method, &auth, String::new).ends(status.code());
        }
        result
    }

    /// Fails if a response is larger than clients take.
    fn fitting<T: Message>(&self, response: T) -> Result<T, Status> {
        match response.encoded_len() {
            size if size > self.response_limit => Err(status::response_too_large(size, self.response_limit)),
            _ => Ok(response),
        }
    }

    /// What is known of a call before its request is read.
    fn unidentified<'a>(&self, metadata: &'a MetadataMap, extensions: &'a Extensions) -> AuthRequest<'a> {
        let peer = self.peer.as_ref().and_then(|peer| peer(extensions));
        AuthRequest { metadata, extensions, peer, user_id: "", organization_id: "" }
    }

    fn deadline(&self, asked: Option<Duration>, patience: Duration) -> Instant {
        let own = self.timeout.saturating_add(patience).min(self.longest);
        Instant::now() + asked.map_or(own, |asked| asked.min(self.longest))
    }

    /// Authenticates the caller and looks up its tenant.
    async fn enter<'a>(
        self: &'a Arc<Self>,
        auth: &AuthRequest<'_>,
        deadline: Instant,
        record: &'a mut CallRecord,
    ) -> Result<MethodCall<'a>, Status> {
        let principal = match auth.extensions.get() {
            Some(Authenticated(principal)) => principal.clone(),
            None => self.authenticator.authenticate(auth).await?,
        };
        record.is_by(principal.name());
        principal.check(auth.user_id, auth.organization_id)?;
        let space = self.tenancy.space(&principal, auth.user_id, auth.organization_id).await?;
        let tally = self.tallies.of(&space.tenant);
        Ok(MethodCall { state: self, space, tally, until: principal.end(), deadline, record })
    }
}

/// Adds the identity fields of the request.
fn identified<'a>(base: AuthRequest<'a>, request: &'a impl Identified) -> AuthRequest<'a> {
    AuthRequest { user_id: request.user_id(), organization_id: request.organization_id(), ..base }
}

/// The next message of a request stream. Returns `None` at its end.
pub(crate) async fn next_of<R>(messages: &mut tonic::Streaming<R>) -> Result<Option<R>, Status> {
    let next = messages.message().await.map_err(|status| match status.code() {
        // The client has left, or has cancelled the call.
        Code::Unknown => Status::cancelled("the request was cancelled"),
        _ => status,
    })?;
    if next.is_none() {
        // tonic ends a cancelled stream in the same way, and drops its call at the next wait: wait once.
        tokio::task::yield_now().await;
    }
    Ok(next)
}

/// A stream of responses, recorded until it ends or is dropped.
struct Recorded<S> {
    state: Arc<ServiceState>,
    items: Pin<Box<S>>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    expiry: Option<BoxFuture<'static, Status>>,
    tally: Arc<Tally>,
    record: CallRecord,
}

impl<T: Message + Weighed, S: Stream<Item = Result<T, Status>>> Stream for Recorded<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let late = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        let expired = self.expiry.as_mut().map_or(Poll::Pending, |expiry| expiry.as_mut().poll(cx));
        let item = match expired {
            Poll::Ready(status) => Poll::Ready(Some(Err(status))),
            Poll::Pending if late => Poll::Ready(Some(Err(status::late()))),
            Poll::Pending => self.items.as_mut().poll_next(cx),
        };
        let item = item.map(|item| item.map(|item| self.state.fitting(item?)));
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
