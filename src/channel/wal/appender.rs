//! Appending: batches gather in a buffer, the buffer becomes a block, the block becomes durable, and
//! only then is anybody told.
//!
//! One appender per shard and file channel, on the shard's thread from start to stop. Group commit
//! clocks itself: while one block is being written, everything that arrives forms the next; a small one
//! waits for those who were just answered ([`Gather`]), and nobody waits when idle. One write is in flight at a time, so blocks become durable in
//! order.
//!
//! Always true: a [`Commit`] resolves to `Ok` only after `write_durable` returned `Ok` for its block.
//! A failed write ends its segment for good; the same block, still in memory, goes to a fresh segment
//! (another directory first) under the same sequence. Recovery knows that a segment ends where its
//! successor begins, so the failed copy is never read.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future;
use tokio::sync::Notify;

use super::gather::{Gather, Gathered};
use super::header::{BLOCK_HEADER_BYTES, BlockHeader, SEGMENT_HEADER_BYTES, block_bytes};
use super::patience::{no_answer, patiently};
use super::segments::{ActiveSegment, SegmentError, Segments};
use super::shared::{LogPosition, LogShared, SegmentInfo};
use crate::channel::admission::Admission;
use crate::channel::block::{Block, RECORD_HEADER_BYTES, record_bytes, write_record};
use crate::channel::commit::{Commit, Outcome};
use crate::channel::put::{Put, PutError};
use crate::event::{Batch, Cursor, Events};
use crate::limits;
use crate::metrics::{ChannelCounters, Counter, LogGauges, Recorder};
use crate::reactor::{Defence, DiskFile, Ground, WriteBuffer};

/// A block that fills less than this part of its buffer is copied for the drain: a tail of many small
/// commits must not pin a large buffer each.
const LEND_ABOVE: usize = 4;
/// How often segments are recycled and free space is looked at.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(100);
/// A channel without a healthy directory looks for one this often.
const RETRY_EVERY: Duration = Duration::from_secs(1);

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

/// A block on its way to disk.
struct Sealed<B> {
    filling: Filling<B>,
    payload_crc: u32,
}

/// A block that is durable, and nobody knows yet.
struct Written<B> {
    sealed: Sealed<B>,
    start: LogPosition,
    end: LogPosition,
    /// Its last write.
    took: Duration,
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

    /// The committer: one block after another, for as long as the shard lives.
    async fn commit_blocks(self: Rc<Self>) {
        let mut written: Option<Written<G::Buffer>> = None;
        let mut gather = Gather::default();
        loop {
            if let Some(wait) = self.wait_for_more(&mut gather) {
                // Those who are waited for have to be answered first.
                if let Some(written) = written.take() {
                    self.announce(written);
                }
                future::or(self.filled.notified(), self.ground.sleep(wait)).await;
                continue;
            }
            let Some(sealed) = self.seal() else {
                // Nothing to write: those whose block is durable need not wait for more.
                if let Some(written) = written.take() {
                    self.announce(written);
                    continue;
                }
                if self.state.borrow().closing {
                    break;
                }
                if std::mem::take(&mut self.state.borrow_mut().probe) {
                    self.probe().await;
                    continue;
                }
                self.filled.notified().await;
                continue;
            };
            let mut write = pin!(self.write(sealed));
            // The first poll submits the write. The device works while those who wait for the block
            // before are told, and parse what they have received meanwhile.
            let mut first = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
            if let Some(written) = written.take() {
                self.announce(written);
            }
            let result = loop {
                match first {
                    Poll::Ready(result) => break result,
                    Poll::Pending => first = Poll::Ready(write.as_mut().await),
                }
            };
            self.state.borrow_mut().writing_since_ms = 0;
            self.show_oldest();
            if let Some(written) = &result {
                let waiting = self.gathered().map_or(0, |gathered| gathered.batches);
                let (batches, took) = (written.sealed.filling.record_count, written.took);
                gather.written(batches, took, waiting, self.ground.now());
            }
            written = result;
        }
        assert!(self.seal().is_none(), "the loop ends when nothing waits");
        self.state.borrow_mut().committer_ended = true;
        self.ended.notify_waiters();
    }

    /// How long the next block waits for more, if it does.
    fn wait_for_more(&self, gather: &mut Gather) -> Option<Duration> {
        let gathered = self.gathered()?;
        if self.state.borrow().closing {
            return None;
        }
        gather.wait(gathered, self.ground.now())
    }

