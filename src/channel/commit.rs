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
    /// Whether a block that holds a part of the batch was refused.
    pub(super) fn has_failed(&self) -> bool {
        let refused = |outcome: &Rc<Outcome>| matches!(outcome.state.borrow().result, Some(Err(_)));
        self.failed.is_some() || self.open.iter().any(refused)
    }

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

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn closed() -> PutError {
        let channel = Rc::from("c1");
        PutError::Closed { channel }
    }

    /// A commit over `count` blocks, and what becomes of them.
    fn over(count: usize) -> (Commit, Vec<Rc<Outcome>>) {
        let outcomes: Vec<Rc<Outcome>> = (0..count).map(|_| Rc::default()).collect();
        let mut commit = Commit::default();
        for outcome in &outcomes {
            commit.wait_for(Rc::clone(outcome));
        }
        (commit, outcomes)
    }

    #[test]
    fn batch_of_no_block_is_committed() {
        assert!(block_on(Commit::default()).is_ok());
    }

    #[test]
    fn batch_is_committed_when_every_block_is_in_whatever_order() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let (mut commit, outcomes) = over(3);
            for block in order {
                assert!(block_on(poll_once(&mut commit)).is_none());
                outcomes[block].resolve(Ok(()));
            }
            assert!(matches!(block_on(poll_once(&mut commit)), Some(Ok(()))));
        }
    }

    #[test]
    fn one_failed_block_fails_the_batch_once_all_are_known() {
        let (mut commit, outcomes) = over(2);
        outcomes[0].resolve(Err(closed()));
        assert!(
            block_on(poll_once(&mut commit)).is_none(),
            "the other block is under way"
        );
        outcomes[1].resolve(Ok(()));
        assert!(matches!(block_on(commit), Err(PutError::Closed { .. })));
    }

    #[test]
    fn every_batch_of_a_block_is_told() {
        let outcome = Rc::new(Outcome::default());
        let mut commits: Vec<Commit> = (0..3).map(|_| Commit::default()).collect();
        for commit in &mut commits {
            commit.wait_for(Rc::clone(&outcome));
            assert!(block_on(poll_once(commit)).is_none());
        }
        outcome.resolve(Err(closed()));
        for commit in commits {
            assert!(block_on(commit).is_err());
        }
        let mut late = Commit::default();
        late.wait_for(outcome);
        assert!(block_on(late).is_err(), "whoever asks later hears the same");
    }

    #[test]
    fn task_that_polls_often_waits_once() {
        let (mut commit, outcomes) = over(1);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(Pin::new(&mut commit).poll(&mut cx).is_pending());
        }
        assert_eq!(outcomes[0].state.borrow().waiting.len(), 1);
    }
}
