//! What damage took from a shard's log, each lost event counted once.
//!
//! Shared by the log's consumer groups, on whichever threads they live: each of them meets the same
//! damage, and an operator asks how many events are gone, not how often that was noticed.

use std::ops::Range;
use std::sync::Mutex;

use super::counter::Counter;
use super::ranges::Ranges;

/// One set a shard and file channel.
#[derive(Debug, Default)]
pub struct WalCounters {
    /// Blocks that could not be read on the way to a sink.
    pub lost_block: Counter,
    /// Events in them.
    pub lost_event: Counter,
    /// Numbers of the blocks and of the events that are counted already. Touched when damage is met.
    known: Mutex<(Ranges, Ranges)>,
}

impl WalCounters {
    /// A consumer group does not get the blocks and the events with these numbers.
    ///
    /// # Panics
    /// When another thread panicked in here, which it does not.
    pub fn lose(&self, blocks: Range<u64>, events: Range<u64>) {
        let mut known = self.known.lock().expect("no holder of this lock panics");
        let (known_blocks, known_events) = &mut *known;
        self.lost_block.add(known_blocks.add(blocks));
        self.lost_event.add(known_events.add(events));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_groups_miss_is_lost_once() {
        let counters = WalCounters::default();
        counters.lose(3..5, 30..50);
        // A group that begins inside a lost block misses the rest of it.
        counters.lose(3..5, 37..50);
        counters.lose(4..6, 40..60);
        assert_eq!(
            (counters.lost_block.get(), counters.lost_event.get()),
            (3, 30)
        );
    }
}
