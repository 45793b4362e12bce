use std::convert::Infallible;
use std::sync::Mutex;

use futures::executor::block_on;

use super::*;

/// Collects chunks, and the largest number of them in flight.
#[derive(Default)]
struct Chunks(Mutex<(Vec<Bytes>, usize, usize)>);

impl ChunkSink for Chunks {
    type Sent = ();
    type Error = Infallible;

    async fn send(&self, chunk: Bytes) -> Result<(), Infallible> {
        let mut state = self.0.lock().unwrap();
        state.0.push(chunk);
        state.1 += 1;
        state.2 = state.2.max(state.1);
        Ok(())
    }

    async fn stored(&self, (): ()) -> Result<(), Infallible> {
        self.0.lock().unwrap().1 -= 1;
        Ok(())
    }
}

fn write(parts: &[&'static str], last: &'static str) -> (Vec<Bytes>, usize, Written) {
    let mut writer = ChunkWriter::new(Chunks::default(), 4, 2);
    block_on(async {
        for part in parts {
            writer.write(Bytes::from_static(part.as_bytes())).await.unwrap();
        }
        let written = writer.finish(Bytes::from_static(last.as_bytes())).await.unwrap();
        let (chunks, in_flight, most) = std::mem::take(&mut *writer.sink().0.lock().unwrap());
        assert_eq!(in_flight, 0);
        (chunks, most, written)
    })
}

#[test]
fn parts_of_any_length_become_chunks_of_one() {
    for (parts, last, expected) in [
        (&[][..], "", &[][..]),
        (&[], "abc", &["abc"]),
        (&[], "abcdefghij", &["abcd", "efgh", "ij"]),
        (&["abc"], "", &["abc"]),
        (&["a", "b", "cd"], "e", &["abcd", "e"]),
        (&["abc", "defghijklmnop"], "qr", &["abcd", "efgh", "ijkl", "mnop", "qr"]),
        (&["abcde"], "fgh", &["abcd", "efgh"]),
    ] {
        let (chunks, most, written) = write(parts, last);
        assert_eq!(chunks, expected);
        assert!(most <= 2, "{most} in flight");
        let whole = expected.concat();
        assert_eq!((written.size, written.chunks), (whole.len() as u64, expected.len()));
        assert_eq!(written.digest, <[u8; 32]>::from(Sha256::digest(&whole)));
    }
}

#[test]
fn the_description_is_that_of_other_clients() {
    let (_, _, written) = write(&[], "abcdef");
    let info = written.info("bucket".to_owned(), "name".to_owned(), "token".to_owned());
    assert_eq!((info.size, info.chunks, info.nuid.as_str()), (6, 2, "token"));
    let digest = "SHA-256=vvV-x_U6bUC-tkCngKY5yDvCmsipgW8fxsXG3Nk8RyE=";
    assert_eq!(info.digest.as_deref(), Some(digest));
}
