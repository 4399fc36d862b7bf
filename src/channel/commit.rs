//! The answer to a put: one outcome per block, awaited by every batch in it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::put::PutError;

/// What became of a block. Lives on its shard.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Result<(), PutError>>,
    waiting: Vec<Waker>,
}

impl Outcome {
    /// Tells everybody who waits. Once.
    pub(super) fn resolve(&self, result: Result<(), PutError>) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            assert!(state.result.is_none(), "a block has one outcome");
            state.result = Some(result);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), PutError>> {
        let mut state = self.state.borrow_mut();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                if !state
                    .waiting
                    .iter()
                    .any(|waker| waker.will_wake(cx.waker()))
                {
                    state.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// Resolves when every block that holds a part of the batch is committed, or one was not.
#[derive(Debug, Default)]
pub struct Commit {
    /// Outcomes not yet known, last one first; almost always one.
    open: Vec<Rc<Outcome>>,
    failed: Option<PutError>,
}

impl Commit {
    /// Waits for `outcome` too.
    pub(super) fn wait_for(&mut self, outcome: Rc<Outcome>) {
        self.open.insert(0, outcome);
    }
}

impl Future for Commit {
    type Output = Result<(), PutError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(outcome) = self.open.last() {
            match outcome.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => {
                    self.open.pop();
                    if let Err(error) = result {
                        self.failed.get_or_insert(error);
                    }
                }
            }
        }
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }
}
