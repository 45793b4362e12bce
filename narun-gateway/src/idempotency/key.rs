use http::{HeaderMap, HeaderName};
use narun_core::{Failure, FailureKind};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A longer key is invalid.
const MAX_LEN: usize = 255;

/// The `Idempotency-Key` of a request: any bytes, including the quotes of a structured field. Returns `None` if it has none.
///
/// # Errors
///
/// [`FailureKind::BadIdempotencyKey`] if it is empty or over 255 bytes, or if there are several.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<&[u8]>, Failure> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let problem = match key.len() {
        _ if keys.next().is_some() => "there are several",
        0 => "it is empty",
        1..=MAX_LEN => return Ok(Some(key.as_bytes())),
        _ => "it has more than 255 bytes",
    };
    Err(Failure::new(FailureKind::BadIdempotencyKey).with_detail(problem))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(keys: &[&[u8]]) -> Result<Option<Vec<u8>>, FailureKind> {
        let value = |key: &&[u8]| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(key).expect("a value"));
        let headers = keys.iter().map(value).collect();
        key_of(&headers).map(|key| key.map(<[u8]>::to_vec)).map_err(|failure| failure.kind())
    }

    #[test]
    fn one_key_is_taken_with_all_its_bytes() {
        assert_eq!(read(&[]), Ok(None));
        for key in [&b"a"[..], b"\"a b, c\"", b"\xff\x80", &[b'x'; 255]] {
            assert_eq!(read(&[key]), Ok(Some(key.to_vec())));
        }
    }

    #[test]
    fn invalid_keys_are_refused() {
        for keys in [&[&b""[..]][..], &[&[b'x'; 256]], &[b"a", b"a"], &[b"", b""]] {
            assert_eq!(read(keys), Err(FailureKind::BadIdempotencyKey), "{keys:?}");
        }
    }
}
