//! The memory channel: batches wait in memory and are lost when the process ends, as in Flume.
//!
//! Per shard, like the log, and through the same blocks, links and consumers: only the appender is
//! another one. A batch is one block. Room for events is given back when every consumer group has
//! passed them, room for bytes when the last reference to a block's memory is gone.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::admission::Admission;
use super::block::{Block, record_bytes, write_record};
use super::commit::Commit;
use super::consumer::{DeliveredTo, Feed, Next};
use super::put::{Put, PutError};
use super::wal::{GroupLink, LogPosition, LogShared, Usage};
use crate::event::Batch;
use crate::metrics::{ChannelCounters, Counter};
use crate::reactor::Ground;

/// Takes batches on one shard.
#[derive(Debug, Clone)]
pub struct MemoryPut<G> {
    inner: Rc<Inner<G>>,
}

#[derive(Debug)]
struct Inner<G> {
    ground: G,
    admission: Admission,
    shared: Arc<LogShared>,
    committed_bytes: Arc<Counter>,
    end: Cell<LogPosition>,
    closing: Cell<bool>,
}

impl<G: Ground> MemoryPut<G> {
    /// Puts into the shard's part of channel `channel`.
    #[must_use]
    pub fn new(
        ground: G,
        channel: &str,
        transaction_capacity: usize,
        keep_alive: Duration,
        shared: Arc<LogShared>,
        counters: Arc<ChannelCounters>,
        committed_bytes: Arc<Counter>,
    ) -> Self {
        let usage = Arc::clone(&shared.usage);
        let admission = Admission::new(channel, transaction_capacity, keep_alive, usage, counters);
        let (end, closing) = (Cell::default(), Cell::new(false));
        Self {
            inner: Rc::new(Inner {
                ground,
                admission,
                shared,
                committed_bytes,
                end,
                closing,
            }),
        }
    }

    /// Refuses new batches.
    pub fn close(&self) {
        self.inner.closing.set(true);
    }
}

/// A block's memory; its bytes are given back when the last reader is done.
struct Held {
    memory: Vec<u8>,
    usage: Arc<Usage>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.usage.release(0, self.memory.len() as u64);
    }
}

impl<G: Ground> Put for MemoryPut<G> {
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
        let bytes = record_bytes(batch, &overlay);
        let closed = || {
            let channel = Rc::clone(&inner.admission.channel);
            inner.closing.get().then_some(PutError::Closed { channel })
        };
        let _turn = inner
            .admission
            .admit(&inner.ground, batch.event_count, bytes, closed)
            .await?;
        let mut memory = vec![0; bytes];
        write_record(&mut memory, batch, &overlay);
        let start = inner.end.get();
        let end = LogPosition {
            sequence: start.sequence + 1,
            event: start.event + batch.event_count as u64,
            ..start
        };
        inner.end.set(end);
        let held_bytes = memory.len();
        let held = Held {
            memory,
            usage: Arc::clone(&inner.shared.usage),
        };
        let block = Block {
            sequence: start.sequence,
            first_event: start.event,
            event_count: u32::try_from(batch.event_count).expect("limited by BATCH_EVENTS_MAX"),
            segment: 0,
            offset: 0,
            payload: Bytes::from_owner(held),
            held_bytes,
        };
        inner.shared.publish(Some(&block), end);
        inner
            .admission
            .counters
            .event_put_success
            .add(batch.event_count as u64);
        inner.committed_bytes.add(bytes as u64);
        Ok(Commit::default())
    }
}

/// Blocks of one shard's memory for one consumer group. Lives on the group's drain thread.
#[derive(Debug)]
pub struct MemoryFeed {
    log: Arc<LogShared>,
    link: Arc<GroupLink>,
}

impl MemoryFeed {
    /// The feed of `link`'s group.
    #[must_use]
    pub fn new(log: Arc<LogShared>, link: Arc<GroupLink>) -> Self {
        Self { log, link }
    }
}

impl Feed for MemoryFeed {
    fn shard(&self) -> u32 {
        self.log.shard
    }

    fn start(&self) -> DeliveredTo {
        DeliveredTo::default()
    }

    fn next(&mut self) -> Next {
        self.link.pop().map_or(Next::Empty, Next::Block)
    }

    fn delivered(&mut self, cursor: DeliveredTo) {
        self.log.delivered(&self.link, cursor);
    }
}
