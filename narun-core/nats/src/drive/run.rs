use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use narun_core::Time;
use narun_core::exchange::ConnectionChange;
use pin_project::pin_project;

use super::machine::{Hold, Machine, Owned};
use super::outlet::Outlet;
use super::shared::{IncomingBody, ReadBody, SharedMachine};
use crate::clock::Timer;
use crate::inbox::{Endpoint, Mail, Registration};
use crate::link::{Outgoing, PublishError};

/// How many rounds an exchange makes before it yields to other tasks. The client's task is among them: published messages wait
/// for it in memory.
const ROUNDS: usize = 4;

/// How many messages are handed to the machine in each round, and while the client's queue is full.
const BATCH: usize = 64;

/// How long the RESETs of an exchange that was given up wait for room in the client's queue.
const LAST: Duration = Duration::from_secs(5);

/// One exchange being driven: its machine, its tokens and mail, its timer, and the message that waits for room.
#[pin_project]
pub struct Drive<H, O> {
    endpoint: Arc<Endpoint>,
    machine: H,
    pub(super) outlet: O,
    registration: Option<Registration>,
    /// The epoch of the connection on which it began.
    epoch: u64,
    outgoing: Outgoing,
    /// How many messages were handled since the client's queue is full.
    taken_while_full: usize,
    /// Since when the exchange is given up.
    given_up_at: Option<Time>,
    #[pin]
    timer: Timer,
}

/// The part of an exchange at this end that is no frame: a handler that runs, a body that is read.
pub trait Application<M: Machine> {
    /// The result of the exchange at this end.
    type Output;

    /// Proceeds as far as the machine permits. Pending if it waits for anything but the machine; the task is woken then.
    fn poll_advance(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        endpoint: &Endpoint,
        machine: &mut impl Hold<M>,
    ) -> Poll<()>;

    /// An event of the machine. Returns the result if that is the last thing to wait for.
    fn event(self: Pin<&mut Self>, event: M::Event) -> Option<Self::Output>;

    /// An output of the machine was not published. Returns the result if the exchange cannot continue without it.
    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        endpoint: &Endpoint,
        machine: &mut impl Hold<M>,
    ) -> Option<Self::Output>;

    /// The machine has ended. Returns `None` if the result was taken before, so that there is nothing to wait for.
    fn ended(self: Pin<&mut Self>) -> Option<Self::Output>;
}

