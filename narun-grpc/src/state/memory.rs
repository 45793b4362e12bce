//! Limits on the memory that all calls take together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The bytes of requests that are being received, of the process and of each connection.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    limit: usize,
    connection_limit: usize,
    used: Mutex<UsedMemory>,
}

#[derive(Debug, Default)]
struct UsedMemory {
    all: usize,
    connections: HashMap<SocketAddr, usize>,
}

/// The bytes of one request, until this is dropped.
#[derive(Debug)]
pub(crate) struct RequestBytes {
    memory: Arc<RequestMemory>,
    /// The peer, which identifies the connection, if it is known.
    peer: Option<SocketAddr>,
    bytes: usize,
}

/// The bytes of messages that wait for subscribers, of the process or of a tenant.
#[derive(Debug, Default)]
pub(crate) struct WaitingBytes(AtomicUsize);

impl RequestMemory {
    pub(crate) fn new(limit: usize, connection_limit: usize) -> Self {
        Self { limit, connection_limit, used: Mutex::default() }
    }
}

impl RequestBytes {
    /// No bytes yet.
    pub(crate) const fn new(memory: Arc<RequestMemory>, peer: Option<SocketAddr>) -> Self {
        Self { memory, peer, bytes: 0 }
    }

    /// Sets the number of bytes. Returns `false`, and changes nothing, if there is no room for more.
    #[must_use]
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes == self.bytes {
            return true;
        }
        let mut used = self.memory.used.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (used.all - self.bytes).saturating_add(bytes);
        let own = self.peer.and_then(|peer| used.connections.get(&peer)).copied();
        let own = own.map_or(bytes, |own| (own - self.bytes).saturating_add(bytes));
        if bytes > self.bytes && (all > self.memory.limit || own > self.memory.connection_limit) {
            return false;
        }
        used.all = all;
        match (self.peer, own) {
            (None, _) => {}
            (Some(peer), 0) => drop(used.connections.remove(&peer)),
            (Some(peer), own) => drop(used.connections.insert(peer, own)),
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for RequestBytes {
    fn drop(&mut self) {
        let _ = self.set(0);
    }
}

impl WaitingBytes {
    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{RequestBytes, RequestMemory};

    #[test]
    fn requests_share_the_memory_of_the_process_and_of_their_connection() {
        let memory = Arc::new(RequestMemory::new(100, 60));
        let request = |port| RequestBytes::new(memory.clone(), Some(([127, 0, 0, 1], port).into()));
        let (mut one, mut same, mut other) = (request(1), request(1), request(2));
        assert!(one.set(50) && !same.set(20) && same.set(10) && !one.set(51));
        assert!(other.set(40) && !other.set(41));
        drop(one);
        assert!(other.set(41) && same.set(59));
        assert!(!RequestBytes::new(memory.clone(), None).set(1));
        drop((same, other));
        let used = memory.used.lock().unwrap();
        assert_eq!((used.all, used.connections.len()), (0, 0));
    }
}
