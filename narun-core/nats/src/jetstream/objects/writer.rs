use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{ObjectInfo, ObjectOptions, digest_text};

/// Stores chunks of one object.
pub trait ChunkSink: Sync {
    /// A chunk that has been sent.
    type Sent: Send;
    /// Why a chunk is not stored.
    type Error: Send;

    /// Sends a chunk.
    fn send(&self, chunk: Bytes) -> impl Future<Output = Result<Self::Sent, Self::Error>> + Send;

    /// Waits until a chunk that was sent is stored.
    fn stored(&self, sent: Self::Sent) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Writes an object: cuts it into chunks and stores them, several at a time.
///
/// After an error the object is incomplete and nothing more may be written: the chunks have to be deleted.
#[derive(Debug)]
pub struct ChunkWriter<S: ChunkSink> {
    sink: S,
    chunk_size: usize,
    max_in_flight: usize,
    /// Less than a chunk, waiting for more. Taken as a whole, so that nothing of its memory stays here.
    rest: BytesMut,
    /// Chunks that are sent and may not be stored, with their lengths.
    in_flight: VecDeque<(S::Sent, usize)>,
    digest: Sha256,
    size: u64,
    chunks: usize,
}

/// What has been written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the object.
    pub size: u64,
    /// How many chunks it has.
    pub chunks: usize,
    /// Bytes of each chunk but the last, and those before which it was flushed.
    pub chunk_size: usize,
    /// SHA-256 of the object.
    pub digest: [u8; 32],
}

impl<S: ChunkSink> ChunkWriter<S> {
    /// Writes chunks of `chunk_size` bytes, of which at most `max_in_flight` are sent and not stored.
    pub fn new(sink: S, chunk_size: usize, max_in_flight: usize) -> Self {
        Self {
            sink,
            chunk_size,
            max_in_flight,
            rest: BytesMut::new(),
            in_flight: VecDeque::with_capacity(max_in_flight),
            digest: Sha256::new(),
            size: 0,
            chunks: 0,
        }
    }

    /// What stores the chunks.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    /// How many chunks have been sent.
    pub const fn chunks(&self) -> usize {
        self.chunks
    }

    /// How many bytes are in memory for it: those that wait to fill a chunk, and those that are sent and may not be stored.
    pub fn held(&self) -> usize {
        self.rest.len() + self.in_flight.iter().map(|(_, length)| length).sum::<usize>()
    }

    /// How many bytes are stored.
    pub fn stored(&self) -> u64 {
        self.size.saturating_sub(self.held() as u64)
    }

    /// Sends what waits to fill a chunk, if that has at least `least` bytes, and waits until everything that was sent is
    /// stored.
    ///
    /// # Errors
    ///
    /// Those of the sink, also for earlier parts.
    pub async fn flush(&mut self, least: usize) -> Result<(), S::Error> {
        if !self.rest.is_empty() && self.rest.len() >= least {
            let chunk = std::mem::take(&mut self.rest).freeze();
            self.send(chunk).await?;
        }
        self.store_all().await
    }

    /// Writes the next part of the object. Copies what does not fill a chunk.
    ///
    /// # Errors
    ///
    /// Those of the sink, also for earlier parts.
    pub async fn write(&mut self, data: Bytes) -> Result<(), S::Error> {
        let tail = self.cut(data).await?;
        self.rest.extend_from_slice(&tail);
        Ok(())
    }

    /// Writes the last part of the object, which may be empty, and waits until everything is stored.
    ///
    /// # Errors
    ///
    /// Those of the sink, also for earlier parts.
    pub async fn finish(&mut self, last: Bytes) -> Result<Written, S::Error> {
        let tail = self.cut(last).await?;
        let rest = std::mem::take(&mut self.rest).freeze();
        let last = if rest.is_empty() { tail } else { rest };
        if !last.is_empty() {
            self.send(last).await?;
        }
        self.store_all().await?;
        let digest = self.digest.clone().finalize().into();
        Ok(Written { size: self.size, chunks: self.chunks, chunk_size: self.chunk_size, digest })
    }

    /// Waits until no chunk is in flight, and frees what waits to fill one: nothing more may be written. After an error,
    /// chunks that are deleted before would be stored afterwards.
    pub async fn settle(&mut self) {
        self.rest = BytesMut::new();
        join_all(self.in_flight.drain(..).map(|(sent, _)| self.sink.stored(sent))).await;
    }

    /// Sends all chunks that are full. The tail that is returned is empty unless `rest` is.
    async fn cut(&mut self, mut data: Bytes) -> Result<Bytes, S::Error> {
        self.digest.update(&data);
        self.size += data.len() as u64;
        if !self.rest.is_empty() {
            let missing = data.split_to((self.chunk_size - self.rest.len()).min(data.len()));
            self.rest.extend_from_slice(&missing);
            if self.rest.len() < self.chunk_size {
                return Ok(data);
            }
            let chunk = std::mem::take(&mut self.rest).freeze();
            self.send(chunk).await?;
        }
        while data.len() >= self.chunk_size {
            self.send(data.split_to(self.chunk_size)).await?;
        }
        Ok(data)
    }

    async fn store_all(&mut self) -> Result<(), S::Error> {
        while let Some((first, _)) = self.in_flight.pop_front() {
            self.sink.stored(first).await?;
        }
        Ok(())
    }

    async fn send(&mut self, chunk: Bytes) -> Result<(), S::Error> {
        if self.in_flight.len() >= self.max_in_flight
            && let Some((first, _)) = self.in_flight.pop_front()
        {
            self.sink.stored(first).await?;
        }
        let length = chunk.len();
        let sent = self.sink.send(chunk).await?;
        self.in_flight.push_back((sent, length));
        self.chunks += 1;
        Ok(())
    }
}

impl Written {
    /// The description that makes the chunks an object for all clients. `token` is that of the chunks' subject.
    pub fn info(&self, bucket: String, name: String, token: String) -> ObjectInfo {
        ObjectInfo {
            name,
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(self.chunk_size) }),
            bucket,
            nuid: token,
            size: usize::try_from(self.size).unwrap_or(usize::MAX),
            chunks: self.chunks,
            modified: OffsetDateTime::now_utc().format(&Rfc3339).ok(),
            digest: Some(digest_text(&self.digest)),
            deleted: false,
        }
    }
}

#[cfg(test)]
mod tests;