    fn gathered(&self) -> Option<Gathered> {
        let state = self.state.borrow();
        state.filling.as_ref().map(|filling| Gathered {
            batches: filling.record_count,
            bytes: filling.used,
        })
    }

    /// Takes what has gathered. Room for others begins here.
    fn seal(&self) -> Option<Sealed<G::Buffer>> {
        let mut state = self.state.borrow_mut();
        let mut filling = state.filling.take()?;
        self.room.notify_waiters();
        let used = filling.used;
        let bounds = self.ground.bounds();
        let wanted = (used * 2).next_power_of_two();
        state.buffer_bytes = wanted.clamp(bounds.buffer_bytes_min, bounds.block_bytes);
        state.writing_since_ms = filling.since_ms;
        drop(state);
        let padded = block_bytes(used - BLOCK_HEADER_BYTES);
        let bytes = filling.buffer.bytes_mut();
        bytes[used..padded].fill(0);
        let payload_crc = crc32c::crc32c(&bytes[BLOCK_HEADER_BYTES..used]);
        Some(Sealed {
            filling,
            payload_crc,
        })
    }

    /// Makes a block durable wherever a directory lets us, or fails everybody in it.
    async fn write(&self, mut sealed: Sealed<G::Buffer>) -> Option<Written<G::Buffer>> {
        let payload_bytes = sealed.filling.used - BLOCK_HEADER_BYTES;
        let length = block_bytes(payload_bytes);
        let event_count = sealed.filling.event_count;
        let mut attempts_left = self.segments.plan().directories.len() + 1;
        if self.ground.lacks(Defence::AckAfterWrite) {
            std::mem::take(&mut sealed.filling.outcome).resolve(Ok(()));
        }
        loop {
            if let Err(error) = self.room_in_segment(length).await {
                self.refuse(event_count, &sealed.filling.outcome, &error);
                return None;
            }
            let (file, start, epoch) = {
                let state = self.state.borrow();
                let active = state.active.as_ref().expect("room_in_segment opened one");
                (Rc::clone(&active.file), state.end, active.info.epoch)
            };
            let header = BlockHeader {
                shard: self.shared.shard,
                segment: start.segment,
                epoch,
                offset: start.offset,
                sequence: start.sequence,
                first_event: start.event,
                event_count: as_u32(sealed.filling.event_count),
                record_count: as_u32(sealed.filling.record_count),
                payload_bytes: as_u32(payload_bytes),
                block_bytes: as_u32(length),
                chain: start.chain,
                payload_crc: sealed.payload_crc,
            };
            let chain = header.encode(sealed.filling.buffer.bytes_mut());
            let began = self.ground.now();
            let buffer = sealed.filling.buffer;
            let write = async move { file.write_durable(buffer, length, start.offset).await };
            let result = match patiently(&self.ground, Box::pin(write)).await {
                Ok((result, buffer)) => {
                    sealed.filling.buffer = buffer;
                    result
                }
                Err(write) => {
                    let reason = self.stop_waiting(start, write);
                    self.fail(event_count, &sealed.filling.outcome, &reason);
                    return None;
                }
            };
            match result {
                Ok(()) => {
                    let now = self.ground.now();
                    let mut meters = self.meters.borrow_mut();
                    meters.flush_latency.record_latency(now - began, now);
                    meters.block_bytes.record_bytes(length as u64, now);
                    let end = LogPosition {
                        segment: start.segment,
                        offset: start.offset + length as u64,
                        sequence: start.sequence + 1,
                        event: start.event + sealed.filling.event_count as u64,
                        chain,
                    };
                    self.state.borrow_mut().end = end;
                    let took = now - began;
                    return Some(Written {
                        sealed,
                        start,
                        end,
                        took,
                    });
                }
                Err(error) => {
                    attempts_left -= 1;
                    if self.ground.lacks(Defence::FailedSegmentEnds) && attempts_left > 0 {
                        continue;
                    }
                    self.segment_failed(start, &error);
                    if attempts_left == 0 {
                        let path = self.segments.plan().directories[0].clone();
                        let error = SegmentError::Device {
                            path,
                            operation: "writing",
                            source: error,
                        };
                        self.refuse(event_count, &sealed.filling.outcome, &error);
                        return None;
                    }
                }
            }
        }
    }

