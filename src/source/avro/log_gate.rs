//! Keeps one failing channel from filling the log: a line at once, then at most one in ten seconds,
//! which says how many were left out. One per shard and source.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

const QUIET: Duration = Duration::from_secs(10);

/// Lines left out since the last one, as the end of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 such line left out before)"),
            count => write!(f, " ({count} such lines left out before)"),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LogGate {
    quiet_until: Cell<Duration>,
    suppressed: Cell<u64>,
}

impl LogGate {
    /// How many lines were left out since the last one if a line is due, else none.
    pub(crate) fn pass(&self, now: Duration) -> Option<LeftOut> {
        if now < self.quiet_until.get() {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.quiet_until.set(now + QUIET);
        Some(LeftOut(self.suppressed.replace(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_left_out_are_counted() {
        let gate = LogGate::default();
        let text = |seconds| {
            gate.pass(Duration::from_secs(seconds))
                .map(|left_out| left_out.to_string())
        };
        assert_eq!(text(1).as_deref(), Some(""));
        assert_eq!(text(2), None);
        assert_eq!(text(3), None);
        assert_eq!(text(11).as_deref(), Some(" (2 such lines left out before)"));
        assert_eq!(text(12), None);
        assert_eq!(text(21).as_deref(), Some(" (1 such line left out before)"));
    }
}
