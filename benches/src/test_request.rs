//! The requests of the fault harness, for its clients and its handler.

use bytes::Bytes;

/// More bytes than fit a message with nats-server's default limit.
const LARGE: usize = 1_500_000;

/// A request. Its number is in its path, so that clients, handlers and dead letters agree on which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestRequest {
    pub(crate) number: u64,
    pub(crate) act: Act,
}

/// What the handler does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Works for some milliseconds, and responds.
    Work,
    /// Panics.
    Panic,
    /// Returns an error.
    Fail,
    /// Ends its process.
    Exit,
    /// Blocks its thread for many ack waits, and responds.
    Block,
    /// Takes some seconds, and responds.
    Slow,
}

impl TestRequest {
    pub(crate) fn new(number: u64, act: Act) -> Self {
        Self { number, act }
    }

    /// The path of the request, without the path of its route.
    pub(crate) fn path(self) -> String {
        let act = match self.act {
            Act::Work => "work",
            Act::Panic => "panic",
            Act::Fail => "fail",
            Act::Exit => "exit",
            Act::Block => "block",
            Act::Slow => "slow",
        };
        format!("{act}/{}", self.number)
    }

    /// Parses the last two segments of a path. Returns `None` if they are no test request.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let (rest, number) = path.rsplit_once('/')?;
        let act = match rest.rsplit('/').next()? {
            "work" => Act::Work,
            "panic" => Act::Panic,
            "fail" => Act::Fail,
            "exit" => Act::Exit,
            "block" => Act::Block,
            "slow" => Act::Slow,
            _ => return None,
        };
        Some(Self { number: number.parse().ok()?, act })
    }

    /// The request's content, which differs from number to number.
    pub(crate) fn content(self, large: bool) -> Bytes {
        let length = if large { LARGE } else { (self.number * 37 % 4_000) as usize };
        let byte = |place: usize| (self.number as usize + place).to_le_bytes()[0];
        (0..length).map(byte).collect()
    }

    /// The content of the response: the number, and a digest of the request's content, which shows whether it arrived
    /// whole.
    pub(crate) fn receipt(self, content: &[u8]) -> String {
        // FNV-1a.
        let sum = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{} {} {sum:016x}", self.number, content.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_contains_the_request() {
        for act in [Act::Work, Act::Panic, Act::Fail, Act::Exit, Act::Block, Act::Slow] {
            let request = TestRequest::new(17, act);
            assert_eq!(TestRequest::of_path(&format!("/jobs/{}", request.path())), Some(request));
        }
        assert_eq!(TestRequest::of_path("/jobs/rest/17"), None);
        assert_eq!(TestRequest::of_path("work/"), None);
    }

    #[test]
    fn receipts_differ_by_number_and_content() {
        let [one, other] = [1, 2].map(|number| TestRequest::new(number, Act::Work));
        assert_ne!(one.receipt(b"x"), other.receipt(b"x"));
        assert_ne!(one.receipt(b"x"), one.receipt(b"y"));
        assert_eq!(one.content(true).len(), LARGE);
    }
}