    /// Makes sure the active segment has room for `length` bytes.
    async fn room_in_segment(&self, length: usize) -> Result<(), SegmentError> {
        loop {
            let end = {
                let state = self.state.borrow();
                if let Some(active) = &state.active
                    && state.end.offset + length as u64 <= active.info.bytes
                {
                    return Ok(());
                }
                state.end
            };
            // From here on the old segment is closed, also if there is no next one. A header that begins
            // here may come true after an error or a long silence; a block written behind it into the old
            // segment would be taken for a superseded copy.
            self.state.borrow_mut().active = None;
            let active = self.segments.open_next(end).await?;
            self.activate(active);
        }
    }

    /// The device refused a write. Whatever the segment holds past its last good block is unknown and
    /// never looked at; nothing is written to this file again. Returns its path.
    fn segment_failed(&self, start: LogPosition, error: &io::Error) -> PathBuf {
        let active = self.state.borrow_mut().active.take();
        let active = active.expect("a segment was being written");
        tracing::error!(
            "channel {}: writing {} at offset {} failed: {error}; the segment is closed for good, \
             and the block goes to a fresh one",
            self.admission.channel,
            active.info.path.display(),
            start.offset,
        );
        self.shared.mark_failed(active.info.id);
        self.segments.failed(&active.info.path);
        active.info.path
    }

    /// The disk does not answer a write. Its segment ends as after an error. The write may still come
    /// true: it holds the buffer, so the block cannot go elsewhere, and its batches are FAILED; what
    /// it leaves on the disk is a failed copy that nobody reads, because the next block takes the
    /// same sequence in another segment.
    fn stop_waiting(&self, start: LogPosition, write: impl Future + 'static) -> PutError {
        let source = no_answer();
        let path = self.segment_failed(start, &source);
        self.segments.let_run(&path, async move {
            write.await;
        });
        let operation = "writing";
        self.refusal_of(&SegmentError::Device {
            path,
            operation,
            source,
        })
    }

    /// Nobody could store the block, and nobody can store the next one.
    fn refuse(&self, event_count: usize, outcome: &Outcome, error: &SegmentError) {
        let refusal = self.refusal_of(error);
        tracing::error!("{refusal}; {error}");
        self.state.borrow_mut().refusal = Some(refusal.clone());
        self.fail(event_count, outcome, &refusal);
    }

    /// The batches of a block are FAILED, and their agents keep them. So are those that gathered
    /// meanwhile: the rest of a batch must not be stored behind a part that was not.
    fn fail(&self, event_count: usize, outcome: &Outcome, reason: &PutError) {
        let gathered = self.state.borrow_mut().filling.take();
        let gathered = gathered.map(|filling| (filling.event_count, filling.outcome));
        let resolve = |event_count: usize, outcome: &Outcome| {
            let event_count = event_count as u64;
            self.admission.usage.release(event_count, 0);
            self.admission.counters.event_put_error.add(event_count);
            outcome.resolve(Err(reason.clone()));
        };
        resolve(event_count, outcome);
        if let Some((event_count, outcome)) = gathered {
            resolve(event_count, &outcome);
        }
        self.room.notify_waiters();
    }

    /// What a source is told when there is no segment to write to.
    fn refusal_of(&self, error: &SegmentError) -> PutError {
        let channel = Rc::clone(&self.admission.channel);
        match error {
            SegmentError::NoSpace {
                directory,
                free_bytes,
                required_bytes,
            } => PutError::NoSpace {
                channel,
                directory: directory.display().to_string(),
                free_bytes: *free_bytes,
                required_bytes: *required_bytes,
            },
            SegmentError::Full {
                segment_count,
                segment_bytes,
            } => PutError::Full {
                channel,
                used_events: self.admission.usage.events(),
                capacity_events: self.admission.usage.capacity_events,
                used_bytes: *segment_count as u64 * segment_bytes,
                capacity_bytes: *segment_count as u64 * segment_bytes,
                keep_alive_ms: 0,
            },
            SegmentError::Device { source, .. } => {
                let reason = io::Error::new(source.kind(), format!("{error}: {source}"));
                PutError::Device {
                    channel,
                    reason: Rc::new(reason),
                }
            }
            SegmentError::Resting => {
                let reason = Rc::new(io::Error::other(error.to_string()));
                PutError::Device { channel, reason }
            }
        }
    }

