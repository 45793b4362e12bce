//! The requests of the fault harness, as its clients make them and its handler takes them.

use bytes::Bytes;

/// More than fits into a message with nats-server's default limit.
const LARGE: usize = 1_500_000;

/// A request; its number is in its path, so that it can be told from all others wherever it turns up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestRequest {
    pub(crate) number: u64,
    pub(crate) act: Act,
}

/// What the handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Works for some milliseconds, and answers.
    Work,
    /// Panics.
    Panic,
    /// Fails as a service.
    Fail,
    /// Ends its process.
    Exit,
}

impl TestRequest {
    pub(crate) fn new(number: u64, act: Act) -> Self {
        Self { number, act }
    }

    /// The path of the request, below that of a route.
    pub(crate) fn path(self) -> String {
        let act = match self.act {
            Act::Work => "work",
            Act::Panic => "panic",
            Act::Fail => "fail",
            Act::Exit => "exit",
        };
        format!("{act}/{}", self.number)
    }

    /// The same the other way round: reads the last two segments of a path.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let (rest, number) = path.rsplit_once('/')?;
        let act = match rest.rsplit('/').next()? {
            "work" => Act::Work,
            "panic" => Act::Panic,
            "fail" => Act::Fail,
            "exit" => Act::Exit,
            _ => return None,
        };
        Some(Self { number: number.parse().ok()?, act })
    }

    /// The request's body, another one for each number.
    pub(crate) fn content(self, large: bool) -> Bytes {
        let length = if large { LARGE } else { (self.number * 37 % 4_000) as usize };
        let byte = |place: usize| (self.number as usize + place).to_le_bytes()[0];
        (0..length).map(byte).collect()
    }

    /// The response's body to that content: it tells the number, and whether the content arrived whole.
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
    fn a_path_tells_the_task() {
        for act in [Act::Work, Act::Panic, Act::Fail, Act::Exit] {
            let task = TestRequest::new(17, act);
            assert_eq!(TestRequest::of_path(&format!("/jobs/{}", task.path())), Some(task));
        }
        assert_eq!(TestRequest::of_path("/jobs/rest/17"), None);
        assert_eq!(TestRequest::of_path("work/"), None);
    }

    #[test]
    fn receipts_differ() {
        let [one, other] = [1, 2].map(|number| TestRequest::new(number, Act::Work));
        assert_ne!(one.receipt(b"x"), other.receipt(b"x"));
        assert_ne!(one.receipt(b"x"), one.receipt(b"y"));
        assert_eq!(one.content(true).len(), LARGE);
    }
}
