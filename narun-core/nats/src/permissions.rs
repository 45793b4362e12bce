use std::collections::HashMap;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_nats::{Event, ServerError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::inbox::Endpoint;

/// How many denials are remembered, of each kind.
const MOST: usize = 256;

/// How often the same denial is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The events of a NATS client, by which the permissions that it lacks are found.
///
/// async-nats reports a missing permission to the event callback of its options, and nowhere else. Without it, a request
/// that NATS drops for want of a permission waits until it times out. With it, the request fails at once, and a warning in
/// the log names the subject and the permission.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use async_nats::ConnectOptions;
/// use narun_nats::NatsEvents;
///
/// let events = NatsEvents::new();
/// let nats = ConnectOptions::new().event_callback(events.callback()).connect("127.0.0.1:4222").await?;
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
    /// The subscriptions that were denied on this connection.
    subscriptions: watch::Sender<Vec<String>>,
    /// When each denial was last logged.
    logged: Mutex<HashMap<Denied, Instant>>,
}

/// The NATS server does not grant this permission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the NATS user lacks the permission to {permission} to `{subject}`")]
#[non_exhaustive]
pub struct Denied {
    /// The permission that is missing.
    pub permission: Permission,
    /// The subject of the message or subscription.
    pub subject: String,
}

/// A permission of a NATS user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// To publish to a subject.
    Publish,
    /// To subscribe to a subject.
    Subscribe,
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
            Event::Connected => {
                self.0.subscriptions.send_replace(Vec::new());
            }
            Event::ServerError(ServerError::Other(text)) => {
                if let Some(denied) = Denied::parse(text) {
                    self.denied(denied);
                }
            }
            _ => {}
        }
    }

    /// Notifies the exchanges of this endpoint from now on.
    pub fn listen(&self, endpoint: &Arc<Endpoint>) {
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.strong_count() > 0);
        endpoints.push(Arc::downgrade(endpoint));
    }

    /// Completes when a subscription to one of these subjects was denied. Pending for ever if none is. Cancel safe.
    pub async fn subscription_denied(&self, subjects: &[String]) -> Denied {
        let mut denied = self.0.subscriptions.subscribe();
        loop {
            let own = denied.borrow_and_update().iter().find(|subject| subjects.contains(subject)).cloned();
            if let Some(subject) = own {
                return Denied::new(Permission::Subscribe, subject);
            }
            // Its sender lives as long as `self`, so there is no error.
            let _ = denied.changed().await;
        }
    }

    fn denied(&self, denied: Denied) {
        self.log(&denied);
        let Denied { permission, subject } = denied;
        match permission {
            Permission::Publish => {
                let endpoints = self.endpoints().clone();
                for endpoint in endpoints.iter().filter_map(Weak::upgrade) {
                    endpoint.deliver_denied(&subject);
                }
            }
            Permission::Subscribe => self.0.subscriptions.send_modify(|denied| {
                if denied.len() < MOST && !denied.contains(&subject) {
                    denied.push(subject);
                }
            }),
        }
    }

    fn log(&self, denied: &Denied) {
        // The last token of an inbox is random, and one of them is as good as another.
        let Denied { permission, subject } = denied;
        let shown = match subject.rsplit_once('.') {
            Some((inbox, token)) if token.len() >= 22 => format!("{inbox}.*"),
            _ => subject.clone(),
        };
        let now = Instant::now();
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now - *at < LOG_EVERY);
        let shown = Denied::new(*permission, shown);
        if logged.len() >= MOST || logged.contains_key(&shown) {
            return;
        }
        logged.insert(shown.clone(), now);
        drop(logged);
        let Denied { permission, subject } = shown;
        tracing::warn!(%permission, subject, "NATS denies a permission that the user of this client lacks");
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Weak<Endpoint>>> {
        self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denied {
    /// Creates the error of a missing permission.
    pub const fn new(permission: Permission, subject: String) -> Self {
        Self { permission, subject }
    }

    /// Reads the text of a server's error. Returns `None` if that is about anything else.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("Permissions Violation for ")?;
        let (permission, quoted) = match text.strip_prefix("Publish to ") {
            Some(quoted) => (Permission::Publish, quoted),
            None => (Permission::Subscribe, text.strip_prefix("Subscription to ")?),
        };
        // A queue group may follow.
        let subject = quoted.strip_prefix('"')?.split('"').next()?;
        Some(Self::new(permission, subject.to_owned()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        })
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

    #[test]
    fn the_texts_of_servers_are_read() {
        let denied = |permission, subject: &str| Some(Denied::new(permission, subject.to_owned()));
        for (text, expected) in [
            (r#"Permissions Violation for Publish to "call.A.b""#, denied(Permission::Publish, "call.A.b")),
            (r#"Permissions Violation for Subscription to "a.*""#, denied(Permission::Subscribe, "a.*")),
            (
                r#"Permissions Violation for Subscription to "call.A.b" using queue "b""#,
                denied(Permission::Subscribe, "call.A.b"),
            ),
            (r#"Permissions Violation for Publish with Reply of "a""#, None),
            ("Permissions Violation for Publish to", None),
            ("Maximum Connections Exceeded", None),
        ] {
            assert_eq!(Denied::parse(text), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_subscription_is_found_until_the_next_connection() {
        let events = NatsEvents::new();
        let own = ["_INBOX.a.*".to_owned(), "call.TASK.app".to_owned()];
        events.handle(&error(r#"Permissions Violation for Subscription to "other""#));
        assert!(events.subscription_denied(&own).now_or_never().is_none());
        events.callback()(error(
            r#"Permissions Violation for Subscription to "call.TASK.app" using queue "app""#,
        ))
        .await;
        let denied = events.subscription_denied(&own).await;
        assert_eq!(denied, Denied::new(Permission::Subscribe, own[1].clone()));
        events.handle(&Event::Connected);
        assert!(events.subscription_denied(&own).now_or_never().is_none());
    }
}