    /// A block is durable: the drain gets it, then its agents are answered.
    fn announce(&self, written: Written<G::Buffer>) {
        let Written {
            sealed: Sealed { filling, .. },
            start,
            end,
            took: _,
        } = written;
        assert_eq!(end.sequence, start.sequence + 1, "one block");
        let Filling {
            buffer,
            capacity,
            used,
            event_count,
            outcome,
            ..
        } = filling;
        let block = (!self.shared.groups.is_empty()).then(|| {
            let (payload, held_bytes) = if used < capacity / LEND_ABOVE {
                let copy = bytes::Bytes::copy_from_slice(&buffer.bytes()[BLOCK_HEADER_BYTES..used]);
                (copy, used)
            } else {
                (buffer.share(used).slice(BLOCK_HEADER_BYTES..), capacity)
            };
            Block {
                sequence: start.sequence,
                first_event: start.event,
                event_count: as_u32(event_count),
                segment: start.segment,
                offset: start.offset,
                payload,
                held_bytes,
            }
        });
        self.admission
            .counters
            .event_put_success
            .add(event_count as u64);
        let payload_bytes = used - BLOCK_HEADER_BYTES;
        let committed_bytes = &self.meters.borrow().committed_bytes;
        committed_bytes.add(payload_bytes as u64);
        self.shared.publish(block.as_ref(), end);
        outcome.resolve(Ok(()));
    }

    /// Recycles released segments, keeps a spare one, watches the free space.
    async fn keep_house(self: Rc<Self>) {
        let mut retry_at = Duration::ZERO;
        let mut released = Vec::new();
        let spares_cared_for = Rc::new(Cell::new(true));
        while !self.state.borrow().committer_ended {
            self.ground.sleep(HOUSEKEEPING_EVERY).await;
            // A disk that hangs holds up its own files and no others: each has a task of its own.
            released.extend(self.shared.take_released());
            let answers = |segment: &mut SegmentInfo| !self.segments.hangs(&segment.path);
            for segment in released.extract_if(.., answers) {
                let segments = Rc::clone(&self.segments);
                self.ground
                    .spawn(async move { segments.recycle(segment).await });
            }
            if spares_cared_for.replace(false) {
                let (house, done) = (Rc::clone(&self), Rc::clone(&spares_cared_for));
                let trims = self.ground.now() >= retry_at;
                self.ground.spawn(async move {
                    house.care_for_spares(trims).await;
                    done.set(true);
                });
            }
            let now = self.ground.now();
            {
                let mut meters = self.meters.borrow_mut();
                meters.flush_latency.publish(now);
                meters.block_bytes.publish(now);
            }
            if now >= retry_at {
                retry_at = now + RETRY_EVERY;
                self.look_for_trouble();
            }
        }
    }

    async fn care_for_spares(&self, trims: bool) {
        if trims {
            self.segments.trim_spares().await;
        }
        let spares = self.segments.spare_count() as u64;
        self.meters.borrow().gauges.spare_segment_count.set(spares);
        if let Err(error) = self.segments.prepare_spare(1).await {
            tracing::debug!(
                "channel {}: no spare segment: {error}",
                self.admission.channel
            );
        }
    }

    /// Begins or ends the refusal of batches for want of space or of a healthy directory.
    fn look_for_trouble(&self) {
        let required_bytes = self.segments.plan().minimum_required_space;
        let low = self.segments.look_for_room();
        let refusal = self.state.borrow().refusal.clone();
        match (low, refusal) {
            (Some((directory, free_bytes)), None) => {
                let refusal = PutError::NoSpace {
                    channel: Rc::clone(&self.admission.channel),
                    directory: directory.display().to_string(),
                    free_bytes,
                    required_bytes,
                };
                tracing::error!("{refusal}; batches are answered FAILED until there is room");
                self.state.borrow_mut().refusal = Some(refusal);
            }
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(_)) => {
                // The committer owns the active segment, so it opens the new one.
                self.state.borrow_mut().probe = true;
                self.filled.notify_one();
            }
        }
    }

    /// Looks whether batches can be stored again.
    async fn probe(&self) {
        match self.room_in_segment(self.block_bytes()).await {
            Ok(()) => {
                self.state.borrow_mut().refusal = None;
                tracing::info!("channel {} takes batches again", self.admission.channel);
            }
            Err(error) => tracing::warn!("channel {}: {error}", self.admission.channel),
        }
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
