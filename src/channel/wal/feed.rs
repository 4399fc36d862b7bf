//! Blocks of a shard's log for one consumer group: from memory while the group keeps up, from disk
//! when it lags.
//!
//! Lives on the group's drain thread. A caught-up group never touches the disk. Both sources give the
//! same blocks; the feed's `next_sequence` decides which one is due.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::header::{SEGMENT_HEADER_BYTES, block_bytes};
use super::reader::{Found, LogReader, Lost};
use super::shared::{GroupLink, LogPosition, LogShared};
use crate::channel::block::Block;
use crate::channel::consumer::{DeliveredTo, Feed, Next, TakeError};
use crate::limits;
use crate::metrics::WalCounters;
use crate::reactor::Ground;

/// One group's way through one shard's log.
#[derive(Debug)]
pub struct WalFeed<G: Ground> {
    log: Arc<LogShared>,
    link: Arc<GroupLink>,
    start: DeliveredTo,
    next_sequence: u64,
    /// Behind the last block that came from memory: where the disk goes on.
    behind_memory: LogPosition,
    /// A block from memory that is not due yet: the disk has the ones before it.
    held: Option<Block>,
    disk: Rc<RefCell<Disk<G>>>,
}

/// The disk side, shared with a read under way.
#[derive(Debug)]
struct Disk<G: Ground> {
    /// Taken while a read is under way.
    reader: Option<LogReader<G, Arc<LogShared>>>,
    failures: u32,
    counters: Arc<WalCounters>,
    channel: String,
    group: String,
}

impl<G: Ground> WalFeed<G> {
    /// The feed of `link`'s group, from its cursor on.
    #[must_use]
    pub fn new(
        ground: G,
        channel: &str,
        log: Arc<LogShared>,
        link: Arc<GroupLink>,
        start: DeliveredTo,
        counters: Arc<WalCounters>,
    ) -> Self {
        let position = LogPosition {
            segment: start.segment,
            offset: start.offset,
            sequence: start.block,
            event: start.event,
            chain: 0,
        };
        let reader = LogReader::new(ground, Arc::clone(&log), log.shard, position);
        let disk = Disk {
            reader: Some(reader),
            failures: 0,
            counters,
            channel: channel.to_owned(),
            group: link.group.clone(),
        };
        let next_sequence = start.block;
        Self {
            log,
            link,
            start,
            next_sequence,
            behind_memory: LogPosition::default(),
            held: None,
            disk: Rc::new(RefCell::new(disk)),
        }
    }

    /// The due block from memory.
    fn pop_due(&mut self) -> Option<Block> {
        while let Some(block) = self.held.take().or_else(|| self.link.pop()) {
            if block.sequence == self.next_sequence {
                return Some(block);
            }
            if block.sequence > self.next_sequence {
                self.held = Some(block);
                return None;
            }
            // The disk was faster.
        }
        None
    }
}

impl<G: Ground> Feed for WalFeed<G> {
    fn shard(&self) -> u32 {
        self.log.shard
    }

    fn start(&self) -> DeliveredTo {
        self.start
    }

    fn next(&mut self) -> Next {
        // Read before looking into memory: what is durable by now has been offered by now.
        // The event before the sequence, which is stored first: together they are never ahead.
        let durable_event = self.log.durable_event();
        let durable = self.log.durable_sequence();
        if let Some(block) = self.pop_due() {
            self.next_sequence += 1;
            self.behind_memory = LogPosition {
                segment: block.segment,
                offset: block.offset + block_bytes(block.payload.len()) as u64,
                sequence: block.sequence + 1,
                event: block.first_event + u64::from(block.event_count),
                chain: 0,
            };
            return Next::Block(block);
        }
        if self.next_sequence >= durable {
            return Next::Empty;
        }
        // What the disk cannot give is lost up to here.
        let (sequence, event) = match &self.held {
            Some(held) => (held.sequence, held.first_event),
            None => (durable, durable_event),
        };
        let disk = Rc::clone(&self.disk);
        let wanted = LogPosition {
            sequence: self.next_sequence,
            ..LogPosition::default()
        };
        let wanted = if self.behind_memory.sequence == wanted.sequence {
            self.behind_memory
        } else {
            wanted
        };
        let bounds = Bounds {
            shard: self.log.shard,
            wanted,
            durable,
            resume: (sequence, event),
        };
        Next::Fetch(Box::pin(read_back(disk, bounds)))
    }

