//! Appending: batches gather in a buffer, the buffer becomes a block, the block becomes durable, and
//! only then is anybody told.
//!
//! One appender per shard and file channel, on the shard's thread from start to stop. Group commit
//! clocks itself: while one block is being written, everything that arrives forms the next; a small one
//! waits for those who were just answered ([`gather`](super::gather)), and nobody waits when idle. One
//! write is in flight at a time, so blocks become durable in order.
//!
//! Here batches come in. The committer makes blocks of them, the housekeeping keeps files ready.
//!
//! Always true: a [`Commit`] resolves to `Ok` only after `write_durable` returned `Ok` for its block.
//! A failed write ends its segment for good; the same block, still in memory, goes to a fresh segment
//! (another directory first) under the same sequence. Recovery knows that a segment ends where its
//! successor begins, so the failed copy is never read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::header::{BLOCK_HEADER_BYTES, SEGMENT_HEADER_BYTES, block_bytes};
use super::segments::{ActiveSegment, Segments};
use super::shared::{LogPosition, LogShared};
use crate::channel::admission::Admission;
use crate::channel::block::{RECORD_HEADER_BYTES, record_bytes, write_record};
use crate::channel::commit::{Commit, Outcome};
use crate::channel::put::{Put, PutError};
use crate::event::{Batch, Cursor, Events};
use crate::limits;
use crate::metrics::{ChannelCounters, Counter, Distribution, LogGauges, Quantity, Recorder};
use crate::reactor::{Ground, WriteBuffer};

mod committer;
mod housekeeping;

/// Where an appender counts what operators see.
#[derive(Debug)]
pub struct AppendMeters {
    /// Puts.
    pub puts: Arc<ChannelCounters>,
    /// Write and flush of one block.
    pub flush_latency: Recorder,
    /// Bytes of a block on disk.
    pub block_bytes: Recorder,
    /// Bytes of committed batches as they are stored, without block headers and padding.
    pub committed_bytes: Arc<Counter>,
    /// Gauges of the shard's log.
    pub gauges: Arc<LogGauges>,
}

/// Meters that nobody reads.
impl Default for AppendMeters {
    fn default() -> Self {
        let recorder = |quantity| Arc::new(Distribution::new(quantity)).recorder();
        Self {
            puts: Arc::default(),
            flush_latency: recorder(Quantity::Latency),
            block_bytes: recorder(Quantity::Bytes),
            committed_bytes: Arc::default(),
            gauges: Arc::default(),
        }
    }
}

/// Takes batches for one shard's log. Clones share it.
pub struct Appender<G: Ground> {
    inner: Rc<Inner<G>>,
}

impl<G: Ground> Clone for Appender<G> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
        }
    }
}

impl<G: Ground> std::fmt::Debug for Appender<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender")
            .field("channel", &self.inner.admission.channel)
            .finish()
    }
}

struct Inner<G: Ground> {
    ground: G,
    admission: Admission,
    segments: Rc<Segments<G>>,
    shared: Arc<LogShared>,
    meters: RefCell<AppendMeters>,
    state: RefCell<State<G>>,
    /// A batch was added.
    filled: Notify,
    /// A buffer was taken for writing: there is room again.
    room: Notify,
    /// The committer has ended.
    ended: Notify,
}

struct State<G: Ground> {
    filling: Option<Filling<G::Buffer>>,
    end: LogPosition,
    active: Option<ActiveSegment<G::File>>,
    refusal: Option<PutError>,
    /// The committer is asked to look whether the reason of the refusal is gone.
    probe: bool,
    /// When the oldest batch of the block under way came; 0 when none is.
    writing_since_ms: u64,
    /// Size of the next block buffer.
    buffer_bytes: usize,
    closing: bool,
    committer_ended: bool,
}

/// A buffer that takes records.
struct Filling<B> {
    buffer: B,
    /// Bytes of the buffer while it fills; writing shortens it.
    capacity: usize,
    used: usize,
    event_count: usize,
    record_count: usize,
    outcome: Rc<Outcome>,
    /// When its oldest batch came, in milliseconds since the epoch.
    since_ms: u64,
}

impl<G: Ground> Appender<G> {
    /// An appender that goes on at `end` in a new segment.
    pub(super) fn new(
        ground: G,
        admission: Admission,
        segments: Segments<G>,
        shared: Arc<LogShared>,
        end: LogPosition,
        meters: AppendMeters,
    ) -> Self {
        let state = State {
            filling: None,
            end,
            active: None,
            refusal: None,
            probe: false,
            writing_since_ms: 0,
            buffer_bytes: ground.bounds().buffer_bytes_min,
            closing: false,
            committer_ended: false,
        };
        Self {
            inner: Rc::new(Inner {
                ground,
                admission,
                segments: Rc::new(segments),
                shared,
                meters: RefCell::new(meters),
                state: RefCell::new(state),
                filled: Notify::new(),
                room: Notify::new(),
                ended: Notify::new(),
            }),
        }
    }

