//! When the next block waits a moment for those who were just answered.
//!
//! A write of 256 KiB takes little longer than one of 50 KiB, and a client that waits for its answer sends
//! its next batch right after it. Without this, four such clients fall into two pairs whose blocks
//! alternate: each waits for the other's write, and the disk works twice for what fits one block. So a
//! small block waits for the batches that are due, at most as long as a write takes; where they do not
//! come, waiting becomes rare. Nobody waits when the log is idle, and a lone client never does.
//!
//! Pure: no clock and no disk. Owned by the committer of one log.

use std::time::Duration;

use crate::limits;

/// After waits in vain, so many blocks go without one, twice as many each time.
const REST_MAX: u32 = 256;

/// What has gathered for the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gathered {
    /// Batches.
    pub(super) batches: usize,
    /// Bytes of them.
    pub(super) bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// How long a write takes, smoothed.
    write_time: Duration,
    /// Batches that the next block may get; 0 when it need not wait.
    due: usize,
    until: Duration,
    /// Somebody waits: those who come after the end of the time find no wait, and prove nothing.
    waits: bool,
    /// Blocks that go without a wait, and how many after the next wait in vain.
    resting: u32,
    rest: u32,
}

impl Gather {
    /// A block of `answered` batches has been written in `took`; `waiting` batches have gathered meanwhile.
    pub(super) fn written(
        &mut self,
        answered: usize,
        took: Duration,
        waiting: usize,
        now: Duration,
    ) {
        self.write_time = (self.write_time * 7 + took) / 8;
        self.due = 0;
        self.waits = false;
        if self.resting > 0 {
            self.resting -= 1;
            return;
        }
        self.due = answered + waiting;
        self.until = now + self.write_time.min(limits::GATHER_WAIT_MAX);
    }

    /// How long what has gathered waits for more.
    pub(super) fn wait(&mut self, gathered: Gathered, now: Duration) -> Option<Duration> {
        if gathered.batches >= self.due || gathered.bytes >= limits::GATHER_BYTES_ENOUGH {
            if self.waits {
                self.rest = 0;
            }
            return None;
        }
        let left = self.until.checked_sub(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.due = 0;
            if self.waits {
                self.rest = (self.rest * 2).clamp(1, REST_MAX);
                self.resting = self.rest;
            }
        }
        self.waits = left.is_some();
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Duration = Duration::from_micros(200);

    fn of(batches: usize) -> Gathered {
        Gathered {
            batches,
            bytes: batches * 50_000,
        }
    }

    fn steady() -> Gather {
        let mut gather = Gather::default();
        (0..64).for_each(|_| gather.written(0, WRITE, 0, Duration::ZERO));
        gather
    }

    #[test]
    fn a_small_block_waits_for_those_who_were_answered() {
        let (mut gather, now) = (steady(), Duration::from_secs(1));
        gather.written(2, WRITE, 1, now);
        let left = gather.wait(of(1), now).unwrap();
        assert!(left > WRITE * 9 / 10 && left <= WRITE, "{left:?}");
        assert!(gather.wait(of(2), now + WRITE / 2).unwrap() <= WRITE / 2);
        assert_eq!(gather.wait(of(3), now + WRITE / 2), None);
    }

    #[test]
    fn a_lone_client_an_idle_log_and_a_large_block_do_not_wait() {
        let (mut gather, now) = (steady(), Duration::from_secs(1));
        gather.written(1, WRITE, 0, now);
        assert_eq!(gather.wait(of(1), now), None);
        gather.written(4, WRITE, 0, now);
        assert_eq!(gather.wait(of(1), now + WRITE), None, "a second later");
        let mut gather = steady();
        gather.written(4, WRITE, 0, now);
        let large = Gathered {
            batches: 1,
            bytes: limits::GATHER_BYTES_ENOUGH,
        };
        assert_eq!(gather.wait(large, now), None);
    }

    #[test]
    fn waits_in_vain_become_rare_and_one_that_pays_brings_them_back() {
        let (mut gather, mut now) = (steady(), Duration::from_secs(1));
        let mut round = |comes_back: bool| {
            now += WRITE;
            gather.written(1, WRITE, 1, now);
            let waits = gather.wait(of(1), now).is_some();
            now += WRITE;
            assert_eq!(gather.wait(of(if comes_back { 2 } else { 1 }), now), None);
            waits
        };
        let in_vain = (0..2_000).filter(|_| round(false)).count();
        assert!((8..=20).contains(&in_vain), "{in_vain} waits");
        let rounds_until_one_pays = (0..).take_while(|_| !round(true)).count();
        assert!(rounds_until_one_pays <= 256);
        assert_eq!((0..100).filter(|_| round(true)).count(), 100);
    }

    #[test]
    fn a_slow_disk_makes_nobody_wait_for_long() {
        let mut gather = Gather::default();
        let slow = Duration::from_secs(2);
        gather.written(2, slow, 1, slow);
        assert_eq!(gather.wait(of(1), slow), Some(limits::GATHER_WAIT_MAX));
    }
}
