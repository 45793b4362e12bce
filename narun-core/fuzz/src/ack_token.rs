//! An ack is sent to a subject only if that is an ack of the consumer's own stream.

use narun_consumer::fuzzing::delivery;

/// The input is the reply of a delivered message.
pub fn check(input: &[u8]) {
    let Ok(subject) = std::str::from_utf8(input) else { return };
    let Some(count) = delivery(subject, "TASK", "hello") else { return };
    let tokens: Vec<_> = subject.split('.').collect();
    assert!(subject.starts_with("$JS.ACK.") && subject.len() <= 512);
    assert!(tokens.windows(2).any(|pair| pair == ["TASK", "hello"]));
    assert!(tokens.iter().all(|token| !token.is_empty() && !token.contains(['*', '>', ' ', '\r', '\n'])));
    assert!(tokens.iter().any(|token| token.parse() == Ok(count)));
}
