//! Keeps one failing channel from filling the log: a line at once, then at most one in ten seconds,
//! which says how many were left out. One per shard and source.

use std::cell::Cell;
use std::time::Duration;

const QUIET: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    quiet_until: Cell<Duration>,
    suppressed: Cell<u64>,
}

impl LogGate {
    /// How many lines were left out since the last one if a line is due, else none.
    pub(crate) fn pass(&self, now: Duration) -> Option<u64> {
        if now < self.quiet_until.get() {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.quiet_until.set(now + QUIET);
        Some(self.suppressed.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_left_out_are_counted() {
        let gate = LogGate::default();
        assert_eq!(gate.pass(Duration::from_secs(1)), Some(0));
        assert_eq!(gate.pass(Duration::from_secs(2)), None);
        assert_eq!(gate.pass(Duration::from_secs(3)), None);
        assert_eq!(gate.pass(Duration::from_secs(11)), Some(2));
    }
}
