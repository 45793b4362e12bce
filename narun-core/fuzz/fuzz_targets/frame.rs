//! Any payload decodes or is refused, and what decodes is the same once it was encoded again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use narun_core::Limits;
use narun_core::fields::Edit;
use narun_core::frame::{Frame, encode_probe};

fuzz_target!(|input: &[u8]| {
    let Ok(frame) = Frame::decode(&Bytes::copy_from_slice(input), &Limits::default()) else { return };
    let payload = encode(&frame);
    let again = Frame::decode(&payload, &Limits::default()).expect("what was encoded can be decoded");
    assert_eq!(format!("{frame:?}"), format!("{again:?}"));
    assert_eq!(encode(&again), payload);
});

fn encode(frame: &Frame) -> Bytes {
    let (edit, limits) = (Edit::default(), Limits::default());
    match frame {
        Frame::Request(frame) => frame
            .head
            .encode(&frame.parts, edit, &frame.body[..], frame.trailers.as_ref(), &limits)
            .expect("what was within the limits still is"),
        Frame::Response(frame) => frame
            .head
            .encode(&frame.parts, edit, &frame.body[..], frame.trailers.as_ref(), &limits)
            .expect("what was within the limits still is"),
        Frame::Accept(frame) => frame.encode(),
        Frame::Data(frame) => frame.encode(),
        Frame::Credit(frame) => frame.encode(),
        Frame::Reset(frame) => frame.encode(),
        Frame::Probe => encode_probe(),
        Frame::Working(frame) => frame.encode(),
        Frame::Refused(frame) => frame.encode(),
    }
}
