use std::collections::VecDeque;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_nats::{Event, ServerError};
use tokio::sync::watch;

use crate::events::{RepeatedEvents, Summary};
use crate::inbox::Endpoint;
use crate::permissions::{Denied, Permission};

/// How many denials are remembered.
const MOST: usize = 256;

/// The events of a NATS client, by which the permissions that it lacks are found.
///
/// async-nats reports a missing permission to the event callback of its options, and nowhere else. Without it, a request
/// that NATS drops for want of a permission waits until it times out. With it, the request fails at once, and a warning in
/// the log names the subject and the permission.
///
/// [`NatsAccess::connect`](crate::NatsAccess::connect) and [`NatsClient::connect`](crate::NatsClient::connect) set the
/// callback. Programs that have an event callback of their own call [`handle`](Self::handle) in it:
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use async_nats::ConnectOptions;
/// use narun_nats::{NatsClient, NatsEvents};
///
/// let events = NatsEvents::new();
/// let handled = events.clone();
/// let options = ConnectOptions::new().event_callback(move |event| {
///     handled.handle(&event);
///     async move { println!("{event}") }
/// });
/// let nats = NatsClient::new(options.connect("127.0.0.1:4222").await?, events);
/// # Ok(())
/// # }
/// ```
///
/// Use one for each client. Cheap to clone: all clones are the same.
#[derive(Clone, Default)]
pub struct NatsEvents(Arc<EventState>);

#[derive(Default)]
struct EventState {
    endpoints: Mutex<Vec<Weak<Endpoint>>>,
    denials: watch::Sender<DenialList>,
    log: RepeatedEvents<Denied>,
}

/// What was denied on this connection: the last denials, and how many there were.
#[derive(Debug, Default)]
struct DenialList {
    count: u64,
    last: VecDeque<(u64, Denied)>,
}

/// The denials of a client from some moment on.
#[derive(Clone, Debug)]
pub struct DenialWatch {
    /// `None` if the client reports none.
    denials: Option<watch::Receiver<DenialList>>,
    /// The number of the last denial that was seen.
    seen: u64,
}

