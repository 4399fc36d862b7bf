//! The ingest side of whichever kind of channel a source writes to.

use crate::channel::wal::Appender;
use crate::channel::{Commit, MemoryPut, Put, PutError};
use crate::event::Batch;
use crate::reactor::Ground;

/// A file or a memory channel on one shard.
#[derive(Debug, Clone)]
pub(super) enum ChannelPut<G: Ground> {
    File(Appender<G>),
    Memory(MemoryPut<G>),
}

impl<G: Ground> Put for ChannelPut<G> {
    type Commit = Commit;

    async fn put(&self, batch: &Batch<'_>) -> Result<Commit, PutError> {
        match self {
            Self::File(appender) => appender.put(batch).await,
            Self::Memory(memory) => memory.put(batch).await,
        }
    }
}

impl<G: Ground> ChannelPut<G> {
    /// Refuses new batches; returns when all taken have their outcome.
    pub(super) async fn close(&self) {
        match self {
            Self::File(appender) => appender.close().await,
            Self::Memory(memory) => memory.close(),
        }
    }

    /// Why batches are refused at the moment.
    pub(super) fn refusal(&self) -> Option<PutError> {
        match self {
            Self::File(appender) => appender.refusal(),
            Self::Memory(_) => None,
        }
    }
}
