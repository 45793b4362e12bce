use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::Status;

use super::memory::WaitingBytes;
use crate::status;
use crate::tenant::Tenant;

/// The number of tenants kept without an open call or subscription.
const REMEMBERED: usize = 65_536;

/// How long stored bytes and buckets of a tenant are known after a look-up.
const FRESH: Duration = Duration::from_secs(5);

/// The traffic and the live subscriptions of each tenant, at this replica.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<Tenant, Arc<Tally>>>);

/// The traffic and the live subscriptions of a tenant, at this replica.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    subscriptions: AtomicUsize,
    /// The bytes that wait for its subscribers.
    pub(crate) waiting: WaitingBytes,
    /// Held by the call that counts and creates streams, consumers or buckets.
    creating: tokio::sync::Mutex<()>,
    /// The stored bytes of the tenant.
    pub(crate) stored: LookedUp,
    /// The buckets of the tenant.
    pub(crate) buckets: LookedUp,
}

/// An amount of what the NATS server has, and when it was looked up.
#[derive(Debug, Default)]
pub(crate) struct LookedUp(Mutex<Option<(Instant, u64)>>);

/// Counts of messages and bytes.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// A live subscription, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct CountedSubscription(Arc<Tally>);

impl Tallies {
    /// The tally of a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Arc<Tally> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = tallies.get(tenant) {
            return tally.clone();
        }
        // Clients choose the ids, so the memory for them is bounded.
        if tallies.len() >= REMEMBERED {
            tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        tallies.entry(tenant.clone()).or_default().clone()
    }
}

impl Tally {
    /// Counts one more live subscription. Fails over the limit.
    pub(crate) fn subscribe(self: &Arc<Self>, limit: usize) -> Result<CountedSubscription, Status> {
        let counted = CountedSubscription(self.clone());
        // Dropping it on failure takes the count back.
        if self.subscriptions.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(status::over_quota("live subscriptions", limit));
        }
        Ok(counted)
    }

    /// Lets one call at a time count what there is, and create more.
    pub(crate) async fn creating(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.creating.lock().await
    }
}

impl LookedUp {
    /// Sets the amount to the result of a look-up.
    pub(crate) fn found(&self, amount: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), amount));
    }

    /// Adds to the amount if the sum is within the limit, and returns whether it is. Returns `None` if the amount has to be
    /// looked up first.
    pub(crate) fn add(&self, more: u64, limit: u64) -> Option<bool> {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, amount) = amount.as_mut().filter(|(found, _)| found.elapsed() < FRESH)?;
        let sum = amount.saturating_add(more);
        let keeps = sum <= limit;
        if keeps {
            *amount = sum;
        }
        Some(keeps)
    }
}

impl Drop for CountedSubscription {
    fn drop(&mut self) {
        self.0.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{REMEMBERED, Tallies};
    use crate::tenant::Tenant;

    #[test]
    fn tenants_without_subscriptions_are_forgotten() {
        let tallies = Tallies::default();
        let kept = tallies.of(&Tenant::user("kept").unwrap());
        let place = kept.subscribe(1).unwrap();
        for id in 0..=REMEMBERED {
            tallies.of(&Tenant::user(&id.to_string()).unwrap());
        }
        assert!(tallies.0.lock().unwrap().len() < REMEMBERED);
        let kept = tallies.of(&Tenant::user("kept").unwrap());
        assert!(kept.subscribe(1).is_err());
        drop(place);
        assert!(kept.subscribe(1).is_ok());
    }
}
