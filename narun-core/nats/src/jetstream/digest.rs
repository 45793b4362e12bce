use http::Method;
use sha2::{Digest, Sha256};

/// SHA-256 of a request's method, target and the digest of its body, which is that of an object.
pub fn request_digest(method: &Method, target: &str, body_digest: &[u8; 32]) -> [u8; 32] {
    digest(&[b"narun request", method.as_str().as_bytes(), target.as_bytes(), body_digest])
}

/// SHA-256 of a body.
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// SHA-256 of a caller's name.
pub fn caller_scope(caller: &str) -> [u8; 32] {
    digest(&[b"narun caller", caller.as_bytes()])
}

/// SHA-256 of these parts. The first part says what is digested.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for_each_part(parts, |bytes| sha.update(bytes));
    sha.finalize().into()
}

/// Calls `update` with each part, preceded by its length as 8 bytes, big-endian. So two different lists of parts never have
/// the same bytes.
pub(super) fn for_each_part(parts: &[&[u8]], mut update: impl FnMut(&[u8])) {
    for part in parts {
        update(&(part.len() as u64).to_be_bytes());
        update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are those of another program, written from `spec/exchange.md`.
    #[test]
    fn digests_match_the_specification() {
        let hex = |digest: [u8; 32]| data_encoding::HEXLOWER.encode(&digest);
        assert_eq!(
            hex(request_digest(&Method::POST, "/jobs?a=1", &body_digest(b"body"))),
            "83650b632595178cd963a36a2603e939aefb40eb1109a63660902f909e05fe1e"
        );
        let scope = caller_scope("ann");
        assert_eq!(hex(scope), "331823b5c54aa1639bac96672abb0af47cd79305549e5493cd0621674fdd86ff");
    }

    #[test]
    fn parts_are_delimited() {
        let requests = [
            request_digest(&Method::PUT, "/ab", &body_digest(b"c")),
            request_digest(&Method::PUT, "/a", &body_digest(b"bc")),
            request_digest(&Method::PUT, "/abc", &body_digest(b"")),
            request_digest(&Method::POST, "/ab", &body_digest(b"c")),
        ];
        assert!((1..requests.len()).all(|i| !requests[..i].contains(&requests[i])));
    }
}
