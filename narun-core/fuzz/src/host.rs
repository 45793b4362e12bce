//! A host that a route is looked up by is one host, in one form, without user, port and spaces.

use http::header::HOST;
use http::{HeaderValue, Request, Version};
use narun_gateway::fuzzing::host;

use crate::take;

/// The first byte says how many `Host` fields there are, and which part is the target. Parts are separated by line breaks.
pub fn check(mut input: &[u8]) {
    let [choice] = take(&mut input);
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut request = Request::new(());
    if choice & 1 == 1 {
        let target = lines.next().unwrap_or_default();
        let Ok(target) = target.try_into() else { return };
        *request.uri_mut() = target;
    }
    if choice & 2 == 2 {
        *request.version_mut() = Version::HTTP_2;
    }
    for value in lines.take(usize::from(choice >> 2 & 3)) {
        let Ok(value) = HeaderValue::from_bytes(value) else { return };
        request.headers_mut().append(HOST, value);
    }
    let (parts, ()) = request.into_parts();
    let fields = parts.headers.get_all(HOST).iter().count();
    let Ok(found) = host(&parts) else { return };
    assert!(fields <= 1 && (fields == 1 || parts.version != Version::HTTP_11));
    let Some((text, key)) = found else { return };
    assert!(!text.contains(['@', '/', '?', '#', ',', ' ', '\t', '\\', '"']) && text.is_ascii());
    match parts.uri.authority() {
        Some(authority) => assert_eq!(authority.as_str(), text),
        None => assert_eq!(parts.headers[HOST].as_bytes(), text.as_bytes()),
    }
    assert!(!key.iter().any(u8::is_ascii_uppercase));
    assert!(key.starts_with(b"[") || !key.contains(&b':'));
    // The key is a host itself, with the same key.
    if !key.is_empty() {
        let mut again = Request::new(());
        again.headers_mut().insert(HOST, HeaderValue::from_bytes(&key).expect("a key is a field's value"));
        let (again, ()) = again.into_parts();
        let (_, same) = host(&again).expect("a key is a valid host").expect("it is there");
        // Of several trailing dots, each look-up ignores one.
        assert!(same == key || key.ends_with(b"."));
    }
}
