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
    Ok(Frame::data(bytes(text)))
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Takes the prefix of a body of these pieces. Returns its bytes, those beyond the room, and whether they are all.
fn prefix_of<S>(pieces: S, room: usize, limit: usize) -> Result<(Bytes, Bytes, bool), FailureKind>
where
    S: futures::Stream<Item = Piece>,
{
    let mut prefix = RequestPrefix::new(ClientBody::only(StreamBody::new(pieces)), room, limit);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        if let Poll::Ready(taken) = prefix.poll(&mut cx) {
            let RequestBody { prefix, following } = taken.map_err(|failure| failure.kind())?;
            return Ok((prefix.inline, prefix.rest.data, following.is_none()));
        }
    }
    panic!("pending");
}

#[test]
fn it_takes_what_is_ready() {
    let ended = prefix_of(stream::iter([data("a"), data("bc")]), 10, 10);
    assert_eq!(ended, Ok((bytes("abc"), Bytes::new(), true)));
    let paused = prefix_of(stream::iter([data("a"), data("b")]).chain(stream::pending()), 10, 10);
    assert_eq!(paused, Ok((bytes("ab"), Bytes::new(), false)));
    assert_eq!(prefix_of(stream::pending(), 10, 10), Ok((Bytes::new(), Bytes::new(), false)));
}

#[test]
fn it_looks_once_more_after_a_pause() {
    let mut first = true;
    let late = stream::poll_fn(move |_| match std::mem::take(&mut first) {
        true => Poll::Pending,
        false => Poll::Ready(Some(data("late"))),
    });
    assert_eq!(prefix_of(late.take(1), 10, 10), Ok((bytes("late"), Bytes::new(), true)));
}

#[test]
fn it_splits_a_piece_that_is_longer_than_the_room() {
    let taken = prefix_of(stream::iter([data("ab"), data("cdef"), data("g")]), 3, 10);
    assert_eq!(taken, Ok((bytes("abc"), bytes("def"), false)));
    let taken = prefix_of(stream::iter([data("abcdef")]), 3, 10);
    assert_eq!(taken, Ok((bytes("abc"), bytes("def"), false)));
}

#[test]
fn it_refuses_a_body_over_the_limit() {
    assert!(prefix_of(stream::iter([data("abc"), data("de")]), 10, 5).is_ok());
    assert_eq!(prefix_of(stream::iter([data("abc"), data("def")]), 10, 5), Err(FailureKind::ContentTooLarge));
    let endless = stream::iter([data("abc"), data("def")]).chain(stream::pending());
    assert_eq!(prefix_of(endless, 10, 5), Err(FailureKind::ContentTooLarge));
    assert_eq!(prefix_of(stream::iter([data("abcdef")]), 3, 5), Err(FailureKind::ContentTooLarge));
}

#[test]
fn the_body_or_its_field_announces_a_length() {
    let (parts, ()) = Request::get("/").header("content-length", "7").body(()).expect("parts").into_parts();
    let unknown = StreamBody::new(stream::iter([data("")]));
    assert_eq!(announced(&parts, &unknown), Some(7));
    assert_eq!(announced(&parts, &http_body_util::Full::new(bytes("abc"))), Some(3));
    let (parts, ()) = Request::new(()).into_parts();
    assert_eq!(announced(&parts, &unknown), None);
}
