use std::convert::Infallible;
use std::task::Waker;

use futures::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use narun_core::FailureKind;

use super::*;

type Piece = Result<Frame<Bytes>, Infallible>;

fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// How a body begins that has these pieces at once.
fn begin<S>(pieces: S, room: usize, limit: usize) -> Result<(Bytes, Bytes, bool), FailureKind>
where
    S: futures::Stream<Item = Piece>,
{
    let mut start = Start::new(StreamBody::new(pieces), room, limit);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        if let Poll::Ready(begun) = start.poll(&mut cx) {
            let begun = begun.map_err(|failure| failure.kind())?;
            return Ok((begun.inline, begun.more, begun.body.is_none()));
        }
    }
    panic!("it waits");
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn takes_what_is_there() {
    let ended = begin(stream::iter([data("a"), data("bc")]), 10, 10);
    assert_eq!(ended, Ok((bytes("abc"), Bytes::new(), true)));
    let paused = begin(stream::iter([data("a"), data("b")]).chain(stream::pending()), 10, 10);
    assert_eq!(paused, Ok((bytes("ab"), Bytes::new(), false)));
    assert_eq!(begin(stream::pending(), 10, 10), Ok((Bytes::new(), Bytes::new(), false)));
}

#[test]
fn looks_once_more_after_a_pause() {
    let mut first = true;
    let late = stream::poll_fn(move |_| match std::mem::take(&mut first) {
        true => Poll::Pending,
        false => Poll::Ready(Some(data("late"))),
    });
    assert_eq!(begin(late.take(1), 10, 10), Ok((bytes("late"), Bytes::new(), true)));
}

#[test]
fn splits_what_has_no_room() {
    let begun = begin(stream::iter([data("ab"), data("cdef"), data("g")]), 3, 10);
    assert_eq!(begun, Ok((bytes("abc"), bytes("def"), false)));
    let begun = begin(stream::iter([data("abcdef")]), 3, 10);
    assert_eq!(begun, Ok((bytes("abc"), bytes("def"), false)));
}

#[test]
fn holds_the_limit() {
    assert!(begin(stream::iter([data("abc"), data("de")]), 10, 5).is_ok());
    assert_eq!(begin(stream::iter([data("abc"), data("def")]), 10, 5), Err(FailureKind::ContentTooLarge));
}

#[test]
fn a_length_is_announced_by_the_body_or_its_field() {
    let (parts, ()) = Request::get("/").header("content-length", "7").body(()).expect("parts").into_parts();
    let unknown = StreamBody::new(stream::iter([data("")]));
    assert_eq!(announced(&parts, &unknown), Some(7));
    assert_eq!(announced(&parts, &http_body_util::Full::new(bytes("abc"))), Some(3));
    let (parts, ()) = Request::new(()).into_parts();
    assert_eq!(announced(&parts, &unknown), None);
}
