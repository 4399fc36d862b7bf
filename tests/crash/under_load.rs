//! Our own senders and one sink: many kills in little time.

use std::path::PathBuf;
use std::time::Duration;

use crate::blow::{Tally, assert_duplicates_bounded, strike};
use crate::random::{Random, rounds};
use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::load::{Load, LoadPlan};
use crate::support::oracle::Findings;
use crate::support::{Compression, Deadline, FlumenProcess, Oracle, Scratch, file_roll, free_port};

/// Kills between two looks at the output.
const KILLS_PER_LOOK: u32 = 20;
const CONNECTIONS: u32 = 4;
#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let wanted = rounds() / 4;
    let mut random = Random::of_environment("under load");
    let mut site = Site::start();
    let mut tally = Tally::default();
    let clock = Deadline::after(Duration::MAX);
    while tally.collector() < wanted {
        let count = KILLS_PER_LOOK.min(wanted - tally.collector());
        let look = site.load_and_look(count, &mut random, &mut tally);
        look.findings.assert_nothing_lost("file_roll");
        look.findings.assert_in_order("file_roll");
        assert_duplicates_bounded(&look.findings, count, look.in_flight, look.served);
    }
    println!(
        "under load: {tally}; {:.0} s",
        clock.elapsed().as_secs_f64()
    );
}

/// What came of one load.
pub struct Look {
    pub findings: Findings,
    /// Events that might wait for an answer at once.
    pub in_flight: u64,
    /// How long the collector served.
    pub served: Duration,
}

/// A collector that is killed, and its folders.
pub struct Site {
    collector: FlumenProcess,
    port: u16,
    output: PathBuf,
    loads: u32,
    _scratch: Scratch,
}

impl Site {
    pub fn start() -> Self {
        Self::start_without("")
    }

    /// A collector from which defences are taken.
    pub fn start_without(defences: &str) -> Self {
        let scratch = Scratch::new("crash");
        let (port, output) = (free_port(), scratch.folder("out"));
        let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k")
            + &file_roll_sink("a", &output);
        // The smallest: they are filled, released and used again all the time.
        let conf = conf.replace("maxFileSize = 16777216", "maxFileSize = 4194304");
        // One shard, so that a sender that comes back meets the log it left: order can be judged.
        let mut collector = FlumenProcess::prepare(&conf, "a", &[("flumen.shards", "1")], &[]);
        if !defences.is_empty() {
            collector.surround(&[], &[("FLUMEN_WITHOUT", defences)]);
        }
        collector.launch();
        Self {
            collector,
            port,
            output,
            loads: 0,
            _scratch: scratch,
        }
    }

    /// `count` kills under one load, then rest and a look.
    pub fn load_and_look(&mut self, count: u32, random: &mut Random, tally: &mut Tally) -> Look {
        self.loads += 1;
        let batch = random.pick(&[1, 20, 20, 100]);
        let mut plan = LoadPlan::new(
            &format!("load{}", self.loads),
            self.port,
            CONNECTIONS,
            batch,
        );
        plan.rest = Duration::from_millis(2);
        if batch < 100 {
            // Blocks that take a while to write, and segments that are soon full.
            plan.body_bytes = random.pick(&[200, 4_000]);
        }
        plan.compression =
            random.pick(&[Compression::None, Compression::None, Compression::Deflate]);
        let clock = Deadline::after(Duration::MAX);
        let load = Load::start(plan);
        let until = tally.collector() + count;
        let mut served = Duration::ZERO;
        while tally.collector() < until {
            let before = load.acknowledged();
            self.collector.process().wait_for(
                "acknowledgements after a start",
                Duration::from_secs(30),
                |_| load.acknowledged() > before,
            );
            let began = clock.elapsed();
            pause(random.moment(300));
            served += clock.elapsed() - began;
            strike(&mut self.collector, random, tally);
        }
        let elapsed = clock.elapsed();
        let mut oracle = Oracle::new();
        load.stop(&mut oracle);
        let findings = self.look(&mut oracle);
        println!(
            "{tally}: {} acknowledged, {} delivered, {} duplicates, {} torn; {:.2} s a kill",
            findings.acknowledged,
            findings.delivered,
            findings.duplicates,
            findings.torn,
            elapsed.as_secs_f64() / f64::from(count)
        );
        Look {
            findings,
            in_flight: u64::from(CONNECTIONS) * batch,
            served,
        }
    }

    /// Lets everything come to rest and gives what the sink has.
    fn look(&mut self, oracle: &mut Oracle) -> Findings {
        let patience = Deadline::after(Duration::from_secs(30));
        let mut empty = 0;
        // The gauge is a quarter of a second old at the most.
        while empty < 3 && !patience.passed() {
            pause(Duration::from_millis(150));
            let size = self.collector.counter("CHANNEL.c", "ChannelSize");
            empty = if size == Some(0) { empty + 1 } else { 0 };
        }
        // An orderly stop ends all writing.
        assert!(self.collector.stop().success(), "an orderly stop");
        file_roll::show(&self.output, oracle);
        let findings = oracle.findings();
        for file in file_roll::files(&self.output) {
            std::fs::remove_file(file).expect("our own file");
        }
        self.collector.launch_unready();
        findings
    }
}
