//! The drain side of a channel: one consumer group, shared by the sinks that compete for its events.
//!
//! A consumer lives on one drain thread and is never shared between threads; its sinks run on the
//! same thread. Each shard's log arrives as a [`Feed`] of blocks in order. A sink takes a
//! [`Transaction`] of consecutive events from one shard, shards in turn; commit moves the shard's
//! cursor, rollback (or dropping the transaction) puts the events back at the head, in order.
//!
//! Always true, per shard: every event below `cursor` is delivered; every event between `cursor` and
//! the next one to read is in exactly one of: a transaction under way, `returned`, `ahead`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future::BoxedLocal;
use tokio::sync::Notify;

use super::block::{Block, BlockError, Record};
use crate::event::{AvroError, Cursor, EventView, Events, Overlay};
use crate::metrics::ChannelCounters;
use crate::reactor::Defence;

/// Why no transaction could be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TakeError {
    /// A block could not be read back. Reading it again may help.
    #[error("shard {shard}: reading segment {segment} at offset {offset} failed")]
    Read {
        /// The shard whose log it is.
        shard: u32,
        /// Segment id.
        segment: u64,
        /// Offset in the segment.
        offset: u64,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A block's content is not what was written.
    #[error("shard {shard}: block {sequence} of segment {segment} at offset {offset} is damaged")]
    Damaged {
        /// The shard whose log it is.
        shard: u32,
        /// Block number.
        sequence: u64,
        /// Segment id.
        segment: u64,
        /// Offset in the segment.
        offset: u64,
        /// What is wrong.
        #[source]
        source: BlockError,
    },
}

/// What a feed has.
pub enum Next {
    /// The next block.
    Block(Block),
    /// Every committed block was handed out. The consumer's [`Notify`] tells when there is more.
    Empty,
    /// The next block has to be read back; await this and take what it gives as the next block.
    Fetch(BoxedLocal<Result<Block, TakeError>>),
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(block) => f.debug_tuple("Block").field(&block.sequence).finish(),
            Self::Empty => f.write_str("Empty"),
            Self::Fetch(_) => f.write_str("Fetch"),
        }
    }
}

/// Blocks of one shard's log, in order.
pub trait Feed: 'static {
    /// The shard whose log it is.
    fn shard(&self) -> u32;
    /// Where the group stood at start: the first block handed out holds this event, or a later one
    /// if what lies between was lost.
    fn start(&self) -> DeliveredTo;
    /// The next block. Not called again while a [`Next::Fetch`] is under way; after one that failed
    /// it offers the same block again.
    fn next(&mut self) -> Next;
    /// Block `sequence` is the one now being handed out.
    fn opened(&mut self, _sequence: u64) {}
    /// The cursor moved.
    fn delivered(&mut self, cursor: DeliveredTo);
}

/// How far a consumer group has come in one shard's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveredTo {
    /// Number of the first event not delivered.
    pub event: u64,
    /// Number of the block that holds it (or will).
    pub block: u64,
    /// Segment of that block. 0 with `offset` 0: not known.
    pub segment: u64,
    /// Offset of that block.
    pub offset: u64,
}

/// Consecutive events of one record.
#[derive(Debug, Clone)]
pub struct Slice {
    first_event: u64,
    event_count: u32,
    events: Bytes,
    overlay: Rc<Overlay>,
    arrival_ms: u64,
    in_memory: bool,
}

impl Slice {
    /// Events in it.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.event_count as usize
    }

    /// The events. An error is damage that no checksum saw.
    pub fn iter(&self) -> Events<'_> {
        Events::new(&self.events, &self.overlay, self.arrival_ms).in_memory(self.in_memory)
    }

    /// The events' bytes, `AvroFlumeEvent`s back to back, and the memory they live in.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.events
    }

    /// Cuts off the first `count` events.
    fn split_front(&mut self, count: u32) -> Result<Self, AvroError> {
        assert!(count < self.event_count, "a split leaves something behind");
        let mut cursor = Cursor::new(&self.events);
        for _ in 0..count {
            Events::skip(&mut cursor)?;
        }
        let at = cursor.offset();
        let front = Self {
            first_event: self.first_event,
            event_count: count,
            events: self.events.split_to(at),
            overlay: Rc::clone(&self.overlay),
            arrival_ms: self.arrival_ms,
            in_memory: self.in_memory,
        };
        self.first_event += u64::from(count);
        self.event_count -= count;
        Ok(front)
    }
}

