//! A load of identified events from threads of this process, each with its own raw connection.
//!
//! A sender repeats a batch until it is acknowledged or the load is stopped, reconnecting as a Flume
//! sink does, so what it was told is exactly what an agent would know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock::pause;
use super::event::{Identity, TestEvent, checksum_of};
use super::oracle::Oracle;
use super::rpc::{Compression, RpcClient, Status};

/// What each sender does.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Whose events they are.
    pub prefix: String,
    /// Where to.
    pub port: u16,
    /// Senders.
    pub connections: u32,
    /// Events per batch.
    pub batch: u64,
    /// Bytes of a body; varied a little from event to event.
    pub body_bytes: usize,
    /// How.
    pub compression: Compression,
    /// Batches per sender; `u64::MAX` runs until stopped.
    pub batches: u64,
    /// Rest between batches.
    pub rest: Duration,
    /// Told of each OK.
    pub watch: Option<Watch>,
}

/// Called with connection, first and last event of a batch as soon as its OK was received.
#[derive(Clone)]
pub struct Watch(pub Arc<dyn Fn(u32, u64, u64) + Send + Sync>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl LoadPlan {
    /// Plain, endless, without rests.
    pub fn new(prefix: &str, port: u16, connections: u32, batch: u64) -> Self {
        Self {
            prefix: prefix.to_owned(),
            port,
            connections,
            batch,
            body_bytes: 200,
            compression: Compression::None,
            batches: u64::MAX,
            rest: Duration::ZERO,
            watch: None,
        }
    }
}

/// Senders at work.
#[derive(Debug)]
pub struct Load {
    plan: LoadPlan,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    senders: Vec<JoinHandle<Told>>,
}

/// What one sender was told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: u64,
    /// Of the content of each event that went out.
    checksums: Vec<u32>,
    refusals: u64,
}

impl Load {
    /// Starts all senders.
    pub fn start(plan: LoadPlan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let start_one = |connection| {
            let (plan, stop, acknowledged) =
                (plan.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || send_all(&plan, connection, &stop, &acknowledged))
        };
        let senders = (0..plan.connections).map(start_one).collect();
        Self {
            plan,
            stop,
            acknowledged,
            senders,
        }
    }

    /// Events acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops every sender at once (a batch without an answer stays unacknowledged) and tells the oracle.
    /// Returns how many attempts were refused.
    pub fn stop(self, oracle: &mut Oracle) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.finish(oracle)
    }

    /// Waits until every sender has sent its batches, and tells the oracle.
    pub fn finish(self, oracle: &mut Oracle) -> u64 {
        let mut refusals = 0;
        for (connection, sender) in (0u32..).zip(self.senders) {
            let told = sender.join().expect("a sender does not panic");
            oracle.sent_with(&self.plan.prefix, connection, 0, &told.checksums);
            if told.acknowledged > 0 {
                oracle.acknowledged(&self.plan.prefix, connection, 0, told.acknowledged - 1);
            }
            refusals += told.refusals;
        }
        refusals
    }
}

fn send_all(plan: &LoadPlan, connection: u32, stop: &AtomicBool, acknowledged: &AtomicU64) -> Told {
    let mut told = Told::default();
    let mut client = None;
    let mut batches = 0;
    while batches < plan.batches && !stop.load(Ordering::Relaxed) {
        let first = batches * plan.batch;
        let events = batch(plan, connection, first);
        told.checksums
            .truncate(usize::try_from(first).expect("an index"));
        let checksums = events.iter().map(|event| checksum_of(&event.body));
        told.checksums
            .extend(checksums.map(|checksum| checksum.expect("one of ours")));
        match attempt(&mut client, plan, &events) {
            Some(Status::Ok) => {
                told.acknowledged = first + plan.batch;
                if let Some(Watch(told_ok)) = &plan.watch {
                    told_ok(connection, first, first + plan.batch - 1);
                }
                acknowledged.fetch_add(plan.batch, Ordering::Relaxed);
                batches += 1;
                pause(plan.rest);
            }
            _ => {
                client = None; // anything but OK ends a Flume client's connection
                told.refusals += 1;
                pause(Duration::from_millis(10));
            }
        }
    }
    told
}

fn attempt(
    client: &mut Option<RpcClient>,
    plan: &LoadPlan,
    events: &[TestEvent],
) -> Option<Status> {
    if client.is_none() {
        *client = RpcClient::connect(plan.port, plan.compression).ok();
    }
    client.as_mut()?.append_batch(events).ok()
}

fn batch(plan: &LoadPlan, connection: u32, first: u64) -> Vec<TestEvent> {
    let one = |number: u64| {
        let identity = Identity {
            prefix: plan.prefix.clone(),
            connection,
            number,
        };
        let varied = usize::try_from(number % 37).expect("below 37");
        TestEvent::with_identity(&identity, plan.body_bytes + varied)
    };
    (first..first + plan.batch).map(one).collect()
}
