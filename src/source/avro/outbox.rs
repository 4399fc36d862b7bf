//! The writing half of a connection: answers calls in order once they are durable.
//!
//! Lives with its connection, on one shard. Always true: replies leave in the order of their calls;
//! at most `limits::PIPELINE_CALLS_MAX` calls wait for an answer; OK is written only after the commit;
//! all answers that are known go out in one write.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future;
use tokio::sync::Notify;

use super::inflate::Deflate;
use super::pulse::{Ending, Pulse};
use super::reply::{self, Status};
use super::service::Service;
use crate::channel::{Put, PutError};
use crate::limits::PIPELINE_CALLS_MAX;
use crate::reactor::ByteStream;
use crate::selector::Receipt;

/// Answers that wait for a write; with more than this they do not wait for further ones.
const WRITE_BYTES: usize = 64 * 1024;
/// What an idle connection keeps.
const IDLE_BYTES: usize = 4 * 1024;

/// What a call comes to.
pub(crate) enum Answer<C> {
    /// The handshake alone: the call was not executed, or was a ping.
    Handshake,
    /// An RPC error with this text.
    Error(String),
    /// A channel refused the batch.
    Failed(PutError),
    /// The channels have the batch; not yet durable.
    Commit(Receipt<C>),
}

/// A call that waits for its answer.
pub(crate) struct Pending<C> {
    pub(crate) serial: i32,
    /// The handshake part of the reply; empty once connected.
    pub(crate) handshake: Vec<u8>,
    pub(crate) is_batch: bool,
    pub(crate) event_count: usize,
    /// When its last byte came.
    pub(crate) received_at: Duration,
    pub(crate) answer: Answer<C>,
}

/// Between the halves of a connection.
pub(crate) struct Outbox<C> {
    queue: RefCell<VecDeque<Pending<C>>>,
    reader_ended: Cell<bool>,
    broken: Cell<bool>,
    deflated: Cell<bool>,
    changed: Notify,
    room: Notify,
}

impl<C> Default for Outbox<C> {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            reader_ended: Cell::new(false),
            broken: Cell::new(false),
            deflated: Cell::new(false),
            changed: Notify::new(),
            room: Notify::new(),
        }
    }
}

impl<C> Outbox<C> {
    /// Waits until one more call may wait for its answer.
    pub(crate) async fn has_room(&self) {
        while self.queue.borrow().len() >= PIPELINE_CALLS_MAX {
            self.room.notified().await;
        }
    }

    /// Adds a call behind those that wait.
    pub(crate) fn push(&self, pending: Pending<C>) {
        let mut queue = self.queue.borrow_mut();
        queue.push_back(pending);
        assert!(
            queue.len() <= PIPELINE_CALLS_MAX,
            "the reader waits for room"
        );
        self.changed.notify_one();
    }

    /// Replies are deflated from now on.
    pub(crate) fn deflate(&self) {
        self.deflated.set(true);
    }

    /// No more calls come: the writing half ends when those that wait are answered.
    pub(crate) fn end(&self) {
        self.reader_ended.set(true);
        self.changed.notify_one();
    }

    /// Whether the peer took every reply so far.
    pub(crate) fn is_whole(&self) -> bool {
        !self.broken.get()
    }
}

/// What became of the call at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Answered,
    /// It waits for its commit.
    Waiting,
    /// No call waits.
    Absent,
}

/// See the module.
pub(crate) struct Writer<'a, S, P: Put> {
    service: &'a Service<P>,
    stream: &'a S,
    pulse: &'a Pulse,
    outbox: &'a Outbox<P::Commit>,
    /// Replies not yet written.
    out: Vec<u8>,
    /// One reply before it is deflated.
    frame: Vec<u8>,
    deflate: Deflate,
}

