use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with texts of routes as keys.
pub(crate) type TextMap<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<TextHasher>>;

/// Hashes eight bytes per step. For the short texts of routes, that takes a fraction of the time of the standard hasher.
///
/// The standard hasher protects maps into which an attacker inserts keys. Here, the operator of the gateway inserts them, and a
/// look-up, which an attacker can make, does not slow the map down.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextHasher(u64);

impl TextHasher {
    /// Multiplies to twice the width and folds, so that each bit of the word affects each bit of the hash.
    fn add(&mut self, word: u64) {
        // An odd constant without a pattern: 2^64 divided by the golden ratio.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        self.add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::TextHasher;

    /// Buckets come from the low bits, and tags within them from the highest seven.
    #[test]
    fn numbered_texts_are_spread() {
        let build = BuildHasherDefault::<TextHasher>::default();
        for text in ["", "a", "things", "/a longer text than eight "] {
            let hashes = (0..4096).map(|number| build.hash_one(format!("{text}{number}").as_bytes()));
            let hashes: Vec<u64> = hashes.collect();
            let buckets: HashSet<u64> = hashes.iter().map(|hash| hash & 4095).collect();
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            // At random, 1 - 1/e of the buckets are hit.
            assert!(buckets.len() > 2300, "{text}: {}", buckets.len());
            assert!(tags.len() > 100, "{text}: {}", tags.len());
        }
    }
}
