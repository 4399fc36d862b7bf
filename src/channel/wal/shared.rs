//! What a shard's log and its readers on the drain threads share.
//!
//! The shard writes, readers read; nothing here is touched per event. Per block: one atomic store,
//! one push a consumer group, one wake. The lock is taken once a segment.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use crossbeam_queue::{ArrayQueue, SegQueue};
use tokio::sync::Notify;

use crate::channel::block::Block;
use crate::channel::consumer::DeliveredTo;

/// A position in a shard's log: where the next block goes, or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// Segment id.
    pub segment: u64,
    /// Offset in the segment.
    pub offset: u64,
    /// Number of the block there.
    pub sequence: u64,
    /// Number of that block's first event.
    pub event: u64,
    /// Header checksum of the block before.
    pub chain: u32,
}

/// A segment that holds blocks somebody may still need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Segment id.
    pub id: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Number of its first block. The next segment's tells where this one ends.
    pub first_sequence: u64,
    /// Number of that block's first event.
    pub first_event: u64,
    /// The device refused a write to it: the file is not used again.
    pub failed: bool,
}

/// One consumer group's view of one shard's log.
#[derive(Debug)]
pub struct GroupLink {
    /// Group name; empty for the channel's default group.
    pub group: String,
    /// Committed blocks that wait in memory for the group's drain thread.
    tail: SegQueue<Block>,
    /// Bytes of them.
    tail_bytes: AtomicUsize,
    /// The newest cursor, for the checkpoint.
    latest: ArrayQueue<DeliveredTo>,
    /// First event not delivered, for capacity and lag.
    event: AtomicU64,
    /// Wakes the group's consumer.
    pub more: Arc<Notify>,
}

impl GroupLink {
    fn new(group: String, start: DeliveredTo, more: Arc<Notify>) -> Self {
        Self {
            group,
            tail: SegQueue::new(),
            tail_bytes: AtomicUsize::new(0),
            latest: ArrayQueue::new(1),
            event: AtomicU64::new(start.event),
            more,
        }
    }

    /// Hands a committed block to the group, unless it lags so far that it will read the disk.
    fn offer(&self, block: &Block, bytes_max: usize) {
        let bytes = block.held_bytes;
        if self
            .tail_bytes
            .load(Ordering::Relaxed)
            .saturating_add(bytes)
            > bytes_max
        {
            return;
        }
        self.tail_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tail.push(block.clone());
    }

    /// The oldest block in memory.
    pub fn pop(&self) -> Option<Block> {
        let block = self.tail.pop()?;
        self.tail_bytes
            .fetch_sub(block.held_bytes, Ordering::Relaxed);
        Some(block)
    }

    /// First event not delivered.
    #[must_use]
    pub fn event(&self) -> u64 {
        self.event.load(Ordering::SeqCst)
    }

    /// The newest cursor since the last call, if it moved.
    #[must_use]
    pub fn moved(&self) -> Option<DeliveredTo> {
        self.latest.pop()
    }
}

/// Use of a channel over all its shards.
#[derive(Debug)]
pub struct Usage {
    /// `capacity`.
    pub capacity_events: u64,
    /// Bytes allowed, `u64::MAX` when only events count.
    pub capacity_bytes: u64,
    used_events: AtomicU64,
    used_bytes: AtomicU64,
}

impl Usage {
    /// An empty channel.
    #[must_use]
    pub fn new(capacity_events: u64, capacity_bytes: u64) -> Self {
        let (used_events, used_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            capacity_events,
            capacity_bytes,
            used_events,
            used_bytes,
        }
    }

    /// Events that wait.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.used_events.load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Takes room for a batch, all or nothing. The counter is one per channel, not per shard: a
    /// capacity of 100 and batches of 100 must work on any number of shards. One atomic a batch.
    #[must_use]
    pub fn reserve(&self, events: u64, bytes: u64) -> bool {
        let grow = |used: &AtomicU64, more: u64, max: u64| {
            used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| *sum <= max)
            })
            .is_ok()
        };
        if !grow(&self.used_events, events, self.capacity_events) {
            return false;
        }
        if !grow(&self.used_bytes, bytes, self.capacity_bytes) {
            self.release(events, 0);
            return false;
        }
        true
    }

    /// Counts what recovery found; a backlog larger than `capacity` is still a backlog.
    pub fn found(&self, events: u64, bytes: u64) {
        self.used_events.fetch_add(events, Ordering::Relaxed);
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives room back.
    pub fn release(&self, events: u64, bytes: u64) {
        let shrink = |used: &AtomicU64, less: u64| {
            let before = used.fetch_sub(less, Ordering::Relaxed);
            assert!(before >= less, "no more is released than was reserved");
        };
        shrink(&self.used_events, events);
        shrink(&self.used_bytes, bytes);
    }
}

