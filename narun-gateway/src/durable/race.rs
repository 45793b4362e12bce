use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Which of two futures was ready first.
pub(super) enum Winner<'a, A, S: Future> {
    /// The first one; the second is still to be waited for.
    First(A, Pin<&'a mut S>),
    /// The second one.
    Second(S::Output),
}

/// Polls both until one is ready; the second counts if both are.
pub(super) async fn race<'a, F: Future, S: Future>(
    mut first: Pin<&mut F>,
    mut second: Pin<&'a mut S>,
) -> Winner<'a, F::Output, S> {
    let won = poll_fn(|cx| {
        if let Poll::Ready(output) = second.as_mut().poll(cx) {
            return Poll::Ready(Err(output));
        }
        first.as_mut().poll(cx).map(Ok)
    });
    match won.await {
        Ok(output) => Winner::First(output, second),
        Err(output) => Winner::Second(output),
    }
}