    fn opened(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence + 1);
    }

    fn delivered(&mut self, cursor: DeliveredTo) {
        self.log.delivered(&self.link, cursor);
    }
}

/// What one read-back looks for.
#[derive(Debug)]
struct Bounds {
    shard: u32,
    wanted: LogPosition,
    /// Blocks from here on are not durable yet.
    durable: u64,
    /// Block and event with which the log goes on if the disk gives nothing.
    resume: (u64, u64),
}

/// Reads the wanted block, or the first one behind damage.
async fn read_back<G: Ground>(
    disk: Rc<RefCell<Disk<G>>>,
    bounds: Bounds,
) -> Result<Block, TakeError> {
    let Bounds {
        shard,
        wanted,
        durable,
        resume,
    } = bounds;
    let reader = disk.borrow_mut().reader.take();
    let mut loan = Loan {
        reader,
        disk: Rc::clone(&disk),
    };
    let reader = loan.get();
    if reader.position().sequence != wanted.sequence {
        // The group read from memory in between.
        reader.seek(wanted);
    }
    let place = reader.position();
    let found = reader.next(durable).await;
    let mut disk = disk.borrow_mut();
    match found {
        Ok(Found::Block { block, lost, .. }) => {
            disk.failures = 0;
            reader.pass_unreadable(false);
            if let Some(lost) = lost {
                disk.report(shard, lost, block.first_event - lost.events);
            }
            Ok(block)
        }
        Ok(Found::End) => {
            // Durable blocks that are not there, and nothing valid behind them.
            disk.failures = 0;
            reader.pass_unreadable(false);
            disk.report(
                shard,
                Lost {
                    segment: place.segment,
                    offset: place.offset,
                    sequence: wanted.sequence,
                    blocks: resume.0 - wanted.sequence,
                    events: resume.1.saturating_sub(place.event),
                },
                place.event,
            );
            // The reader goes on behind it, and knows which event comes next: what may be lost there is
            // counted from here.
            reader.seek(LogPosition {
                sequence: resume.0,
                event: resume.1,
                ..LogPosition::default()
            });
            Ok(empty_block(resume.0, resume.1))
        }
        Err(error) => {
            // No descriptor, no memory, no right: that passes, and says nothing about the data. Only
            // what the medium itself refuses again and again is given up, sector by sector.
            disk.failures = if error.is_medium() {
                disk.failures + 1
            } else {
                0
            };
            if disk.failures >= limits::READ_ATTEMPTS_MAX {
                reader.pass_unreadable(true);
            }
            let (segment, offset) = (error.segment, error.offset);
            let source = Arc::new(error.source);
            Err(TakeError::Read {
                shard,
                segment,
                offset,
                source,
            })
        }
    }
}

/// Stands for blocks that are lost: it holds no event, and the next one follows it.
fn empty_block(resume_sequence: u64, resume_event: u64) -> Block {
    Block {
        sequence: resume_sequence - 1,
        first_event: resume_event,
        event_count: 0,
        segment: 0,
        offset: SEGMENT_HEADER_BYTES,
        payload: bytes::Bytes::new(),
        held_bytes: 0,
    }
}

impl<G: Ground> Disk<G> {
    /// Damage is counted and named; what is not damaged goes on.
    fn report(&self, shard: u32, lost: Lost, first_event: u64) {
        self.counters.lose(
            lost.sequence..lost.sequence + lost.blocks,
            first_event..first_event + lost.events,
        );
        let group = match self.group.as_str() {
            "" => String::new(),
            group => format!(", group {group}"),
        };
        tracing::error!(
            "channel {}: shard {shard}{group}: {} blocks with {} events are damaged in segment {} from \
             offset {} (block {}) and are not delivered; the files are kept until they are released. Look \
             at the disk",
            self.channel,
            lost.blocks,
            lost.events,
            lost.segment,
            lost.offset,
            lost.sequence,
        );
    }
}

/// Puts the reader back when the read ends, or is dropped.
struct Loan<G: Ground> {
    reader: Option<LogReader<G, Arc<LogShared>>>,
    disk: Rc<RefCell<Disk<G>>>,
}

impl<G: Ground> Loan<G> {
    fn get(&mut self) -> &mut LogReader<G, Arc<LogShared>> {
        self.reader
            .as_mut()
            .expect("the consumer has one read under way per shard")
    }
}

impl<G: Ground> Drop for Loan<G> {
    fn drop(&mut self) {
        if let Ok(mut disk) = self.disk.try_borrow_mut() {
            disk.reader = self.reader.take();
        }
    }
}