/// A block being cut into transactions.
#[derive(Debug)]
struct OpenBlock {
    block: Block,
    record_offset: usize,
    next_event: u64,
}

/// One shard's log as this group sees it.
struct Lane {
    feed: Box<dyn Feed>,
    cursor: u64,
    next_event: u64,
    returned: VecDeque<Slice>,
    open: Option<OpenBlock>,
    /// Committed ranges above the cursor, first event to end.
    ahead: BTreeMap<u64, u64>,
    /// Blocks handed out and not wholly delivered, oldest first.
    places: VecDeque<DeliveredTo>,
    /// A sink waits for this lane's block to be read back.
    fetching: bool,
}

/// Hands the events of one consumer group to the sinks that compete for them.
#[derive(Clone)]
pub struct Consumer {
    lanes: Rc<RefCell<Vec<Lane>>>,
    turn: Rc<std::cell::Cell<usize>>,
    more: Arc<Notify>,
    counters: Arc<ChannelCounters>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("lanes", &self.lanes.borrow().len())
            .finish()
    }
}

/// Consecutive events of one shard, taken by one sink. Dropping it is a rollback.
#[derive(Debug)]
pub struct Transaction {
    consumer: Consumer,
    lane: usize,
    slices: Vec<Slice>,
    event_count: usize,
    done: bool,
}

impl Transaction {
    /// Events in it; never 0.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.event_count
    }

    /// Its events, in pieces.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Its events, one by one. An error is damage that no checksum saw.
    pub fn iter(&self) -> impl Iterator<Item = Result<EventView<'_>, AvroError>> {
        self.slices.iter().flat_map(Slice::iter)
    }

    /// The shard its events came through.
    #[must_use]
    pub fn shard(&self) -> u32 {
        self.consumer.lanes.borrow()[self.lane].feed.shard()
    }

    /// Delivered: the cursor passes these events as soon as all before them are delivered too.
    pub fn commit(mut self) {
        self.pass();
    }

    /// Moves the cursor and leaves the transaction with nothing to commit or to roll back. On its own it
    /// is what a test does that takes a defence away.
    pub(crate) fn pass(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let counters = &self.consumer.counters;
        counters.event_take_success.add(self.event_count as u64);
        // Slices that were rolled back need not touch: another sink may have delivered between them.
        let lane = &mut self.consumer.lanes.borrow_mut()[self.lane];
        for slice in &self.slices {
            lane.committed(slice.first_event, u64::from(slice.event_count));
        }
    }

    /// Not delivered: the events go back to the head of the channel, in order.
    pub fn rollback(self) {
        drop(self);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let slices = std::mem::take(&mut self.slices);
        self.consumer.lanes.borrow_mut()[self.lane].give_back(slices);
        self.consumer.more.notify_one();
    }
}

impl Consumer {
    /// A consumer over one feed a shard. `more` is notified by the feeds' writers.
    #[must_use]
    pub fn new(feeds: Vec<Box<dyn Feed>>, more: Arc<Notify>) -> Self {
        Self::with_counters(feeds, more, Arc::default())
    }

    /// The same, counting its takes where they are shown.
    #[must_use]
    pub fn with_counters(
        feeds: Vec<Box<dyn Feed>>,
        more: Arc<Notify>,
        counters: Arc<ChannelCounters>,
    ) -> Self {
        let lanes = feeds.into_iter().map(Lane::new).collect();
        Self {
            lanes: Rc::new(RefCell::new(lanes)),
            turn: Rc::default(),
            more,
            counters,
        }
    }

