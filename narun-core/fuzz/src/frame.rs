//! Any payload decodes or is refused, and a decoded frame stays the same when it is encoded and decoded again.

use bytes::Bytes;
use narun_core::Limits;
use narun_core::fields::Edit;
use narun_core::frame::{Frame, encode_probe};

/// The input is the payload.
pub fn check(input: &[u8]) {
    let Ok(frame) = Frame::decode(&Bytes::copy_from_slice(input), &Limits::default()) else { return };
    let payload = encode(&frame);
    let again = Frame::decode(&payload, &Limits::default()).expect("an encoded frame decodes");
    assert_eq!(format!("{frame:?}"), format!("{again:?}"));
    assert_eq!(encode(&again), payload);
}

fn encode(frame: &Frame) -> Bytes {
    let (edit, limits) = (Edit::default(), Limits::default());
    match frame {
        Frame::Request(frame) => frame
            .head
            .encode(&frame.parts, edit, &frame.body[..], frame.trailers.as_ref(), &limits)
            .expect("the frame is still within the limits"),
        Frame::Response(frame) => frame
            .head
            .encode(&frame.parts, edit, &frame.body[..], frame.trailers.as_ref(), &limits)
            .expect("the frame is still within the limits"),
        Frame::Accept(frame) => frame.encode(),
        Frame::Data(frame) => frame.encode(),
        Frame::Credit(frame) => frame.encode(),
        Frame::Reset(frame) => frame.encode(),
        Frame::Probe => encode_probe(),
        Frame::Working(frame) => frame.encode(),
        Frame::Refused(frame) => frame.encode(),
    }
}