impl<'a, S: ByteStream, P: Put> Writer<'a, S, P> {
    pub(crate) fn new(
        service: &'a Service<P>,
        stream: &'a S,
        pulse: &'a Pulse,
        outbox: &'a Outbox<P::Commit>,
    ) -> Self {
        Self {
            service,
            stream,
            pulse,
            outbox,
            out: Vec::new(),
            frame: Vec::new(),
            deflate: Deflate::default(),
        }
    }

    /// Answers every call until no more come. Commits are awaited even when nobody reads replies.
    pub(crate) async fn run(mut self) {
        loop {
            let front = poll_fn(|cx| Poll::Ready(self.answer_front(cx))).await;
            let due = front != Front::Answered || self.out.len() >= WRITE_BYTES;
            if due && !self.out.is_empty() {
                self.flush().await;
                continue;
            }
            match front {
                Front::Answered => {}
                Front::Waiting => {
                    poll_fn(|cx| match self.answer_front(cx) {
                        Front::Waiting => Poll::Pending,
                        Front::Answered | Front::Absent => Poll::Ready(()),
                    })
                    .await;
                }
                Front::Absent if self.outbox.reader_ended.get() => return,
                Front::Absent => {
                    self.out.shrink_to(IDLE_BYTES);
                    self.outbox.changed.notified().await;
                }
            }
        }
    }

    /// Moves the call at the front into `out` if its answer is known.
    fn answer_front(&mut self, cx: &mut Context<'_>) -> Front {
        let service = self.service;
        let mut queue = self.outbox.queue.borrow_mut();
        let Some(front) = queue.front_mut() else {
            return Front::Absent;
        };
        let outcome = match &mut front.answer {
            Answer::Commit(receipt) => {
                match receipt.poll_committed(cx, |error| service.optional_failed(error)) {
                    Poll::Pending => return Front::Waiting,
                    Poll::Ready(outcome) => outcome,
                }
            }
            Answer::Failed(error) => Err(error.clone()),
            Answer::Handshake | Answer::Error(_) => Ok(()),
        };
        let Some(answered) = queue.pop_front() else {
            return Front::Absent;
        };
        drop(queue);
        self.outbox.room.notify_one();
        let deflated = self.outbox.deflated.get();
        let to = if deflated {
            &mut self.frame
        } else {
            &mut self.out
        };
        let (serial, handshake) = (answered.serial, answered.handshake.as_slice());
        match (&answered.answer, outcome) {
            (Answer::Handshake, _) => reply::handshake_alone(to, serial, handshake),
            (Answer::Error(text), _) => reply::error(to, serial, handshake, text),
            (Answer::Commit(_) | Answer::Failed(_), Ok(())) => {
                service.accepted(answered.is_batch, answered.event_count);
                reply::status(to, serial, handshake, Status::Ok);
                service.answered(answered.received_at);
            }
            (Answer::Commit(_) | Answer::Failed(_), Err(error)) => {
                service.failed(answered.is_batch, &error);
                reply::status(to, serial, handshake, Status::Failed);
                service.answered(answered.received_at);
            }
        }
        if deflated {
            self.deflate.append(&mut self.out, &self.frame);
            self.frame.clear();
        }
        Front::Answered
    }

