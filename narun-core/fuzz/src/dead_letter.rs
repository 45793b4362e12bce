//! A dead letter is read whatever its subject, headers and payload are.

use narun_consumer::fuzzing::dead_letter;

use crate::take;

/// The first bytes are the lengths of the subject and of the header's values, which follow; the rest is the payload.
pub fn check(mut input: &[u8]) {
    let lengths: [u8; 4] = take(&mut input);
    let texts = lengths.map(|length| {
        let (text, rest) = input.split_at(usize::from(length).min(input.len()));
        input = rest;
        String::from_utf8_lossy(text).into_owned()
    });
    let letter = dead_letter(&texts[0], [&texts[1], &texts[2], &texts[3]], input);
    assert!(letter.app().len() <= texts[0].len());
    assert_eq!(letter.id().is_some(), letter.request().is_some());
    // Any time that is stored is one that this system can represent, or none.
    let _ = format!("{letter:?}");
}