impl<H, O> Drive<H, O> {
    /// Drives a machine. `registration` may be left out if the other side does not need to know a token at first.
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        machine: H,
        outlet: O,
        registration: Option<Registration>,
    ) -> Self {
        let (timer, epoch) = (endpoint.timer(), endpoint.epoch());
        Self {
            endpoint,
            machine,
            outlet,
            registration,
            epoch,
            outgoing: Outgoing::default(),
            taken_while_full: 0,
            given_up_at: None,
            timer,
        }
    }

    /// Where the machine is kept.
    pub fn machine(self: Pin<&mut Self>) -> &mut H {
        self.project().machine
    }

    pub(super) const fn machine_ref(&self) -> &H {
        &self.machine
    }

    /// Drives the exchange until the application has its result.
    ///
    /// Timeouts elapse and events are handled while the client's queue is full, too. An exchange that is given up does not
    /// wait for a connection: its RESETs are left to [`Drive::abandon`].
    ///
    /// Cancel safe: it can be polled again with another application.
    pub fn poll<M, A>(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut app: Pin<&mut A>) -> Poll<A::Output>
    where
        M: Machine,
        H: Hold<M>,
        O: Outlet<M::Transmit>,
        A: Application<M>,
    {
        // Messages that have arrived are handled before the application proceeds.
        self.as_mut().take_mail(cx);
        for _ in 0..ROUNDS {
            let waits = self.as_mut().poll_advance(cx, app.as_mut()).is_pending();
            let is_full = loop {
                if self.as_mut().leaves_rest() {
                    break false;
                }
                match self.as_mut().poll_transmit(cx) {
                    Poll::Ready(Err(error)) => {
                        let this = self.as_mut().project();
                        if let Some(output) = app.as_mut().unsent(error, this.endpoint, this.machine) {
                            return Poll::Ready(output);
                        }
                    }
                    published => break published.is_pending(),
                }
            };
            let this = self.as_mut().project();
            if let Some(event) = this.machine.with(M::poll_event)
                && let Some(output) = app.as_mut().event(event)
            {
                return Poll::Ready(output);
            }
            if this.machine.with(|machine| machine.is_ended()) {
                if !is_full {
                    return app.ended().map_or(Poll::Pending, Poll::Ready);
                }
                // The last frames are not dropped: this waits until they have been published.
                ready!(self.as_mut().poll_last(cx));
                continue;
            }
            // Messages that were sent have made room for more of the body. Nothing wakes this task for that.
            let proceeds = !waits && !is_full && this.machine.with(|machine| machine.wants_data());
            if self.as_mut().take_mail(cx) || proceeds {
                continue;
            }
            ready!(self.as_mut().poll_timeout(cx));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets the application proceed once, and publishes what results. Returns `true` if the exchange has ended with that.
    ///
    /// No wake-up is registered. If it has not ended, [`Drive::poll`] must be called.
    pub fn try_finish<M, A>(mut self: Pin<&mut Self>, app: Pin<&mut A>) -> bool
    where
        M: Machine,
        H: Hold<M>,
        O: Outlet<M::Transmit>,
        A: Application<M>,
    {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.as_mut().poll_advance(&mut cx, app);
        self.as_mut().machine().with(|machine| machine.is_ended()) && self.poll_transmit(&mut cx).is_ready()
    }

    /// Publishes the remaining output of the machine without waiting for room in the client's queue.
    ///
    /// For use on drop, after the machine was ended. A peer that misses a frame gets RESET(gone) for its next one.
    pub fn abandon<M>(self: Pin<&mut Self>, here: &Waker)
    where
        M: Machine,
        H: Hold<M>,
        O: Outlet<M::Transmit>,
    {
        let this = self.project();
        while let Some(transmit) = this.machine.with(M::poll_transmit) {
            let message = this.outlet.message(this.endpoint, this.registration, transmit);
            let _ = this.endpoint.link().try_publish(&message);
        }
        this.machine.wake_reader(here);
    }

    fn poll_advance<M, A>(self: Pin<&mut Self>, cx: &mut Context<'_>, app: Pin<&mut A>) -> Poll<()>
    where
        M: Machine,
        H: Hold<M>,
        A: Application<M>,
    {
        let this = self.project();
        if this.machine.with(|machine| machine.is_ended()) {
            return Poll::Pending;
        }
        let endpoint = &*this.endpoint;
        if this.registration.is_none() && !(endpoint.is_connected() && endpoint.epoch() == *this.epoch) {
            // Without a token it gets no mail. From now on it does.
            this.registration.insert(endpoint.register()).reply(0);
            let now = endpoint.now();
            let mut notify = |change| {
                M::handle_mail(this.machine, now, Mail::Connection(change), endpoint.limits());
            };
            notify(ConnectionChange::Lost);
            if endpoint.is_connected() {
                notify(ConnectionChange::Restored);
            }
        }
        // While the application runs in this task, the reader need not wake it: output is published before it returns.
        this.machine.set_driver(None);
        let advanced = app.poll_advance(cx, this.endpoint, this.machine);
        if this.machine.set_driver(Some(cx.waker())) {
            this.machine.with(M::handle_reader_dropped);
        }
        advanced
    }

    /// Returns whether the exchange is given up, and what is left to publish does not wait any longer.
    fn leaves_rest<M>(self: Pin<&mut Self>) -> bool
    where
        M: Machine,
        H: Hold<M>,
    {
        let this = self.project();
        if !this.machine.with(|machine| machine.has_given_up()) {
            return false;
        }
        let now = this.endpoint.now();
        if this.given_up_at.is_none() {
            // It was made before the end, and would be out of date: a request whose client has got its response, for one.
            *this.outgoing = Outgoing::default();
        }
        let since = *this.given_up_at.get_or_insert(now);
        !this.endpoint.is_connected() || now - since >= LAST
    }

    /// Pending while what is left to publish waits for room in the client's queue. Ready when it must not wait any longer.
    fn poll_last<M>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>
    where
        M: Machine,
        H: Hold<M>,
    {
        let this = self.project();
        if !this.machine.with(|machine| machine.has_given_up()) {
            return Poll::Pending;
        }
        // It may have been given up by the reader, after the last look.
        let Some(since) = *this.given_up_at else { return Poll::Ready(()) };
        this.timer.poll_until(cx, since + LAST)
    }

    /// Publishes the machine's output. Pending while the client's queue is full.
    fn poll_transmit<M>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>>
    where
        M: Machine,
        H: Hold<M>,
        O: Outlet<M::Transmit>,
    {
        let this = self.project();
        loop {
            ready!(this.outgoing.poll_ready(cx))?;
            let Some(transmit) = this.machine.with(M::poll_transmit) else { return Poll::Ready(Ok(())) };
            let message = this.outlet.message(this.endpoint, this.registration, transmit);
            if this.endpoint.is_denied(&message.to) {
                let denied = Mail::Denied(message.to);
                M::handle_mail(this.machine, this.endpoint.now(), denied, this.endpoint.limits());
                continue;
            }
            this.outgoing.send(this.endpoint.link(), message)?;
        }
    }

    /// Hands messages to the machine. Returns `true` if there were any.
    fn take_mail<M>(self: Pin<&mut Self>, cx: &Context<'_>) -> bool
    where
        M: Machine,
        H: Hold<M>,
        O: Outlet<M::Transmit>,
    {
        let this = self.project();
        let Some(registration) = this.registration else { return false };
        // Each message may cause another frame. While none can be published, few are handled, and the others stay in the
        // mailbox, which is bounded.
        if !this.outgoing.is_waiting() {
            *this.taken_while_full = 0;
        }
        let most = BATCH - *this.taken_while_full;
        let mut taken = 0;
        while taken < most
            && let Poll::Ready(mail) = registration.mailbox().poll_take(cx)
        {
            match mail {
                Mail::Denied(subject) if !this.outlet.publishes_to(&subject) => {}
                mail => M::handle_mail(this.machine, this.endpoint.now(), mail, this.endpoint.limits()),
            }
            taken += 1;
        }
        if this.outgoing.is_waiting() {
            *this.taken_while_full += taken;
        }
        if taken > 0 {
            this.machine.wake_reader(cx.waker());
        }
        taken > 0
    }

    /// Ready after a timeout of the machine has elapsed and was handled.
    fn poll_timeout<M>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>
    where
        M: Machine,
        H: Hold<M>,
    {
        let this = self.project();
        let Some(deadline) = this.machine.with(|machine| machine.poll_timeout()) else {
            return Poll::Pending;
        };
        ready!(this.timer.poll_until(cx, deadline));
        let now = this.endpoint.now();
        this.machine.with(|machine| machine.handle_timeout(now));
        this.machine.wake_reader(cx.waker());
        Poll::Ready(())
    }
}

/// The drive of a shared machine, and the reader of the other side's body.
type SharedDrive<M, T, O> = (Drive<Arc<SharedMachine<M, T>>, O>, IncomingBody<M, T>);

impl<M: ReadBody, O: Clone> Drive<Owned<M>, O> {
    /// Moves the machine to where a reader of the other side's body shares it, and everything else with it.
    ///
    /// `replacement` is left in its place. This drive must not be polled again.
    pub(super) fn share<T>(self: Pin<&mut Self>, replacement: M) -> SharedDrive<M, T, O> {
        let this = self.project();
        let (machine, incoming) = SharedMachine::new(std::mem::replace(&mut this.machine.0, replacement));
        let mut shared =
            Drive::new(this.endpoint.clone(), machine, this.outlet.clone(), this.registration.take());
        // A frame may still wait for room in the client's queue.
        shared.outgoing = std::mem::take(this.outgoing);
        (shared, incoming)
    }

    /// The machine, before the drive is pinned.
    pub(super) const fn owned_mut(&mut self) -> &mut M {
        &mut self.machine.0
    }
}

impl<H, O> fmt::Debug for Drive<H, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive").field("outgoing", &self.outgoing).finish_non_exhaustive()
    }
}
