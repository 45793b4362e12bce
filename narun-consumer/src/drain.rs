use std::time::Duration;

use narun_core::Time;

/// Counts a subscription's messages, to leave its queue group without losing those on the wire.
///
/// A client that unsubscribes throws away what the server sends before it learns of that. So the server is asked to
/// end the subscription by itself, some messages later; and only if so many do not come in time, it is drained.
#[derive(Debug)]
pub(crate) struct Meter {
    epoch: u64,
    total: u64,
    /// The server counts anew on each connection, the client does not.
    on_this_connection: u64,
    window: (Time, u64),
    /// Messages a second, in the last full window.
    rate: f64,
}

impl Meter {
    /// How long each step of leaving may take.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_millis(500);

    pub(crate) const fn new(epoch: u64) -> Self {
        Self { epoch, total: 0, on_this_connection: 0, window: (Time::ZERO, 0), rate: 0.0 }
    }

    /// A message came.
    pub(crate) fn count(&mut self, now: Time, epoch: u64) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.on_this_connection = 0;
        }
        self.total += 1;
        self.on_this_connection += 1;
        let (start, messages) = &mut self.window;
        *messages += 1;
        let elapsed = now - *start;
        if elapsed >= Self::WINDOW {
            self.rate = *messages as f64 / elapsed.as_secs_f64();
            self.window = (now, 0);
        }
    }

    /// The number of the message after which the server is to end the subscription: so far ahead that it learns of
    /// it before. None where client and server count differently, because the connection was lost once.
    pub(crate) fn last_message(&self, now: Time, round_trip: Duration) -> Option<u64> {
        if self.total != self.on_this_connection {
            return None;
        }
        let (start, messages) = self.window;
        let latest = messages as f64 / (now - start).max(Self::WINDOW).as_secs_f64();
        // Six round trips' worth of messages lost 2 of 260,000 requests, with less it was more.
        let ahead = 16.0 + 6.0 * self.rate.max(latest) * round_trip.as_secs_f64();
        Some(self.total + (ahead as u64).max(64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(10);

    fn at(millis: u64) -> Time {
        Time::new(Duration::from_millis(millis))
    }

    #[test]
    fn goes_ahead_by_what_comes_in_six_round_trips() {
        let mut meter = Meter::new(1);
        assert_eq!(meter.last_message(at(0), ROUND_TRIP), Some(64));
        for millis in 0..2000 {
            for _ in 0..10 {
                meter.count(at(millis), 1);
            }
        }
        let last = meter.last_message(at(2000), ROUND_TRIP).expect("one connection");
        // 10,000 a second for 60 ms, and 16.
        assert!((20_590..20_640).contains(&last), "{last}");
    }

    #[test]
    fn gives_up_where_the_server_counts_anew() {
        let mut meter = Meter::new(0);
        meter.count(at(1), 1);
        assert!(meter.last_message(at(2), ROUND_TRIP).is_some());
        meter.count(at(3), 2);
        assert_eq!(meter.last_message(at(4), ROUND_TRIP), None);
    }
}
