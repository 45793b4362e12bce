use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::Status;

use crate::status;
use crate::tenant::Tenant;

/// Tenants that are remembered while nothing of theirs is going on.
const REMEMBERED: usize = 65_536;

/// For how long it is known what a tenant has stored.
const STORED_FRESH: Duration = Duration::from_secs(5);

/// What went through here for each tenant, and what it has open.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<Tenant, Arc<Tally>>>);

/// What went through here for a tenant, and what it has open.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    subscriptions: AtomicUsize,
    /// When it was looked up what the tenant has stored, and what it has.
    stored: Mutex<Option<(Instant, u64)>>,
}

/// Messages and bytes.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// A place among a tenant's live subscriptions.
#[derive(Debug)]
pub(crate) struct Place(Arc<Tally>);

impl Tallies {
    /// That of a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Arc<Tally> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = tallies.get(tenant) {
            return tally.clone();
        }
        // Ids are the clients' choice: the memory for them has a limit.
        if tallies.len() >= REMEMBERED {
            tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        }
        tallies.entry(tenant.clone()).or_default().clone()
    }
}

impl Tally {
    /// A place for one more subscription.
    pub(crate) fn subscribe(self: &Arc<Self>, limit: usize) -> Result<Place, Status> {
        let place = Place(self.clone());
        // The place gives back what it took, if that was too much.
        if self.subscriptions.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(status::over_quota("live subscriptions", limit));
        }
        Ok(place)
    }

    /// What is stored, as found.
    pub(crate) fn found_stored(&self, bytes: u64) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), bytes));
    }

    /// Adds to what is stored, if that is known well enough: whether it keeps to the limit, and then is added.
    pub(crate) fn store(&self, bytes: u64, limit: u64) -> Option<bool> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, stored) = stored.as_mut().filter(|(found, _)| found.elapsed() < STORED_FRESH)?;
        let sum = stored.saturating_add(bytes);
        let keeps = sum <= limit;
        if keeps {
            *stored = sum;
        }
        Some(keeps)
    }
}

impl Drop for Place {
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
    fn tenants_are_forgotten_unless_in_use() {
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