    /// Opens the first segment and starts the committer and the housekeeping on this shard. When no
    /// directory takes a segment, the channel starts all the same: its backlog drains, which may be
    /// what makes room, and batches are refused until then.
    /// `prewritten` is told how many of how many bytes have been written meanwhile.
    pub async fn start(&self, mut prewritten: impl FnMut(u64, u64)) {
        let inner = &self.inner;
        let segment_bytes = inner.segments.plan().segment_bytes;
        let spares_wanted = (limits::PREWRITE_BYTES_AT_START / segment_bytes).clamp(1, 3);
        let total_bytes = spares_wanted * segment_bytes;
        for spares in 1..=spares_wanted {
            prewritten((spares - 1) * segment_bytes, total_bytes);
            let spares = usize::try_from(spares).expect("at most three");
            if let Err(error) = inner.segments.prepare_spare(spares).await {
                tracing::warn!(
                    "channel {}: no spare segment: {error}",
                    inner.admission.channel
                );
                break;
            }
        }
        let end = inner.state.borrow().end;
        match inner.segments.open_next(end).await {
            Ok(active) => inner.activate(active),
            Err(error) => {
                let refusal = inner.refusal_of(&error);
                tracing::error!("{refusal}; batches are answered FAILED until that changes");
                inner.state.borrow_mut().refusal = Some(refusal);
            }
        }
        let ground = inner.ground.clone();
        ground.spawn(Rc::clone(inner).commit_blocks());
        ground.spawn(Rc::clone(inner).keep_house());
    }

    /// Refuses new batches, and returns when every batch taken so far has its outcome.
    pub async fn close(&self) {
        self.inner.state.borrow_mut().closing = true;
        self.inner.filled.notify_one();
        while !self.inner.state.borrow().committer_ended {
            self.inner.ended.notified().await;
        }
    }

    /// Why batches are refused at the moment, for readiness.
    #[must_use]
    pub fn refusal(&self) -> Option<PutError> {
        self.inner.state.borrow().refusal.clone()
    }
}

impl<G: Ground> Put for Appender<G> {
    type Commit = Commit;

    async fn put(&self, batch: &Batch<'_>) -> Result<Commit, PutError> {
        if batch.event_count == 0 {
            return Ok(Commit::default());
        }
        let inner = &*self.inner;
        let mut overlay = Vec::new();
        if !batch.overlay.is_empty() {
            batch.overlay.encode(&mut overlay);
        }
        let refusal = || inner.refusal();
        let fits_block = record_bytes(batch, &overlay) <= payload_bytes_max(inner.block_bytes());
        if !fits_block {
            inner.check_event_sizes(batch, &overlay)?;
        }
        // Bytes are bounded by segments on disk, not counted per batch.
        let _turn = inner
            .admission
            .admit(&inner.ground, batch.event_count, 0, refusal)
            .await?;
        let mut commit = Commit::default();
        if fits_block {
            let outcome = inner.append(batch, &overlay, || false).await;
            commit.wait_for(outcome.expect("a whole batch is never moot"));
        } else {
            inner.append_in_parts(batch, &overlay, &mut commit).await;
        }
        Ok(commit)
    }
}

impl<G: Ground> Inner<G> {
    fn refusal(&self) -> Option<PutError> {
        let state = self.state.borrow();
        if state.closing {
            return Some(self.closed());
        }
        state.refusal.clone()
    }

    fn block_bytes(&self) -> usize {
        self.ground.bounds().block_bytes
    }

    fn closed(&self) -> PutError {
        PutError::Closed {
            channel: Rc::clone(&self.admission.channel),
        }
    }

    /// Tells operators since when the oldest batch waits for its commit.
    fn show_oldest(&self) {
        let state = self.state.borrow();
        let filling = state.filling.as_ref().map_or(0, |filling| filling.since_ms);
        let oldest = match state.writing_since_ms {
            0 => filling,
            writing => writing,
        };
        self.meters
            .borrow()
            .gauges
            .oldest_unacknowledged_ms
            .set(oldest);
    }

    /// An event has to fit one block, and a block one segment. Only batches that are larger than a
    /// block are looked at.
    fn check_event_sizes(&self, batch: &Batch<'_>, overlay: &[u8]) -> Result<(), PutError> {
        let segment_bytes = self.segments.plan().segment_bytes - SEGMENT_HEADER_BYTES;
        let bytes_max = usize::try_from(segment_bytes).unwrap_or(usize::MAX);
        let bytes_max = bytes_max.min(limits::BLOCK_BYTES_MAX) - BLOCK_HEADER_BYTES;
        let bytes_max = bytes_max.saturating_sub(RECORD_HEADER_BYTES + overlay.len());
        let too_large = |event_bytes| PutError::EventTooLarge {
            channel: Rc::clone(&self.admission.channel),
            event_bytes,
            bytes_max,
        };
        if overlay.len() > self.block_bytes() / 2 {
            return Err(too_large(overlay.len()));
        }
        for piece in batch.pieces {
            let mut cursor = Cursor::new(piece);
            let mut start = 0;
            while cursor.bytes_left() > 0 {
                let end = Events::skip(&mut cursor).expect("the source has scanned the batch");
                if end - start > bytes_max {
                    return Err(too_large(end - start));
                }
                start = end;
            }
        }
        Ok(())
    }

