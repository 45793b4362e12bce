use bytes::Bytes;

/// A frame that fits, and the part of its body that did not.
#[derive(Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The encoded frame.
    pub frame: Bytes,
    /// What follows the frame. `None` if everything fitted; empty if only the trailers did not.
    pub cut: Option<Bytes>,
}

/// Encodes a frame of at most `room` bytes with as much of `body` as fits. Returns `None` if the frame is too large even so.
///
/// `encode` is called with the body, and with whether a part of it follows in other frames: once with all of it and `false`,
/// and if that does not fit, once more. The second frame may be `reserve` bytes longer beside the body. `body` is left with
/// the bytes that are in the frame.
///
/// # Errors
///
/// Those of `encode`.
pub fn fit<E>(
    body: &mut Bytes,
    room: usize,
    reserve: usize,
    mut encode: impl FnMut(&Bytes, bool) -> Result<Bytes, E>,
) -> Result<Option<Fitted>, E> {
    let frame = encode(body, false)?;
    let excess = frame.len().saturating_sub(room);
    if excess == 0 {
        return Ok(Some(Fitted { frame, cut: None }));
    }
    let cut = body.split_off(body.len().saturating_sub(excess + reserve));
    let frame = encode(body, true)?;
    Ok((frame.len() <= room).then_some(Fitted { frame, cut: Some(cut) }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Fits a body into a frame with a head of 2 bytes, which gets `longer` if the body is cut.
    fn fitted(body: &'static str, room: usize, longer: usize) -> Option<(Bytes, Option<Bytes>)> {
        let mut body = Bytes::from_static(body.as_bytes());
        let Ok(fitted) = fit(&mut body, room, longer, |body, cut| {
            let mut frame = vec![b'#'; if cut { 2 + longer } else { 2 }];
            frame.extend_from_slice(body);
            Ok::<_, Infallible>(Bytes::from(frame))
        });
        if let Some(fitted) = &fitted {
            assert!(fitted.frame.len() <= room && fitted.frame.ends_with(&body));
        }
        fitted.map(|fitted| (fitted.frame, fitted.cut))
    }

    #[test]
    fn a_body_that_fits_is_not_cut() {
        assert_eq!(fitted("abc", 5, 0), Some(("##abc".into(), None)));
        assert_eq!(fitted("", 2, 0), Some(("##".into(), None)));
    }

    #[test]
    fn a_longer_body_is_cut_by_the_excess_and_the_reserve() {
        assert_eq!(fitted("abcdef", 5, 0), Some(("##abc".into(), Some("def".into()))));
        assert_eq!(fitted("abcdef", 5, 1), Some(("###ab".into(), Some("cdef".into()))));
        assert_eq!(fitted("abcdef", 3, 1), Some(("###".into(), Some("abcdef".into()))));
    }

    #[test]
    fn a_head_that_does_not_fit_alone_is_none() {
        assert_eq!(fitted("abc", 1, 0), None);
        assert_eq!(fitted("", 1, 0), None);
        assert_eq!(fitted("abcdef", 2, 1), None);
    }
}