/// One shard's log, as its readers see it.
#[derive(Debug)]
pub struct LogShared {
    /// Shard number.
    pub shard: u32,
    /// Consumer groups. Without any, nothing is kept in memory and nothing is released.
    pub groups: Vec<Arc<GroupLink>>,
    /// Use of the channel, shared by its shards.
    pub usage: Arc<Usage>,
    /// Bytes of blocks each group may hold in memory. A memory channel has no other place for them.
    tail_bytes_max: usize,
    /// Blocks below this number are durable, and offered to every group.
    durable_sequence: AtomicU64,
    /// Events below this number are durable.
    durable_event: AtomicU64,
    /// The newest end, for the checkpoint.
    end: ArrayQueue<LogPosition>,
    segments: RwLock<Vec<SegmentInfo>>,
    /// Every group has passed the events below this number.
    released_event: AtomicU64,
    /// Every group's **durable** cursor has passed the blocks below this number.
    released_sequence: AtomicU64,
    /// The checkpoint has something to write.
    pub checkpoint_due: Arc<Notify>,
}

impl LogShared {
    /// An empty log that is kept in memory only: nothing it offers is ever dropped.
    #[must_use]
    pub fn in_memory(shard: u32, groups: Vec<(String, Arc<Notify>)>, usage: Arc<Usage>) -> Self {
        let cursors = groups.into_iter();
        let cursors = cursors
            .map(|(group, more)| (group, DeliveredTo::default(), more))
            .collect();
        let end = LogPosition::default();
        let mut log = Self::new(shard, end, Vec::new(), cursors, usage, Arc::default(), 0);
        log.tail_bytes_max = usize::MAX;
        log
    }

    /// A log that recovery found to end at `end`, with each group's cursor. All groups together hold
    /// up to `tail_bytes_max` of blocks in memory.
    #[must_use]
    pub fn new(
        shard: u32,
        end: LogPosition,
        segments: Vec<SegmentInfo>,
        cursors: Vec<(String, DeliveredTo, Arc<Notify>)>,
        usage: Arc<Usage>,
        checkpoint_due: Arc<Notify>,
        tail_bytes_max: usize,
    ) -> Self {
        let released = cursors.iter().map(|(_, cursor, _)| cursor.event).min();
        let released = released.unwrap_or_else(|| {
            segments
                .first()
                .map_or(end.event, |segment| segment.first_event)
        });
        assert!(released <= end.event, "recovery clamps cursors to the log");
        usage.found(end.event - released, 0);
        let groups: Vec<_> = cursors
            .into_iter()
            .map(|(group, start, more)| Arc::new(GroupLink::new(group, start, more)))
            .collect();
        let tail_bytes_max = tail_bytes_max / groups.len().max(1);
        Self {
            shard,
            groups,
            usage,
            tail_bytes_max,
            durable_sequence: AtomicU64::new(end.sequence),
            durable_event: AtomicU64::new(end.event),
            end: ArrayQueue::new(1),
            segments: RwLock::new(segments),
            released_event: AtomicU64::new(released),
            released_sequence: AtomicU64::new(0),
            checkpoint_due,
        }
    }

    /// A block is durable: offers it to the groups, then lets everybody see it. In this order, so
    /// that a reader that knows of the block finds it in memory.
    pub fn publish(&self, block: Option<&Block>, end: LogPosition) {
        // The end goes first: whoever reads a cursor and then the end never finds the end behind.
        self.end.force_push(end);
        if let Some(block) = block {
            for group in &self.groups {
                group.offer(block, self.tail_bytes_max);
            }
        }
        let before = self.durable_sequence.swap(end.sequence, Ordering::Release);
        assert!(before < end.sequence, "blocks become durable in order");
        self.durable_event.store(end.event, Ordering::Release);
        for group in &self.groups {
            group.more.notify_one();
        }
    }

