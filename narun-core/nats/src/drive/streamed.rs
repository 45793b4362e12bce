use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_nats::Subject;
use bytes::{Buf, Bytes};
use narun_core::exchange::{Caller, CallerConfig, CallerEvent};
use narun_core::frame::{ResetCode, ResponseFrame};
use narun_core::{Failure, FailureKind, Time};
use pin_project::{pin_project, pinned_drop};

use super::call::{Call, undeliverable};
use super::machine::Hold;
use super::outlet::CallerOutlet;
use super::run::{Application, Drive};
use super::shared::{IncomingBody, SharedMachine};
use crate::inbox::Endpoint;
use crate::link::PublishError;

/// The head of a response, or why there is none.
pub type ResponseStart = Result<Box<ResponseFrame>, Failure>;

/// The response to a streamed exchange: [`IncomingBody::poll_start`] gives its head, then comes the body.
pub type IncomingResponse = IncomingBody<Caller<Subject>, ResponseStart>;

type SharedCaller = Arc<SharedMachine<Caller<Subject>, ResponseStart>>;

/// An exchange of a gateway with a streamed body: a future to be spawned, which ends with the exchange.
///
/// It runs in a task of its own, whatever the HTTP client does with the response: it sends the request's body, responds to
/// PROBEs and enforces the time limits. It ends when the response is complete, when the exchange fails, or when the
/// [`IncomingResponse`] is dropped. Dropped before that, it notifies the consumer, and the response breaks off.
#[pin_project(PinnedDrop)]
pub struct StreamedExchange<B> {
    #[pin]
    drive: Drive<SharedCaller, CallerOutlet>,
    #[pin]
    app: SendBody<B>,
}

/// The application of a streamed exchange: it sends the rest of the request's body.
#[pin_project]
struct SendBody<B> {
    shared: SharedCaller,
    /// The rest of the body. Kept until the response has begun, even if the consumer wants no more of it: an HTTP server may
    /// close the connection when it is dropped.
    #[pin]
    body: Option<B>,
    responded: bool,
}

impl<B> StreamedExchange<B>
where
    B: http_body::Body<Error = Failure>,
{
    /// Sends `frame`, an encoded REQUEST, to the subject `to`, then `body`, which follows the inline bytes that `machine` was
    /// made with. If the body fails, its error becomes the start of the response.
    pub fn new(
        endpoint: Arc<Endpoint>,
        to: Subject,
        frame: Bytes,
        mut machine: Caller<Subject>,
        body: Option<B>,
    ) -> (Self, IncomingResponse) {
        if let Some(at) = endpoint.restored_at() {
            machine.restored_at(at);
        }
        let (shared, incoming) = SharedMachine::new(machine);
        let registration = Some(endpoint.register());
        let outlet = CallerOutlet::new(to, frame).of_many();
        let drive = Drive::new(endpoint, shared.clone(), outlet, registration);
        (Self { drive, app: SendBody { shared, body, responded: false } }, incoming)
    }

    /// Continues a call whose response does not end with its head. The call must have returned that head.
    ///
    /// The head is not given again. The call must not be polled again. The type `B` of the request's body is the caller's
    /// choice, as the request was complete.
    pub fn continue_call(call: Pin<&mut Call>) -> (Self, IncomingResponse) {
        // A placeholder, which is never driven.
        let replacement = Caller::new(Time::ZERO, CallerConfig::default(), 0);
        let (mut drive, incoming) = call.pinned_drive().share(replacement);
        drive.outlet = drive.outlet.of_many();
        let shared = drive.machine_ref().clone();
        (Self { drive, app: SendBody { shared, body: None, responded: true } }, incoming)
    }
}

impl<B: http_body::Body<Error = Failure>> Future for StreamedExchange<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.drive.poll(cx, this.app)
    }
}

impl<B: http_body::Body<Error = Failure>> Application<Caller<Subject>> for SendBody<B> {
    type Output = ();

    /// Sends as much of the body as there is and the machine has credit for.
    fn poll_advance(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        endpoint: &Endpoint,
        machine: &mut impl Hold<Caller<Subject>>,
    ) -> Poll<()> {
        let mut this = self.project();
        loop {
            let (wanted, sent) = machine.with(|caller| (caller.wants_data(), caller.is_sent()));
            if sent && *this.responded && this.body.is_some() {
                this.body.set(None);
            }
            let Some(mut body) = this.body.as_mut().as_pin_mut().filter(|_| wanted) else {
                machine.with(Caller::cork);
                return Poll::Ready(());
            };
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                machine.with(Caller::uncork);
                return Poll::Pending;
            };
            let now = endpoint.now();
            let ended = body.is_end_stream();
            let frame = match frame {
                Some(Err(failure)) => {
                    let code = reset_code(failure.kind());
                    machine.with(|caller| caller.abort(code, "the request's body broke off"));
                    this.shared.give_start(Err(failure));
                    return Poll::Ready(());
                }
                Some(Ok(frame)) => Some(frame.into_data()),
                None => None,
            };
            machine.with(|caller| match frame {
                Some(Ok(mut data)) => {
                    caller.send(now, data.copy_to_bytes(data.remaining()));
                    if ended {
                        caller.finish(now, None);
                    }
                }
                Some(Err(frame)) => caller.finish(now, frame.into_trailers().ok()),
                None => caller.finish(now, None),
            });
        }
    }

    fn event(self: Pin<&mut Self>, event: CallerEvent) -> Option<()> {
        let mut this = self.project();
        this.shared.give_start(match event {
            CallerEvent::Response(response) => Ok(response),
            CallerEvent::Failed(failure) => Err(failure),
        });
        *this.responded = true;
        if SharedMachine::with(this.shared, |caller| caller.is_sent()) {
            this.body.set(None);
        }
        None
    }

    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        _endpoint: &Endpoint,
        machine: &mut impl Hold<Caller<Subject>>,
    ) -> Option<()> {
        machine.with(Caller::cancel);
        self.shared.give_start(Err(undeliverable(error)));
        Some(())
    }

    fn ended(self: Pin<&mut Self>) -> Option<()> {
        Some(())
    }
}

/// The code that tells the consumer why the request's body broke off.
const fn reset_code(kind: FailureKind) -> ResetCode {
    match kind {
        FailureKind::ContentTooLarge => ResetCode::TooLarge,
        _ => ResetCode::Cancel,
    }
}

#[pinned_drop]
impl<B> PinnedDrop for StreamedExchange<B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let mut drive = this.drive;
        let open = drive.as_mut().machine().with(|caller| {
            let open = !caller.is_ended();
            caller.cancel();
            open
        });
        drive.abandon(Waker::noop());
        if open {
            this.app.shared.give_start(Err(FailureKind::Disconnected.into()));
        }
    }
}

impl<B> fmt::Debug for StreamedExchange<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedExchange").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
