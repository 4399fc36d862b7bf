//! A client that never gives up, and notes how long each answer took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::clock::pause;
use crate::support::event::{Identity, TestEvent};
use crate::support::{Compression, Deadline, Oracle, RpcClient, Status};

/// Rest between two calls.
const REST: Duration = Duration::from_millis(10);
/// Events of one call.
const BATCH: u64 = 10;

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// When it was answered, on its clock.
    pub at: Duration,
    /// How long that took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Status OK.
    Ok,
    /// Status FAILED, or an RPC error.
    Failed,
    /// No answer: the connection broke, or nothing came in time.
    Silence,
}

/// Calls, one after another, from a thread of its own.
#[derive(Debug)]
pub struct Caller {
    name: String,
    clock: Deadline,
    stop: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    thread: JoinHandle<u64>,
}

impl Caller {
    /// Begins. `name` is the prefix of its events; it notes the time on `clock`.
    pub fn start(name: &str, clock: Deadline, port: u16, body_bytes: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let (name, stop, attempts) =
                (name.to_owned(), Arc::clone(&stop), Arc::clone(&attempts));
            move || {
                let (mut client, mut batches) = (None, 0);
                while !stop.load(Ordering::Relaxed) {
                    let events = batch(&name, batches, body_bytes);
                    let began = clock.elapsed();
                    let outcome = attempt(&mut client, port, &events);
                    let at = clock.elapsed();
                    let took = at - began;
                    let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
                    attempts.push(Attempt { at, took, outcome });
                    drop(attempts);
                    match outcome {
                        Outcome::Ok => batches += 1,
                        Outcome::Failed | Outcome::Silence => client = None,
                    }
                    pause(REST);
                }
                batches
            }
        });
        Self {
            name: name.to_owned(),
            clock,
            stop,
            attempts,
            thread,
        }
    }

    /// Calls answered since `since`.
    pub fn since(&self, since: Duration) -> Vec<Attempt> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let later = attempts.iter().filter(|attempt| attempt.at >= since);
        later.copied().collect()
    }

    /// Waits until `count` more calls ended like this; panics after `limit`.
    #[track_caller]
    pub fn wait_for(&self, outcome: Outcome, count: usize, limit: Duration) {
        let (began, deadline) = (self.clock.elapsed(), Deadline::after(limit));
        loop {
            let calls = self.since(began);
            let met = calls.iter().filter(|call| call.outcome == outcome).count();
            if met >= count {
                return;
            }
            assert!(
                !deadline.passed(),
                "waited {limit:?} for {count} calls that end in {outcome:?}; {} calls: {:?}",
                calls.len(),
                calls.iter().rev().take(5).collect::<Vec<_>>()
            );
            pause(Duration::from_millis(5));
        }
    }

    /// Ends, and tells the oracle what was sent and acknowledged.
    pub fn stop(self, oracle: &mut Oracle) -> Vec<Attempt> {
        self.stop.store(true, Ordering::Relaxed);
        let batches = self.thread.join().expect("a caller does not panic");
        oracle.sent(&self.name, 0, 0, (batches + 1) * BATCH - 1);
        if batches > 0 {
            oracle.acknowledged(&self.name, 0, 0, batches * BATCH - 1);
        }
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.clone()
    }
}

fn batch(name: &str, number: u64, body_bytes: usize) -> Vec<TestEvent> {
    let one = |number| {
        let identity = Identity {
            prefix: name.to_owned(),
            connection: 0,
            number,
        };
        TestEvent::with_identity(&identity, body_bytes)
    };
    (number * BATCH..(number + 1) * BATCH).map(one).collect()
}

fn attempt(client: &mut Option<RpcClient>, port: u16, events: &[TestEvent]) -> Outcome {
    if client.is_none() {
        *client = RpcClient::connect(port, Compression::None).ok();
    }
    match client.as_mut().map(|client| client.append_batch(events)) {
        Some(Ok(Status::Ok)) => Outcome::Ok,
        Some(Ok(Status::Failed | Status::Unknown | Status::Error(_))) => Outcome::Failed,
        Some(Err(_)) | None => Outcome::Silence,
    }
}
