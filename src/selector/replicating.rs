//! `replicating`: every required channel in order, then the optional ones, whose errors are only
//! reported. One per shard and source.
//!
//! As in Flume, a channel that took the batch before another one refused keeps it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// A batch on its way to becoming durable.
#[derive(Debug)]
pub struct Receipt<C> {
    /// The first required channel. With one channel, the usual case, nothing is allocated.
    first: Option<C>,
    /// The other channels, in order.
    others: VecDeque<(Need, C)>,
}

impl<P: Put> Replicating<P> {
    /// Copies the batch into the channels. `optional_failed` hears of optional ones that refuse it.
    ///
    /// # Errors
    /// The first error of a required channel; later channels are not tried then.
    pub async fn put(
        &self,
        batch: &Batch<'_>,
        optional_failed: impl Fn(&PutError),
    ) -> Result<Receipt<P::Commit>, PutError> {
        let mut receipt = Receipt::nothing();
        for channel in &self.required {
            let commit = channel.put(batch).await?;
            if receipt.first.is_none() {
                receipt.first = Some(commit);
            } else {
                receipt.others.push_back((Need::Required, commit));
            }
        }
        for channel in &self.optional {
            match channel.put(batch).await {
                Ok(commit) => receipt.others.push_back((Need::Optional, commit)),
                Err(error) => optional_failed(&error),
            }
        }
        Ok(receipt)
    }
}

impl<C> Receipt<C> {
    /// For a batch without events: no channel has to take it.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            first: None,
            others: VecDeque::new(),
        }
    }
}

impl<C: Future<Output = Result<(), PutError>> + Unpin> Receipt<C> {
    /// Ready when every channel has committed, or with the first error of a required channel.
    /// `optional_failed` hears of optional ones that failed. Not to be called again then.
    pub fn poll_committed(
        &mut self,
        cx: &mut Context<'_>,
        optional_failed: impl Fn(&PutError),
    ) -> Poll<Result<(), PutError>> {
        if let Some(commit) = &mut self.first {
            match Pin::new(commit).poll(cx) {
                Poll::Ready(Ok(())) => self.first = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        while let Some((need, commit)) = self.others.front_mut() {
            match (*need, Pin::new(commit).poll(cx)) {
                (_, Poll::Pending) => return Poll::Pending,
                (_, Poll::Ready(Ok(()))) => {}
                (Need::Required, Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                (Need::Optional, Poll::Ready(Err(error))) => optional_failed(&error),
            }
            self.others.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}
