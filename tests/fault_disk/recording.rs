//! What happened on the disk, and what had been acknowledged and delivered at each moment of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bench::{Bench, Sink};
use crate::disk::Log;
use crate::disk::log::{Choice, tear_bytes};
use crate::random::Random;
use crate::support::clock::pause;
use crate::support::load::{Load, LoadPlan, Watch};
use crate::support::oracle::Findings;
use crate::support::{Deadline, Oracle};

/// A recording ends after so many acknowledged events or so much time.
const EVENTS_MAX: u64 = 3_000;
const LOAD_MAX: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 3;

/// An OK that a client received.
///
/// `durable` is the position behind the last flush in the disk's log when the OK was there. flumen can
/// have known of nothing later, so the events must survive every power cut at that position or
/// behind it, whatever becomes of the writes that no flush covers.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Whose.
    pub prefix: String,
    /// Whose.
    pub connection: u32,
    /// First and last event.
    pub events: (u64, u64),
    /// See above.
    pub durable: usize,
}

/// One run of a collector over a disk.
#[derive(Debug, Clone)]
pub struct Recording {
    /// What the disk did.
    pub log: Log,
    /// Every OK.
    pub acknowledged: Vec<Acknowledged>,
    /// The last event that each sender sent.
    pub sent: BTreeMap<(String, u32), u64>,
    /// What sinks had put out before this run.
    pub output_before: Vec<u8>,
    /// What the sink put out in this run.
    pub output: Vec<u8>,
}

/// A power cut: when, and what survived it.
#[derive(Clone)]
pub struct Cut {
    /// So many requests were complete.
    pub position: usize,
    /// Of those that no flush covered.
    pub choice: Choice,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let marks = |bits: &[bool]| -> String {
            bits.iter()
                .map(|bit| if *bit { '1' } else { '0' })
                .collect()
        };
        let kept = marks(&self.choice.kept);
        write!(f, "request {}, of the unflushed [{kept}]", self.position)?;
        let torn = self.choice.torn.as_deref();
        torn.map_or(Ok(()), |torn| {
            write!(f, ", the last torn [{}]", marks(torn))
        })
    }
}

impl Recording {
    /// Loads a collector that starts on an empty disk.
    pub fn make(bench: &mut Bench, sink: Sink, random: &mut Random) -> Result<Self, String> {
        bench.start_over(bench.empty(), sink)?;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut plan = LoadPlan::new("load", bench.port(), CONNECTIONS, random.pick(&[1, 5, 20]));
        plan.body_bytes = random.pick(&[100, 1_000, 4_000]);
        plan.rest = Duration::from_millis(random.pick(&[0, 0, 3]));
        plan.watch = Some(Watch(Arc::new({
            let (disk, acknowledged) = (bench.place().disk().clone(), Arc::clone(&acknowledged));
            move |connection, first, last| {
                let durable = disk.durable_position();
                let prefix = "load".to_owned();
                let mut acknowledged = acknowledged.lock().expect("senders do not panic");
                acknowledged.push(Acknowledged {
                    prefix,
                    connection,
                    events: (first, last),
                    durable,
                });
            }
        })));
        let deadline = Deadline::after(LOAD_MAX);
        let load = Load::start(plan);
        while load.acknowledged() < EVENTS_MAX && !deadline.passed() {
            pause(Duration::from_millis(5));
        }
        let mut oracle = Oracle::new();
        load.stop(&mut oracle);
        if sink == Sink::Files && random.coin() {
            // Let what was delivered get into the checkpoint.
            pause(Duration::from_millis(300));
        }
        let log = bench.place().disk().take_log();
        let output = bench.output();
        bench.collector().kill();
        let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("senders ended"));
        let mut sent = BTreeMap::new();
        for connection in 0..CONNECTIONS {
            // What was under way when the load ended may have arrived as well.
            sent.insert(
                ("load".to_owned(), connection),
                oracle.last_sent("load", connection),
            );
        }
        Ok(Self {
            log,
            acknowledged,
            sent,
            output_before: Vec::new(),
            output,
        })
    }

    /// A power cut to look at: often just before a flush, when most is in the air; of what is in the
    /// air sometimes nothing, sometimes all, mostly a part, and the last of it perhaps torn.
    pub fn cut(&self, random: &mut Random) -> Cut {
        let entries = self.log.entries.len();
        let mut position = 1 + random.below(entries);
        if random.coin() {
            let behind = self.log.entries[position - 1..].iter();
            let mut behind = behind.map(|logged| &logged.entry);
            let flush = behind.position(|entry| matches!(entry, crate::disk::log::Entry::Flush));
            position += flush.unwrap_or(0);
            position = position.min(entries);
            if flush.is_some() {
                position -= 1;
            }
        }
        let pending = self.log.pending_at(position);
        let odds = random.pick(&[0, 1, 2, 4, 4]);
        let kept: Vec<bool> = pending.iter().map(|_| random.below(4) < odds).collect();
        let last = kept.iter().rposition(|kept| *kept);
        let torn = last.filter(|_| random.coin()).map(|last| {
            let bytes = pending[last].1;
            let sectors = bytes.len().div_ceil(tear_bytes(bytes));
            (0..sectors).map(|_| random.coin()).collect()
        });
        Cut {
            position,
            choice: Choice { kept, torn },
        }
    }

    /// A power cut when all had been done that was recorded, which leaves only what was flushed.
    pub fn last_moment(&self) -> Cut {
        let position = self.log.entries.len();
        let kept = vec![false; self.log.pending_at(position).len()];
        Cut {
            position,
            choice: Choice { kept, torn: None },
        }
    }

    /// What a power cut at `position` obliges: what was acknowledged by then, what had come out.
    pub fn oracle_at(&self, position: usize) -> Oracle {
        let mut oracle = Oracle::new();
        for ((prefix, connection), last) in &self.sent {
            oracle.sent(prefix, *connection, 0, *last);
        }
        for ok in &self.acknowledged {
            if ok.durable <= position {
                let (first, last) = ok.events;
                oracle.acknowledged(&ok.prefix, ok.connection, first, last);
            }
        }
        show(&mut oracle, &self.output_before);
        show(&mut oracle, self.output_by(position));
        oracle
    }

    /// What the sink had put out by then.
    pub fn output_by(&self, position: usize) -> &[u8] {
        let bytes = usize::try_from(self.log.output_at(position)).expect("fits memory");
        &self.output[..bytes.min(self.output.len())]
    }
}

/// Shows the oracle all whole lines. Half a line at the end is where the machine stopped.
pub fn show(oracle: &mut Oracle, output: &[u8]) {
    let mut lines: Vec<&[u8]> = output.split(|&byte| byte == b'\n').collect();
    lines.pop();
    lines.iter().for_each(|line| oracle.arrived(line));
}

/// What is wrong with these findings, in a sentence.
pub fn verdict(findings: &Findings) -> Option<String> {
    let some = |what: &str, list: &[crate::support::event::Identity]| {
        let first = list.first()?;
        Some(format!("{} {what}, first {first}", list.len()))
    };
    some("acknowledged events lost", &findings.lost)
        .or_else(|| some("events out of order", &findings.out_of_order))
        .or_else(|| some("events nobody sent", &findings.unknown))
        .or_else(|| Some(format!("altered: {}", findings.altered.first()?)))
}
