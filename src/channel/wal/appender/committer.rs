//! The committer: one block after another becomes durable, and those who wait for it are told.
//!
//! A part of the appender, on the shard's thread. Always true: one block is under way, and blocks are
//! announced in the order of their numbers.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future;

use super::{Filling, Inner, as_u32};
use crate::channel::block::Block;
use crate::channel::commit::Outcome;
use crate::channel::put::PutError;
use crate::channel::wal::gather::{Gather, Gathered};
use crate::channel::wal::header::{BLOCK_HEADER_BYTES, BlockHeader, block_bytes};
use crate::channel::wal::patience::{no_answer, patiently};
use crate::channel::wal::segments::SegmentError;
use crate::channel::wal::shared::LogPosition;
use crate::reactor::{Defence, DiskFile, Ground, WriteBuffer};

/// A block that fills less than this part of its buffer is copied for the drain: a tail of many small
/// commits must not pin a large buffer each.
const LEND_ABOVE: usize = 4;

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

impl<G: Ground> Inner<G> {
    /// The committer: one block after another, for as long as the shard lives.
    pub(super) async fn commit_blocks(self: Rc<Self>) {
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
    pub(super) async fn room_in_segment(&self, length: usize) -> Result<(), SegmentError> {
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
    pub(super) fn refusal_of(&self, error: &SegmentError) -> PutError {
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
}
