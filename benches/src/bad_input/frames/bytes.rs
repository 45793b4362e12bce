//! Frames as bytes, which an encoder would refuse to make.

/// The kinds of frames.
pub(in crate::bad_input) const RESPONSE: u8 = 2;
pub(in crate::bad_input) const ACCEPT: u8 = 3;
pub(in crate::bad_input) const DATA: u8 = 4;
pub(in crate::bad_input) const RESET: u8 = 6;
pub(in crate::bad_input) const PROBE: u8 = 7;
pub(in crate::bad_input) const REFUSED: u8 = 9;

/// A frame of this kind, whose head has these encoded keys and values, with this body.
pub(in crate::bad_input) fn frame(kind: u8, head: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut frame = vec![if body.is_empty() { 0x82 } else { 0x83 }, kind, map(head.len())];
    frame.extend(head.concat());
    if !body.is_empty() {
        frame.push(0x5a);
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
    }
    frame
}

fn map(pairs: usize) -> u8 {
    0xa0 | pairs as u8 & 0x1f
}

/// A key and a number.
pub(in crate::bad_input) fn number(key: u8, value: u32) -> Vec<u8> {
    [&[key, 0x1a][..], &value.to_be_bytes()].concat()
}

/// A key and a text.
pub(in crate::bad_input) fn text(key: u8, value: &str) -> Vec<u8> {
    [&[key, 0x79][..], &(value.len() as u16).to_be_bytes(), value.as_bytes()].concat()
}

/// The key of `end`, which is true.
pub(in crate::bad_input) const END: &[u8] = &[3, 0xf5];

/// The fields of a frame: names and values.
pub(in crate::bad_input) fn fields(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![2, 0x99];
    bytes.extend((fields.len() as u16 * 2).to_be_bytes());
    for (name, value) in fields {
        bytes.push(0x79);
        bytes.extend((name.len() as u16).to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.push(0x59);
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(*value);
    }
    bytes
}

/// A REQUEST for a target, with these further keys.
pub(in crate::bad_input) fn request(target: &str, head: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let id: Vec<u8> = [&[8, 0x50][..], &[7; 16]].concat();
    let (method, target) = (text(10, "POST"), text(11, target));
    let head = [&[&[9, 0][..], &id, &method, &target][..], head].concat();
    frame(1, &head, body)
}

/// The kind of a frame that another process sent. Returns `None` if it is no frame.
pub(in crate::bad_input) fn kind(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied().filter(|_| matches!(payload.first(), Some(0x82 | 0x83)))
}

/// The code of a RESET, or the reason of a REFUSED: the first key of their heads. Returns `None` if there is none.
pub(in crate::bad_input) fn code(payload: &[u8]) -> Option<u8> {
    matches!(kind(payload)?, RESET | REFUSED).then_some(())?;
    (payload.get(3) == Some(&8)).then(|| payload.get(4).copied())?
}

/// What a frame is, for the report.
pub(in crate::bad_input) fn name(payload: &[u8]) -> String {
    const NAMES: [&str; 10] =
        ["0", "REQUEST", "RESPONSE", "ACCEPT", "DATA", "CREDIT", "RESET", "PROBE", "WORKING", "REFUSED"];
    let kind = kind(payload).and_then(|kind| NAMES.get(usize::from(kind)));
    let code = code(payload).map_or(String::new(), |code| format!("({code})"));
    kind.map_or_else(|| format!("{:.20?}", payload), |kind| format!("{kind}{code}"))
}
