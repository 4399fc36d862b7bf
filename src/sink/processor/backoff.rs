//! How long a sink runner waits after a failure: Flume's numbers.
//!
//! Pure; owned by one runner.
//!
//! | result              | wait                            |
//! |---------------------|---------------------------------|
//! | `Ready`, `Backoff`  | none; the count starts again    |
//! | `Failed`            | min(consecutive × 1 s, 5 s)     |
//! | error               | 5 s; the count starts again     |

use std::time::Duration;

/// What Flume adds with each consecutive failure.
const INCREMENT: Duration = Duration::from_secs(1);
/// The longest wait, and the wait after an error.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Counts consecutive failures.
#[derive(Debug, Default)]
pub struct Backoff {
    consecutive: u32,
}

impl Backoff {
    /// Something was delivered or nothing was there.
    pub fn reset(&mut self) {
        self.consecutive = 0;
    }

    /// The sink reported a failed target: how long to wait.
    pub fn after_failure(&mut self) -> Duration {
        self.consecutive = self.consecutive.saturating_add(1);
        INCREMENT.saturating_mul(self.consecutive).min(WAIT_MAX)
    }

    /// The sink returned an error: how long to wait.
    pub fn after_error(&mut self) -> Duration {
        self.consecutive = 0;
        WAIT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_a_second_longer_each_time_up_to_five() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.after_failure().as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 4, 5, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.after_failure(), Duration::from_secs(1));
        assert_eq!(backoff.after_error(), Duration::from_secs(5));
        assert_eq!(backoff.after_failure(), Duration::from_secs(1));
    }
}
