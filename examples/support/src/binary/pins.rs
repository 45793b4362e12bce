//! The versions that can be fetched, each with the hashes of its wheels.
//!
//! The files are requirements as pip reads them. For a new version, list the hash of each wheel
//! for Linux and macOS: `pip download --no-deps --only-binary=:all: --platform …`, `pip hash`.

/// A version, and the requirements that pip checks it against.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) version: &'static str,
    pub(super) requirements: &'static str,
}

/// Newest first. The first is the default.
pub(super) const PINS: &[Pin] = &[
    Pin { version: "2.15.1", requirements: include_str!("../../pins/2.15.1.txt") },
    Pin { version: "2.10.26", requirements: include_str!("../../pins/2.10.26.txt") },
];
