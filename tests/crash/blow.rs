//! How a collector dies, and how often which of the processes did.

use std::fmt;
use std::time::Duration;

use crate::random::Random;
use crate::support::FlumenProcess;
use crate::support::clock::pause;
use crate::support::oracle::Findings;

/// Kills so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Collector, while it served.
    pub serving: u32,
    /// Collector, within its first moments.
    pub recovering: u32,
    /// Collector, in the middle of an orderly stop.
    pub stopping: u32,
    /// Kafka broker.
    pub broker: u32,
    /// NameNode.
    pub namenode: u32,
    /// DataNode.
    pub datanode: u32,
}

impl Tally {
    /// Kills of the collector.
    pub fn collector(&self) -> u32 {
        self.serving + self.recovering + self.stopping
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills of the collector ({} serving, {} recovering, {} stopping), {} of the broker, {} of the \
             NameNode, {} of the DataNode",
            self.collector(),
            self.serving,
            self.recovering,
            self.stopping,
            self.broker,
            self.namenode,
            self.datanode
        )
    }
}

/// Kills a serving collector one way or another and starts it again; it need not be ready on return.
pub fn strike(collector: &mut FlumenProcess, random: &mut Random, tally: &mut Tally) {
    match random.below(6) {
        0 => {
            collector.begin_stop();
            pause(random.moment(120));
            // One that has ended by then was not killed.
            tally.stopping += u32::from(collector.process().running());
            collector.kill();
        }
        1 | 2 => {
            collector.kill();
            tally.serving += 1;
            collector.launch_unready();
            pause(random.moment(120));
            collector.kill();
            tally.recovering += 1;
        }
        _ => {
            collector.kill();
            tally.serving += 1;
        }
    }
    collector.launch_unready();
}

/// A sink's progress is written within this time: 100 ms after its commit, and the write itself.
const CURSOR_INTERVAL: Duration = Duration::from_millis(200);

/// Panics when a sink that keeps up got more duplicates than kills explain: each repeats the batches whose
/// answers were under way (`in_flight` events) and what the sink delivered since its progress was last
/// written, at the rate of the load while the collector served.
#[track_caller]
pub fn assert_duplicates_bounded(
    findings: &Findings,
    kills: u32,
    in_flight: u64,
    served: Duration,
) {
    let per_second = findings.delivered as u128 * 1_000 / served.as_millis().max(1);
    let unrecorded = per_second * CURSOR_INTERVAL.as_millis() / 1_000;
    let bound = u128::from(kills) * (u128::from(in_flight) + unrecorded);
    let duplicates = findings.duplicates;
    assert!(
        u128::from(duplicates) <= bound,
        "{duplicates} duplicates from {kills} kills, bound {bound}"
    );
}