    /// Blocks below this number are durable.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// Events below this number are durable.
    #[must_use]
    pub fn durable_event(&self) -> u64 {
        self.durable_event.load(Ordering::Acquire)
    }

    /// The end of the log, if it moved since the last call.
    #[must_use]
    pub fn end_moved(&self) -> Option<LogPosition> {
        self.end.pop()
    }

    /// Gives an end back to the checkpoint that could not write it, unless it moved since.
    pub fn end_again(&self, end: LogPosition) {
        if self.end.push(end).is_err() {
            // A newer one is there already.
        }
    }

    /// The epoch of segment `id`.
    #[must_use]
    pub fn segment_epoch(&self, id: u64) -> Option<u64> {
        let segments = self.segments.read().expect("no holder of this lock panics");
        segments
            .iter()
            .find(|segment| segment.id == id)
            .map(|segment| segment.epoch)
    }

    /// A group's cursor moved.
    pub fn delivered(&self, group: &GroupLink, cursor: DeliveredTo) {
        group.event.store(cursor.event, Ordering::SeqCst);
        group.latest.force_push(cursor);
        let all = self
            .groups
            .iter()
            .map(|group| group.event())
            .min()
            .unwrap_or(0);
        let before = self.released_event.fetch_max(all, Ordering::AcqRel);
        if all > before {
            self.usage.release(all - before, 0);
        }
        self.checkpoint_due.notify_one();
    }

    /// The checkpoint that lets go of all blocks below `sequence` is durable.
    pub fn released_durably(&self, sequence: u64) {
        self.released_sequence.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Blocks below this number may be overwritten.
    #[must_use]
    pub fn released_sequence(&self) -> u64 {
        self.released_sequence.load(Ordering::Acquire)
    }

    /// Adds a segment at the end.
    pub fn add_segment(&self, segment: SegmentInfo) {
        let mut segments = self
            .segments
            .write()
            .expect("no holder of this lock panics");
        if let Some(last) = segments.last() {
            assert!(last.id < segment.id, "segments are added in order");
        }
        segments.push(segment);
    }

    /// The device refused a write to segment `id`.
    pub fn mark_failed(&self, id: u64) {
        let mut segments = self
            .segments
            .write()
            .expect("no holder of this lock panics");
        if let Some(segment) = segments.iter_mut().find(|segment| segment.id == id) {
            segment.failed = true;
        }
    }

    /// Takes away segments whose every block is released, oldest first. The last one stays.
    #[must_use]
    pub fn take_released(&self) -> Vec<SegmentInfo> {
        let released = self.released_sequence();
        let mut segments = self
            .segments
            .write()
            .expect("no holder of this lock panics");
        let count = segments
            .windows(2)
            .take_while(|pair| matches!(pair, [_, next] if next.first_sequence <= released))
            .count();
        segments.drain(..count).collect()
    }

    /// The segment that holds block `sequence`.
    #[must_use]
    pub fn segment_of(&self, sequence: u64) -> Option<SegmentInfo> {
        let segments = self.segments.read().expect("no holder of this lock panics");
        let after = segments.partition_point(|segment| segment.first_sequence <= sequence);
        // Of segments that begin with the same block all but the last ended without one.
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The first segment behind `id`.
    #[must_use]
    pub fn segment_after(&self, id: u64) -> Option<SegmentInfo> {
        let segments = self.segments.read().expect("no holder of this lock panics");
        segments.iter().find(|segment| segment.id > id).cloned()
    }

    /// Segments and their bytes on disk.
    #[must_use]
    pub fn segment_totals(&self) -> (usize, u64) {
        let segments = self.segments.read().expect("no holder of this lock panics");
        (
            segments.len(),
            segments.iter().map(|segment| segment.bytes).sum(),
        )
    }

    /// Ids of the first segment still needed.
    #[must_use]
    pub fn first_segment(&self) -> Option<SegmentInfo> {
        self.segments
            .read()
            .expect("no holder of this lock panics")
            .first()
            .cloned()
    }
}
