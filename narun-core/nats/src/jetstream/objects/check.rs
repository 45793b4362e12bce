use sha2::{Digest, Sha256};

/// Checks size and digest of an object while its chunks are read.
#[derive(Clone, Debug)]
pub struct ObjectCheck {
    missing: u64,
    digest: Sha256,
}

impl ObjectCheck {
    /// For an object of this many bytes.
    pub fn new(size: u64) -> Self {
        Self { missing: size, digest: Sha256::new() }
    }

    /// How many bytes have not been read.
    pub const fn missing(&self) -> u64 {
        self.missing
    }

    /// Adds the next chunk. Returns false if that is more than is missing.
    #[must_use]
    pub fn add(&mut self, chunk: &[u8]) -> bool {
        let Some(missing) = self.missing.checked_sub(chunk.len() as u64) else { return false };
        self.missing = missing;
        self.digest.update(chunk);
        true
    }

    /// The SHA-256 digest of the object, `None` while bytes are missing.
    pub fn digest(&self) -> Option<[u8; 32]> {
        (self.missing == 0).then(|| self.digest.clone().finalize().into())
    }
}