    /// Writes and empties `out`. After a failure nothing more is written.
    async fn flush(&mut self) {
        if !self.outbox.broken.get() {
            self.pulse.writes_since(Some((self.service.now)()));
            let given_up = async {
                self.pulse.writer_called().await;
                Err(io::ErrorKind::TimedOut.into())
            };
            let written = future::or(given_up, self.stream.write_all(&self.out)).await;
            self.pulse.writes_since(None);
            if let Err(error) = written {
                tracing::debug!("Unexpected exception from downstream. {error}");
                self.outbox.broken.set(true);
                self.pulse.end(Ending::Stop);
            }
        }
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Ready;
    use std::sync::Arc;

    use super::*;
    use crate::config::AvroSourceLimits;
    use crate::event::Batch;
    use crate::interceptor::Chain;
    use crate::limits;
    use crate::selector::Replicating;

    struct Nowhere;

    impl Put for Nowhere {
        type Commit = Ready<Result<(), PutError>>;

        async fn put(&self, _: &Batch<'_>) -> Result<Self::Commit, PutError> {
            Ok(std::future::ready(Ok(())))
        }
    }

    /// Remembers each write; fails those after the first `healthy_writes`.
    struct Recording {
        writes: RefCell<Vec<Vec<u8>>>,
        healthy_writes: usize,
    }

    impl ByteStream for Recording {
        async fn read(&self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
            self.writes.borrow_mut().push(bytes.to_vec());
            if self.writes.borrow().len() > self.healthy_writes {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        }

        async fn shutdown_write(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn service() -> Service<Nowhere> {
        Service {
            name: "r1".to_owned(),
            limits: AvroSourceLimits {
                frame_bytes_max: limits::FRAME_BYTES_MAX,
                batch_events_max: limits::BATCH_EVENTS_MAX,
                event_bytes_max: limits::EVENT_BYTES_MAX,
                connections_max: 1,
                connections_per_peer_max: 1,
                handshake_deadline: limits::HANDSHAKE_DEADLINE,
                progress_deadline: limits::PROGRESS_DEADLINE,
            },
            protocols: Arc::default(),
            chain: RefCell::new(Chain::new(&[])),
            channels: Replicating {
                required: Vec::new(),
                optional: Vec::new(),
            },
            counters: Arc::default(),
            ack_latency: None,
            gates: super::super::service::Gates::default(),
            now: Box::new(|| Duration::ZERO),
            wall_ms: Box::new(|| 0),
        }
    }

    /// Serves `answers`, and gives the writes and how many calls were answered OK.
    fn write(
        answers: Vec<Answer<Ready<Result<(), PutError>>>>,
        healthy_writes: usize,
    ) -> (Vec<Vec<u8>>, u64) {
        let (service, outbox) = (service(), Outbox::default());
        let pulse = Pulse::new(Duration::ZERO);
        let stream = Recording {
            writes: RefCell::default(),
            healthy_writes,
        };
        for (serial, answer) in (1..).zip(answers) {
            outbox.push(Pending {
                serial,
                handshake: Vec::new(),
                is_batch: true,
                event_count: 1,
                received_at: Duration::ZERO,
                answer,
            });
        }
        outbox.end();
        future::block_on(Writer::new(&service, &stream, &pulse, &outbox).run());
        assert_eq!(
            outbox.is_whole(),
            stream.writes.borrow().len() <= healthy_writes
        );
        (
            stream.writes.into_inner(),
            service.counters.append_batch_accepted.get(),
        )
    }

    #[test]
    fn answers_that_are_known_leave_in_one_write() {
        let committed = || Answer::Commit(Receipt::nothing());
        let (writes, accepted) = write(vec![committed(), committed(), committed()], 9);
        assert_eq!(accepted, 3);
        let mut expected = Vec::new();
        for serial in 1..=3 {
            reply::status(&mut expected, serial, &[], Status::Ok);
        }
        assert_eq!(writes, [expected]);
    }

    #[test]
    fn long_answers_leave_before_they_pile_up() {
        let long = || Answer::Error("x".repeat(WRITE_BYTES / 2));
        let (writes, _) = write((0..6).map(|_| long()).collect(), 9);
        assert_eq!(writes.len(), 3);
        assert!(writes.iter().all(|write| write.len() < 2 * WRITE_BYTES));
    }

    #[test]
    fn commits_are_awaited_and_counted_when_nobody_reads_the_replies() {
        let long = Answer::Error("x".repeat(WRITE_BYTES));
        let committed = || Answer::Commit(Receipt::nothing());
        let (writes, accepted) = write(vec![long, committed(), committed()], 0);
        assert_eq!(writes.len(), 1, "a broken stream is not written again");
        assert_eq!(accepted, 2);
    }
}