impl NatsEvents {
    /// Creates the events of a client that is still to be connected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the callback for [`ConnectOptions::event_callback`](async_nats::ConnectOptions::event_callback).
    pub fn callback(&self) -> impl Fn(Event) -> Ready<()> + Send + Sync + 'static {
        let events = self.clone();
        move |event| {
            events.handle(&event);
            ready(())
        }
    }

    /// Handles an event of the client. For programs that have an event callback of their own: call it there.
    pub fn handle(&self, event: &Event) {
        match event {
            // The permissions may be others on this connection, and every subscription is made again.
            Event::Connected => self.0.denials.send_modify(|denials| denials.last.clear()),
            Event::ServerError(ServerError::Other(text)) => {
                if let Some(denied) = Denied::parse(text) {
                    self.denied(denied);
                }
            }
            _ => {}
        }
    }

    /// Notifies the exchanges of this endpoint from now on.
    pub(crate) fn listen(&self, endpoint: &Arc<Endpoint>) {
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.strong_count() > 0);
        endpoints.push(Arc::downgrade(endpoint));
    }

    /// Watches for denials from now on.
    pub(crate) fn watch(&self) -> DenialWatch {
        let denials = self.0.denials.subscribe();
        let seen = denials.borrow().count;
        DenialWatch { denials: Some(denials), seen }
    }

    /// Logs how many denials there were like one that was logged. Never completes.
    pub(crate) async fn summarize(&self) {
        let log = |Denied { permission, subject }, Summary { count, .. }| {
            tracing::warn!(%permission, subject, count, "NATS has denied this permission again");
        };
        self.0.log.summarize(log).await;
    }

    fn denied(&self, denied: Denied) {
        self.log(&denied);
        if denied.permission == Permission::Publish {
            let endpoints = self.endpoints().clone();
            for endpoint in endpoints.iter().filter_map(Weak::upgrade) {
                endpoint.deliver_denied(&denied.subject);
            }
        }
        self.0.denials.send_modify(|denials| {
            denials.count += 1;
            if denials.last.len() >= MOST {
                denials.last.pop_front();
            }
            denials.last.push_back((denials.count, denied));
        });
    }

    fn log(&self, denied: &Denied) {
        // The last token of an inbox is random, and one of them is as good as another.
        let Denied { permission, subject } = denied;
        let shown = match subject.rsplit_once('.') {
            Some((inbox, token)) if token.len() >= 22 => format!("{inbox}.*"),
            _ => subject.clone(),
        };
        let shown = Denied::new(*permission, shown);
        if self.0.log.is_first(&shown, "") {
            let Denied { permission, subject } = shown;
            tracing::warn!(%permission, subject, "NATS denies a permission that the user of this client lacks");
        }
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Weak<Endpoint>>> {
        self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DenialWatch {
    /// Watches nothing: the client reports no denials.
    pub(crate) const fn none() -> Self {
        Self { denials: None, seen: 0 }
    }

    /// Watches the same client from now on.
    pub(crate) fn renewed(&self) -> Self {
        let seen = self.denials.as_ref().map_or(0, |denials| denials.borrow().count);
        Self { denials: self.denials.clone(), seen }
    }

    /// Returns when a message to this subject was denied. Pending for ever if none is. Cancel safe.
    pub(crate) async fn publish_denied(&mut self, subject: &str) -> Denied {
        self.next(|denied| denied.permission == Permission::Publish && denied.subject == subject).await
    }

    /// Returns the next denial for which `is_own` returns true. Pending for ever if there is none. Cancel safe.
    pub async fn next(&mut self, is_own: impl Fn(&Denied) -> bool) -> Denied {
        let Self { denials: Some(denials), seen } = self else { return std::future::pending().await };
        loop {
            let found = {
                let list = denials.borrow_and_update();
                let mut new = list.last.iter().filter(|(number, _)| number > seen);
                let found = new.find(|(_, denied)| is_own(denied)).cloned();
                *seen = found.as_ref().map_or(list.count, |(number, _)| *number);
                found
            };
            if let Some((_, denied)) = found {
                return denied;
            }
            if denials.changed().await.is_err() {
                // The client and its events are gone.
                return std::future::pending().await;
            }
        }
    }

    /// Returns whether the last denial that [`next`](Self::next) returned is one of this connection. Otherwise the client has
    /// connected again since, and made its subscriptions again.
    pub(crate) fn is_current(&self) -> bool {
        let Some(denials) = &self.denials else { return false };
        denials.borrow().last.iter().any(|(number, _)| *number == self.seen)
    }
}

impl fmt::Debug for NatsEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsEvents").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn error(text: &str) -> Event {
        Event::ServerError(ServerError::Other(text.to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_found_from_the_start_of_a_watch() {
        let events = NatsEvents::new();
        let denied = error(r#"Permissions Violation for Subscription to "call.TASK.app" using queue "app""#);
        events.handle(&denied);
        let mut watch = events.watch();
        let own = |denied: &Denied| denied.subject == "call.TASK.app";
        assert!(watch.next(own).now_or_never().is_none(), "it was denied before");
        events.handle(&error(r#"Permissions Violation for Subscription to "other""#));
        assert!(watch.next(own).now_or_never().is_none());
        events.callback()(denied.clone()).await;
        events.handle(&error(r#"Permissions Violation for Publish to "call.TASK.app""#));
        let found = watch.next(own).now_or_never();
        assert_eq!(found, Some(Denied::new(Permission::Subscribe, "call.TASK.app".to_owned())));
        assert!(watch.is_current());
        events.handle(&Event::Connected);
        assert!(!watch.is_current(), "the client has subscribed again");
        assert!(watch.next(own).now_or_never().is_none());
        events.handle(&denied);
        assert!(watch.next(own).now_or_never().is_some() && watch.is_current());
        assert!(DenialWatch::none().next(own).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn denials_are_bounded_and_the_last_ones_are_found() {
        let events = NatsEvents::new();
        let mut watch = events.watch();
        for number in 0..2 * MOST {
            events.handle(&error(&format!(r#"Permissions Violation for Publish to "subject.{number}""#)));
        }
        assert_eq!(events.0.denials.borrow().last.len(), MOST);
        let last = format!("subject.{}", 2 * MOST - 1);
        assert!(watch.next(|denied| denied.subject == last).now_or_never().is_some());
    }
}
