use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn read(fields: &[&[u8]]) -> Prefer {
    let fields = fields.iter().map(|field| (PREFER, HeaderValue::from_bytes(field).expect("a value")));
    Prefer::of(&fields.collect())
}

fn prefer(respond_async: bool, wait: Option<u64>) -> Prefer {
    Prefer { respond_async, wait: wait.map(Duration::from_secs) }
}

#[test]
fn preferences_are_read() {
    for (field, expected) in [
        ("", prefer(false, None)),
        ("respond-async", prefer(true, None)),
        ("Respond-ASYNC", prefer(true, None)),
        ("respond-async, wait=10", prefer(true, Some(10))),
        ("wait=10,respond-async", prefer(true, Some(10))),
        ("WAIT = 10", prefer(false, Some(10))),
        ("wait=\"10\"", prefer(false, Some(10))),
        ("wait=\"1\\0\"", prefer(false, Some(10))),
        ("respond-async=\"\"", prefer(true, None)),
        ("respond-async=", prefer(true, None)),
        ("respond-async;foo;bar=\"a,b\\\",\"; ;, wait=3 ; x=y", prefer(true, Some(3))),
        (", ,\t, respond-async ,,", prefer(true, None)),
        ("return=minimal; foo=\"respond-async\", handling=lenient", prefer(false, None)),
        ("foo; respond-async, foo; wait=5", prefer(false, None)),
        ("foo=\", respond-async, \"", prefer(false, None)),
    ] {
        assert_eq!(read(&[field.as_bytes()]), expected, "{field}");
    }
}

#[test]
fn the_first_of_repeated_preferences_counts() {
    assert_eq!(read(&[b"foo, wait=1", b"respond-async, wait=2"]), prefer(true, Some(1)));
    assert_eq!(read(&[b"wait=x, wait=2"]), prefer(false, None));
    assert_eq!(read(&[b"respond-async=no", b"respond-async"]), prefer(false, None));
}

#[test]
fn malformed_preferences_are_skipped() {
    for (field, expected) in [
        ("respond-async wait=1", prefer(false, None)),
        ("respond-async/1, wait=1", prefer(false, Some(1))),
        ("=respond-async, wait=1", prefer(false, Some(1))),
        ("\"respond-async\", wait=1", prefer(false, Some(1))),
        ("foo=\"x\"y, wait=1", prefer(false, Some(1))),
        ("wait=1, foo=\"respond-async", prefer(false, Some(1))),
        ("foo=\"x\\", prefer(false, None)),
        ("wait=-1", prefer(false, None)),
        ("wait=1.5", prefer(false, None)),
        ("wait=", prefer(false, None)),
        ("wait", prefer(false, None)),
        ("@, respond-async", prefer(true, None)),
    ] {
        assert_eq!(read(&[field.as_bytes()]), expected, "{field}");
    }
}

#[test]
fn too_large_a_number_is_the_largest() {
    let digits = format!("wait={}", "9".repeat(200));
    assert_eq!(read(&[digits.as_bytes()]), prefer(false, Some(1 << 31)));
    assert_eq!(read(&[b"wait=0000000000000000000000000007"]), prefer(false, Some(7)));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
        let values = fields.iter().filter_map(|field| HeaderValue::from_bytes(field).ok());
        let _ = Prefer::of(&values.map(|value| (PREFER, value)).collect());
    }

    #[test]
    fn any_text_like_preferences_is_parsed(field in "([a-z\" ,;=\\\\\t]|wait|respond-async|[0-9]){0,30}") {
        let _ = read(&[field.as_bytes()]);
    }

    #[test]
    fn a_preference_is_found_among_others(
        before in prop::collection::vec("[a-q]{1,4}( ?= ?([a-z0-9]{0,3}|\"[a-z ,;]{0,4}\"))?( ?; ?[a-z]{0,3}(=[a-z]{1,3})?){0,2}", 0..4),
        wait in 0_u64..100,
    ) {
        let mut all = before;
        all.push(format!("wait={wait}"));
        prop_assert_eq!(read(&[all.join(" , ").as_bytes()]).wait, Some(Duration::from_secs(wait)));
    }
}
