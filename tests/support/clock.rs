//! Real time for tests: deadlines and bounded waits.

use std::time::{Duration, Instant};

/// A point in time after which a wait is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    /// `limit` from now.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests wait for real processes in real time"
    )]
    pub fn after(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            limit,
        }
    }

    /// Time since it was made.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the limit has gone by.
    pub fn passed(&self) -> bool {
        self.elapsed() >= self.limit
    }
}

/// Sleeps. Tests only wait like this for processes that give no other sign.
#[expect(
    clippy::disallowed_methods,
    reason = "tests wait for real processes in real time"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks at `condition` every 50 ms until it holds; panics with `what` after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Deadline::after(limit);
    while !condition() {
        assert!(!deadline.passed(), "waited {limit:?} for: {what}");
        pause(Duration::from_millis(50));
    }
}
