//! `replicating`: every required channel in order, then the optional ones, whose errors are only
//! logged. One per shard and source.
//!
//! As in Flume, a channel that took the batch before another one refused keeps it.

use std::pin::Pin;
use std::rc::Rc;

use crate::channel::{Put, PutError};
use crate::event::Batch;

/// The channels of a source.
#[derive(Debug)]
pub struct Replicating<P> {
    /// Must take a batch before it is answered OK.
    pub required: Vec<Rc<P>>,
    /// May fail.
    pub optional: Vec<Rc<P>>,
}

/// A batch on its way to becoming durable.
#[derive(Debug)]
pub struct Receipt<C> {
    required: Vec<Pin<Box<C>>>,
    optional: Vec<Pin<Box<C>>>,
}

impl<P: Put> Replicating<P> {
    /// Copies the batch into the channels.
    ///
    /// # Errors
    /// The first error of a required channel; later channels are not tried then.
    pub async fn put(&self, batch: &Batch<'_>) -> Result<Receipt<P::Commit>, PutError> {
        let mut receipt = Receipt {
            required: Vec::with_capacity(self.required.len()),
            optional: Vec::new(),
        };
        for channel in &self.required {
            receipt.required.push(Box::pin(channel.put(batch).await?));
        }
        for channel in &self.optional {
            match channel.put(batch).await {
                Ok(commit) => receipt.optional.push(Box::pin(commit)),
                Err(error) => log_optional(&error),
            }
        }
        Ok(receipt)
    }
}

impl<C: Future<Output = Result<(), PutError>>> Receipt<C> {
    /// Waits until every channel has committed, or a required one has failed.
    ///
    /// # Errors
    /// The first error of a required channel.
    pub async fn committed(self) -> Result<(), PutError> {
        for commit in self.required {
            commit.await?;
        }
        for commit in self.optional {
            if let Err(error) = commit.await {
                log_optional(&error);
            }
        }
        Ok(())
    }
}

fn log_optional(error: &PutError) {
    tracing::error!("Unable to put batch on optional channel: {error}");
}