    /// Adds one record, waiting until a buffer has room for it, unless it is `moot` by then. The caller
    /// holds the turn.
    async fn append(
        &self,
        batch: &Batch<'_>,
        overlay: &[u8],
        moot: impl Fn() -> bool,
    ) -> Option<Rc<Outcome>> {
        let bytes = record_bytes(batch, overlay);
        loop {
            if moot() {
                return None;
            }
            if let Some(outcome) = self.try_append(batch, overlay, bytes) {
                self.show_oldest();
                self.filled.notify_one();
                return Some(outcome);
            }
            self.room.notified().await;
        }
    }

    fn try_append(&self, batch: &Batch<'_>, overlay: &[u8], bytes: usize) -> Option<Rc<Outcome>> {
        let mut state = self.state.borrow_mut();
        if state.committer_ended {
            self.admission.usage.release(batch.event_count as u64, 0);
            let outcome = Rc::new(Outcome::default());
            outcome.resolve(Err(self.closed()));
            return Some(outcome);
        }
        let next_bytes = state.buffer_bytes;
        let filling = match &mut state.filling {
            Some(filling) => filling,
            empty => {
                let buffer_bytes = next_bytes.max(block_bytes(bytes));
                empty.insert(Filling::new(
                    self.ground.buffer(buffer_bytes),
                    self.ground.wall_ms(),
                ))
            }
        };
        // An event larger than a block has a buffer of its own, which may be too small for others
        // or too large to be topped up.
        if filling.used + bytes > filling.capacity {
            return None;
        }
        let used = filling.used;
        let written = write_record(&mut filling.buffer.bytes_mut()[used..], batch, overlay);
        assert_eq!(written, bytes, "a record is as long as it was measured");
        filling.used += written;
        filling.event_count += batch.event_count;
        filling.record_count += 1;
        Some(Rc::clone(&filling.outcome))
    }

    /// Cuts a batch that is larger than a block at event boundaries. Nothing is stored behind a part
    /// that was refused: the client repeats the whole batch, and its order must hold.
    async fn append_in_parts(&self, batch: &Batch<'_>, overlay: &[u8], commit: &mut Commit) {
        let room = payload_bytes_max(self.block_bytes()) - RECORD_HEADER_BYTES - overlay.len();
        let mut stored = 0;
        for piece in batch.pieces {
            let mut cursor = Cursor::new(piece);
            let (mut start, mut count, mut end) = (0, 0, 0);
            while cursor.bytes_left() > 0 {
                let next = Events::skip(&mut cursor).expect("the source has scanned the batch");
                if count > 0 && next - start > room {
                    if !self
                        .append_part(batch, &piece[start..end], count, overlay, commit)
                        .await
                    {
                        return self.give_up(batch.event_count - stored);
                    }
                    stored += count;
                    (start, count) = (end, 0);
                }
                count += 1;
                end = next;
            }
            if count > 0 {
                if !self
                    .append_part(batch, &piece[start..end], count, overlay, commit)
                    .await
                {
                    return self.give_up(batch.event_count - stored);
                }
                stored += count;
            }
        }
    }

    /// Adds `piece`, a part of `batch`. False: a part before it was refused, and it is not added.
    async fn append_part(
        &self,
        batch: &Batch<'_>,
        piece: &[u8],
        event_count: usize,
        overlay: &[u8],
        commit: &mut Commit,
    ) -> bool {
        let pieces = [piece];
        let part = Batch {
            pieces: &pieces,
            event_count,
            overlay: batch.overlay,
            arrival_ms: batch.arrival_ms,
        };
        let outcome = self.append(&part, overlay, || commit.has_failed()).await;
        outcome.map(|outcome| commit.wait_for(outcome)).is_some()
    }

    /// Room that was taken for events that are not stored.
    fn give_up(&self, event_count: usize) {
        self.admission.usage.release(event_count as u64, 0);
    }

    fn activate(&self, active: ActiveSegment<G::File>) {
        self.shared.add_segment(active.info.clone());
        let mut state = self.state.borrow_mut();
        state.end.segment = active.info.id;
        state.end.offset = SEGMENT_HEADER_BYTES;
        state.active = Some(active);
    }
}

impl<B: WriteBuffer> Filling<B> {
    fn new(buffer: B, since_ms: u64) -> Self {
        let capacity = buffer.bytes().len();
        Self {
            buffer,
            capacity,
            used: BLOCK_HEADER_BYTES,
            event_count: 0,
            record_count: 0,
            outcome: Rc::default(),
            since_ms,
        }
    }
}

/// Payload that fits a block of `bytes` on disk.
const fn payload_bytes_max(bytes: usize) -> usize {
    bytes - BLOCK_HEADER_BYTES
}

fn as_u32(value: usize) -> u32 {
    u32::try_from(value).expect("blocks are smaller than 4 GiB")
}
