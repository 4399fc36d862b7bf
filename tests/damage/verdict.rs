//! The oracle of the damage lanes: what is intact arrives, in order, unaltered, once; what is not is
//! counted, neither more nor less.

use flumen::channel::wal::Checkpoint;

use crate::log::{Entry, Found, Written, open_and_drain};
use crate::still::Still;

/// What a lane did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Logs damaged and opened.
    pub(crate) cases: u64,
    /// Of them, those whose damage hit nothing that counts.
    pub(crate) harmless: u64,
    /// Blocks that damage took, and were counted.
    pub(crate) lost_blocks: u64,
    /// Events in them.
    pub(crate) lost_events: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.harmless += other.harmless;
        self.lost_blocks += other.lost_blocks;
        self.lost_events += other.lost_events;
    }
}

/// Opens a log whose files were damaged, and judges what comes out.
pub(crate) fn judge(
    written: &Written,
    world: &Still,
    checkpoint: Option<&Checkpoint>,
) -> Result<Tally, String> {
    let before = world.files();
    let damaged = written.damaged(&before);
    let found = open_and_drain(world, checkpoint).map_err(|error| format!("refused: {error}"))?;
    let entry = checkpoint.map(|checkpoint| &checkpoint.shards[0]);
    let end = entry.map_or(0, |entry| entry.end.sequence);
    let end = end.max(written.last_known_start(&before));
    // A checkpoint whose end lies in a segment that nothing is left of speaks of another log.
    // Where nothing is left of any, it is all there is to go by.
    let is_empty = written.is_gone(&before);
    let fits = entry.filter(|entry| is_empty || written.is_known(&before, entry.end.segment));
    let cursor = match fits {
        Some(entry) => entry.cursors[0].1.block,
        None => written.first_known(&before),
    };
    let behind = |entry: &Entry| entry.header.sequence < cursor;
    let start = written.entries.partition_point(behind);
    let mut tally = Tally::default();
    // What is hit in front of the first block that is known may be counted, or not.
    for entry in written.entries[..start]
        .iter()
        .filter(|entry| damaged.contains(&entry.header.sequence))
    {
        tally.lost_blocks += 1;
        tally.lost_events += u64::from(entry.header.event_count);
    }
    compare(&written.entries[start..], &damaged, end, &found, &tally)
}

/// Holds what was found against `entries`, of which the blocks of the numbers `damaged` were hit. The
/// checkpoint knows of all blocks below `known_end`; those of `before` may be counted as lost as well.
pub(crate) fn compare(
    entries: &[Entry],
    damaged: &[u64],
    known_end: u64,
    found: &Found,
    before: &Tally,
) -> Result<Tally, String> {
    let is_hit = |entry: &&Entry| damaged.contains(&entry.header.sequence);
    let mut arrived = found.blocks.iter();
    // Where the log is known to go on: behind the last block that arrives, and to the checkpoint's end.
    let mut end = known_end;
    for entry in entries.iter().filter(|entry| !is_hit(entry)) {
        let header = &entry.header;
        let number = header.sequence;
        let block = arrived.next();
        let block = block.ok_or(format!("block {number} is intact and did not arrive"))?;
        if damaged.contains(&block.sequence) {
            return Err(format!("block {} was hit and arrived", block.sequence));
        }
        let named = (block.sequence, block.first_event, block.event_count);
        if named != (number, header.first_event, header.event_count) {
            return Err(format!(
                "in place of block {number} came {}",
                block.sequence
            ));
        }
        if block.payload != entry.payload {
            return Err(format!("block {number} arrived altered"));
        }
        end = end.max(number + 1);
    }
    if let Some(block) = arrived.next() {
        if damaged.contains(&block.sequence) {
            return Err(format!("block {} was hit and arrived", block.sequence));
        }
        return Err(format!("block {} came on top", block.sequence));
    }
    let count = |below: u64| {
        let hit = entries.iter().filter(is_hit).map(|entry| &entry.header);
        let hit = hit.filter(|header| header.sequence < below);
        hit.fold((0, 0), |(blocks, events), header| {
            (blocks + 1, events + u64::from(header.event_count))
        })
    };
    // What is hit behind the known end looks like a torn tail, unless a segment that was begun after it
    // tells; then it is counted as well.
    let (lost_blocks, lost_events) = count(end);
    let (hit_blocks, hit_events) = count(u64::MAX);
    let blocks_max = hit_blocks + before.lost_blocks;
    let events_max = hit_events + before.lost_events;
    let is_counted = (lost_blocks..=blocks_max).contains(&found.lost_blocks)
        && (lost_events..=events_max).contains(&found.lost_events);
    if !is_counted {
        return Err(format!(
            "{lost_blocks} blocks with {lost_events} events are lost, counted were {} with {}",
            found.lost_blocks, found.lost_events
        ));
    }
    Ok(Tally {
        cases: 1,
        harmless: u64::from(damaged.is_empty()),
        lost_blocks,
        lost_events,
    })
}
