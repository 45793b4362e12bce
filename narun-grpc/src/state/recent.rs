use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// The number of deliveries kept; about 200 bytes each.
const REMEMBERED: usize = 32_768;

/// The reply subjects of recently delivered messages, for clients that acknowledge without a token.
#[derive(Debug, Default)]
pub(crate) struct RecentDeliveries(Mutex<DeliveryTable>);

#[derive(Debug, Default)]
struct DeliveryTable {
    subjects: HashMap<Key, String>,
    /// Oldest first.
    order: VecDeque<Key>,
}

/// A digest of stream, consumer and sequence.
type Key = [u8; 16];

impl RecentDeliveries {
    pub(crate) fn add(&self, stream: &str, consumer: &str, sequence: u64, subject: &str) {
        let key = key(stream, consumer, sequence);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.subjects.insert(key, subject.to_owned()).is_none() {
            table.order.push_back(key);
        }
        if table.order.len() > REMEMBERED
            && let Some(oldest) = table.order.pop_front()
        {
            table.subjects.remove(&oldest);
        }
    }

    pub(crate) fn subject(&self, stream: &str, consumer: &str, sequence: u64) -> Option<String> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.subjects.get(&key(stream, consumer, sequence)).cloned()
    }
}

fn key(stream: &str, consumer: &str, sequence: u64) -> Key {
    let digest = Sha256::new()
        .chain_update(stream)
        .chain_update([0])
        .chain_update(consumer)
        .chain_update(sequence.to_be_bytes())
        .finalize();
    let mut key = Key::default();
    key.copy_from_slice(&digest[..16]);
    key
}
