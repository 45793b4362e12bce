//! Version numbers of nats-server.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

/// A version of nats-server, ordered by its three numbers. A suffix (`-RC.1`, `-beta`) is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Release {
    /// The oldest release that narun supports: 2.10.0.
    pub const OLDEST: Self = Self::new(2, 10, 0);

    /// The release `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The version of the program at `path`, which is run to print it.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
        let output = output.map_err(|source| Error::Run { path: path.to_owned(), source })?;
        let release = Self::from_banner(&String::from_utf8_lossy(&output.stdout));
        release.ok_or_else(|| Error::NotNats { path: path.to_owned() })
    }

    /// Parses the output of `nats-server --version`: `nats-server: v2.15.1`. Returns `None` if it is invalid.
    fn from_banner(banner: &str) -> Option<Self> {
        let (_, version) = banner.split_once("nats-server: v")?;
        let numbers = version.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = numbers.split('.').map(|number| number.parse().ok());
        Some(Self::new(numbers.next()??, numbers.next()??, numbers.next()??))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_are_parsed() {
        let read = Release::from_banner;
        assert_eq!(read("nats-server: v2.15.1\n"), Some(Release::new(2, 15, 1)));
        assert_eq!(read("nats-server: v2.12.0-RC.3"), Some(Release::new(2, 12, 0)));
        assert_eq!(read("nats-server: v2.12"), None);
        assert_eq!(read("cat (GNU coreutils) 9.1"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn releases_are_ordered_by_number() {
        assert!(Release::new(2, 9, 25) < Release::OLDEST);
        assert!(Release::new(2, 10, 26) > Release::OLDEST);
        assert_eq!(Release::new(2, 10, 26).to_string(), "2.10.26");
    }
}