    /// Up to `event_count_max` consecutive events of one shard, or none if nothing waits.
    ///
    /// # Errors
    /// [`TakeError`]. The events stay in the channel; a later take tries again.
    pub async fn take(&self, event_count_max: usize) -> Result<Option<Transaction>, TakeError> {
        assert!(
            event_count_max > 0,
            "a batch size of 0 is refused by the configuration"
        );
        let lane_count = self.lanes.borrow().len();
        for _ in 0..lane_count {
            let lane = self.turn.get() % lane_count;
            self.turn.set(lane + 1);
            let slices = self.take_from(lane, event_count_max).await?;
            if !slices.is_empty() {
                let event_count: usize = slices.iter().map(Slice::event_count).sum();
                self.counters.event_take_attempt.add(event_count as u64);
                // A sink of the same group that waits may find the rest.
                self.more.notify_one();
                let consumer = self.clone();
                let mut transaction = Transaction {
                    consumer,
                    lane,
                    slices,
                    event_count,
                    done: false,
                };
                if Defence::CursorAfterDelivery.removed() {
                    transaction.pass();
                }
                return Ok(Some(transaction));
            }
        }
        // Flume counts the take that found nothing.
        self.counters.event_take_attempt.increment();
        Ok(None)
    }

    /// Waits until there may be something to take. May return early.
    pub async fn wait(&self) {
        self.more.notified().await;
    }

    async fn take_from(&self, lane: usize, max: usize) -> Result<Vec<Slice>, TakeError> {
        let mut slices = Vec::new();
        let mut count = 0;
        while count < max {
            let step = self.lanes.borrow_mut()[lane].step(max - count);
            let fetch = match step {
                Ok(Step::Slice(slice)) => {
                    count += slice.event_count();
                    slices.push(slice);
                    continue;
                }
                Ok(Step::Empty) => break,
                // What is in memory goes out first; the read happens on the next take.
                Ok(Step::Fetch(_)) if !slices.is_empty() => {
                    self.lanes.borrow_mut()[lane].fetching = false;
                    break;
                }
                Ok(Step::Fetch(fetch)) => fetch,
                Err(error) => {
                    self.lanes.borrow_mut()[lane].give_back(slices);
                    return Err(error);
                }
            };
            let guard = FetchGuard {
                consumer: self,
                lane,
            };
            let block = fetch.await?;
            drop(guard);
            self.lanes.borrow_mut()[lane].open(block);
        }
        Ok(slices)
    }
}

/// Ends the read-back of a lane whether it succeeds, fails or is dropped.
struct FetchGuard<'a> {
    consumer: &'a Consumer,
    lane: usize,
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        self.consumer.lanes.borrow_mut()[self.lane].fetching = false;
        self.consumer.more.notify_one();
    }
}

enum Step {
    Slice(Slice),
    Empty,
    Fetch(BoxedLocal<Result<Block, TakeError>>),
}

impl Lane {
    fn new(feed: Box<dyn Feed>) -> Self {
        let start = feed.start();
        Self {
            feed,
            cursor: start.event,
            next_event: start.event,
            returned: VecDeque::new(),
            open: None,
            ahead: BTreeMap::new(),
            places: VecDeque::new(),
            fetching: false,
        }
    }

