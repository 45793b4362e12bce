use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use tonic::Code;

use crate::Method;
use crate::audit::AuditRecord;
use crate::auth::AuthRequest;
use crate::state::ServiceState;

/// The longest text from a client in an audit record, in bytes.
const LONGEST: usize = 256;

/// The record of a call: the call counts as in flight until this is dropped, which writes the audit record.
pub(crate) struct CallRecord {
    state: Arc<ServiceState>,
    method: Method,
    began: Instant,
    /// `None` until the call ends. Dropped before that, the client has left.
    code: Option<Code>,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    audit: Option<Box<Audited>>,
}

/// The fields of the audit record. Only kept if the sink wants records.
struct Audited {
    time: SystemTime,
    principal: Option<String>,
    user: String,
    organization: String,
    peer: Option<std::net::SocketAddr>,
    resource: String,
}

impl CallRecord {
    pub(crate) fn begin(
        state: &Arc<ServiceState>,
        method: Method,
        auth: &AuthRequest<'_>,
        resource: impl FnOnce() -> String,
    ) -> Self {
        state.metrics.of(method).begun();
        let audit = state.audit.enabled().then(|| {
            Box::new(Audited {
                time: SystemTime::now(),
                principal: None,
                user: cut_off(auth.user_id),
                organization: cut_off(auth.organization_id),
                peer: auth.peer,
                resource: cut_off(&resource()),
            })
        });
        Self {
            state: state.clone(),
            method,
            began: Instant::now(),
            code: None,
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            audit,
        }
    }

    /// Sets identity and resource, which a request stream has in its first message.
    pub(crate) fn is_about(&mut self, auth: &AuthRequest<'_>, resource: impl FnOnce() -> String) {
        if let Some(audit) = &mut self.audit {
            audit.user = cut_off(auth.user_id);
            audit.organization = cut_off(auth.organization_id);
            audit.resource = cut_off(&resource());
        }
    }

    /// Sets the authenticated principal.
    pub(crate) fn is_by(&mut self, principal: &str) {
        if let Some(audit) = &mut self.audit {
            audit.principal = Some(cut_off(principal));
        }
    }

    /// Sets how the call ends.
    pub(crate) const fn ends(&mut self, code: Code) {
        self.code = Some(code);
    }

    pub(crate) fn received(&self, messages: u64, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
        self.state.metrics.of(self.method).received(messages, bytes);
    }

    pub(crate) fn sent(&self, messages: u64, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.state.metrics.of(self.method).sent(messages, bytes);
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let (code, duration) = (self.code.unwrap_or(Code::Cancelled), self.began.elapsed());
        self.state.metrics.of(self.method).ended(code, duration);
        let Some(audit) = self.audit.take() else { return };
        let Audited { time, principal, user, organization, peer, resource } = *audit;
        self.state.audit.record(AuditRecord {
            time,
            principal,
            user,
            organization,
            peer,
            method: self.method,
            resource,
            code,
            duration,
            bytes_received: *self.bytes_received.get_mut(),
            bytes_sent: *self.bytes_sent.get_mut(),
        });
    }
}

fn cut_off(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}
