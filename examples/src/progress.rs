//! The progress of a transfer.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A progress bar on standard error. If that is not a terminal, only the full bar is shown.
#[derive(Debug)]
pub struct Progress {
    name: &'static str,
    size: u64,
    began: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// The pause between two updates.
    const PAUSE: Duration = Duration::from_millis(100);
    const WIDTH: usize = 40;

    /// A bar for a transfer of `size` bytes that begins now.
    pub fn new(name: &'static str, size: u64) -> Self {
        Self { name, size, began: Instant::now(), shown: None }
    }

    /// Shows that `done` bytes are transferred.
    pub fn show(&mut self, done: u64) {
        let full = done >= self.size;
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= Self::PAUSE);
        if !(full || due && io::stderr().is_terminal()) {
            return;
        }
        self.shown = Some(Instant::now());
        let share = if full { 1.0 } else { done as f64 / self.size as f64 };
        let bar = "#".repeat((share * Self::WIDTH as f64) as usize);
        let (name, percent, mib) = (self.name, 100.0 * share, done >> 20);
        let rate = mib_per_second(done, self.began);
        let mut stderr = io::stderr();
        let start = if stderr.is_terminal() { "\r" } else { "" };
        let end = if full { "\n" } else { "" };
        // It does not matter if writing fails.
        let _ = write!(stderr, "{start}{name:4} [{bar:40}] {percent:3.0} %  {mib} MiB  {rate} MiB/s {end}");
        let _ = stderr.flush();
    }
}

/// The speed of `bytes` since then, rounded to a tenth.
pub fn mib_per_second(bytes: u64, since: Instant) -> f64 {
    (10.0 * bytes as f64 / f64::from(1 << 20) / since.elapsed().as_secs_f64()).round() / 10.0
}