    /// The next slice of at most `max` events, or why there is none now.
    fn step(&mut self, max: usize) -> Result<Step, TakeError> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        loop {
            if let Some(slice) = self.returned.pop_front() {
                return self.cut(slice, max).map(Step::Slice);
            }
            if let Some(slice) = self.next_record()? {
                return self.cut(slice, max).map(Step::Slice);
            }
            if self.fetching {
                return Ok(Step::Empty);
            }
            match self.feed.next() {
                Next::Block(block) => self.open(block),
                Next::Empty => return Ok(Step::Empty),
                Next::Fetch(fetch) => {
                    self.fetching = true;
                    return Ok(Step::Fetch(fetch));
                }
            }
        }
    }

    /// Gives `slice` if it is small enough, else its front; the rest goes back to the head.
    fn cut(&mut self, mut slice: Slice, max: u32) -> Result<Slice, TakeError> {
        if slice.event_count <= max {
            return Ok(slice);
        }
        match slice.split_front(max) {
            Ok(front) => {
                self.returned.push_front(slice);
                Ok(front)
            }
            // Its bytes are no events: counted as passed, or the cursor would stand here for ever.
            Err(source) => {
                let error = self.damaged(BlockError::Events { offset: 0, source });
                self.committed(slice.first_event, u64::from(slice.event_count));
                Err(error)
            }
        }
    }

    fn open(&mut self, block: Block) {
        assert!(self.open.is_none(), "one block is cut at a time");
        self.feed.opened(block.sequence);
        self.places.push_back(DeliveredTo {
            event: block.first_event,
            block: block.sequence,
            segment: block.segment,
            offset: block.offset,
        });
        // Events between were quarantined by the feed, which has counted and named them.
        if block.first_event > self.next_event {
            let lost = block.first_event - self.next_event;
            let first = self.next_event;
            self.next_event = block.first_event;
            self.committed(first, lost);
        }
        let next_event = block.first_event;
        self.open = Some(OpenBlock {
            block,
            record_offset: 0,
            next_event,
        });
    }

    /// The next record of the open block as a slice, without what was delivered before the start.
    fn next_record(&mut self) -> Result<Option<Slice>, TakeError> {
        while let Some(open) = &mut self.open {
            let record = match open.block.record_at(open.record_offset) {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.next_event = open.next_event;
                    self.open = None;
                    return Ok(None);
                }
                Err(error) => return Err(self.skip_damaged_block(error)),
            };
            open.record_offset = record.next_offset;
            let first_event = open.next_event;
            open.next_event += u64::from(record.event_count);
            if open.next_event <= self.cursor || record.event_count == 0 {
                continue;
            }
            let mut slice = slice_of(record, first_event);
            let delivered = self.cursor.saturating_sub(first_event);
            if delivered > 0 {
                let count = u32::try_from(delivered).expect("less than the record's count");
                if let Err(source) = slice.split_front(count) {
                    open.next_event = first_event;
                    return Err(self.skip_damaged_block(BlockError::Events { offset: 0, source }));
                }
            }
            return Ok(Some(slice));
        }
        Ok(None)
    }

    /// Passes over the rest of the open block, which cannot be read, and says so.
    fn skip_damaged_block(&mut self, source: BlockError) -> TakeError {
        let error = self.damaged(source);
        if let Some(open) = self.open.take() {
            let end = open.block.first_event + u64::from(open.block.event_count);
            let first = open.next_event.max(self.cursor).min(end);
            self.next_event = end;
            self.committed(first, end - first);
        }
        error
    }

    fn damaged(&self, source: BlockError) -> TakeError {
        let place = self
            .open
            .as_ref()
            .map_or_else(DeliveredTo::default, |open| DeliveredTo {
                event: open.next_event,
                block: open.block.sequence,
                segment: open.block.segment,
                offset: open.block.offset,
            });
        TakeError::Damaged {
            shard: self.feed.shard(),
            sequence: place.block,
            segment: place.segment,
            offset: place.offset,
            source,
        }
    }

    fn committed(&mut self, first: u64, count: u64) {
        if count == 0 {
            return;
        }
        assert!(first >= self.cursor, "an event is delivered once per take");
        self.ahead.insert(first, first + count);
        let before = self.cursor;
        while let Some((&first, &end)) = self.ahead.first_key_value() {
            assert!(first >= self.cursor, "committed ranges do not overlap");
            if first != self.cursor {
                break;
            }
            self.ahead.remove(&first);
            self.cursor = end;
        }
        if self.cursor == before {
            return;
        }
        while self.places.len() > 1 && self.places[1].event <= self.cursor {
            self.places.pop_front();
        }
        let place = self.places.front().copied().unwrap_or_default();
        self.feed.delivered(DeliveredTo {
            event: self.cursor,
            ..place
        });
    }

    fn give_back(&mut self, slices: Vec<Slice>) {
        for slice in slices.into_iter().rev() {
            let at = self
                .returned
                .partition_point(|other| other.first_event < slice.first_event);
            self.returned.insert(at, slice);
        }
    }
}

fn slice_of(record: Record, first_event: u64) -> Slice {
    Slice {
        first_event,
        event_count: record.event_count,
        events: record.events,
        overlay: Rc::new(record.overlay),
        arrival_ms: record.arrival_ms,
        in_memory: record.in_memory,
    }
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
