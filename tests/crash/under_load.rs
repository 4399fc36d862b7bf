//! The rounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::load::{Load, LoadPlan};
use crate::support::oracle::Findings;
use crate::support::{
    Compression, Deadline, FlumenProcess, Oracle, Scratch, file_roll, free_port, wait_until,
};

/// Rounds between two looks at the output.
const ROUNDS_PER_LOOK: u32 = 20;
const CONNECTIONS: u32 = 4;
/// A sink's progress is written this often at the least, so a kill repeats what it delivered meanwhile.
const CURSOR_INTERVAL: Duration = Duration::from_millis(500);

/// SplitMix64: good enough to pick moments, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds = u32::try_from(environment("FLUMEN_CRASH_ROUNDS", 200)).expect("a count of rounds");
    let seed = environment("FLUMEN_CRASH_SEED", u64::from(std::process::id()));
    println!("FLUMEN_CRASH_SEED={seed} FLUMEN_CRASH_ROUNDS={rounds}");
    let mut site = Site::start();
    let mut random = Random(seed);
    let mut done = 0;
    while done < rounds {
        let now = ROUNDS_PER_LOOK.min(rounds - done);
        let findings = site.rounds(done, now, &mut random);
        done += now;
        println!(
            "{done} rounds: {} acknowledged, {} delivered, {} duplicates, {} torn",
            findings.acknowledged, findings.delivered, findings.duplicates, findings.torn
        );
    }
}

/// A collector that is killed, and its folders.
struct Site {
    collector: FlumenProcess,
    port: u16,
    output: PathBuf,
    _scratch: Scratch,
}

impl Site {
    fn start() -> Self {
        let scratch = Scratch::new("crash");
        let (port, output) = (free_port(), scratch.folder("out"));
        let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k")
            + &file_roll_sink("a", &output);
        Self {
            collector: FlumenProcess::start(&conf, "a"),
            port,
            output,
            _scratch: scratch,
        }
    }

    /// `count` kills under one load, then rest and a look.
    fn rounds(&mut self, number: u32, count: u32, random: &mut Random) -> Findings {
        let batch = [1, 20, 100][usize::try_from(random.below(3)).expect("below 3")];
        let mut plan = LoadPlan::new(&format!("round{number}"), self.port, CONNECTIONS, batch);
        plan.rest = Duration::from_millis(2);
        plan.compression = if random.below(3) == 0 {
            Compression::Deflate
        } else {
            Compression::None
        };
        let clock = Deadline::after(Duration::from_secs(3600));
        let load = Load::start(plan);
        for _ in 0..count {
            self.one_round(&load, random);
        }
        pause(Duration::from_millis(100));
        let elapsed = clock.elapsed();
        let mut oracle = Oracle::new();
        load.stop(&mut oracle);
        self.look(&mut oracle, batch, count, elapsed)
    }

    /// Waits for acknowledgements, then for a random moment, and kills; one time in four also while the
    /// collector recovers.
    fn one_round(&mut self, load: &Load, random: &mut Random) {
        let before = load.acknowledged();
        wait_until(
            "acknowledgements after a start",
            Duration::from_secs(30),
            || load.acknowledged() > before,
        );
        pause(Duration::from_millis(random.below(400)));
        self.collector.kill();
        if random.below(4) == 0 {
            self.collector.launch_unready();
            pause(Duration::from_millis(random.below(300)));
            self.collector.kill();
        }
        self.collector.restart();
    }

    fn look(&mut self, oracle: &mut Oracle, batch: u64, kills: u32, elapsed: Duration) -> Findings {
        wait_until(
            "every acknowledged event in the output",
            Duration::from_secs(60),
            || {
                oracle.forget_arrivals();
                file_roll::show(&self.output, oracle);
                oracle.complete()
            },
        );
        // What was never acknowledged may still be on its way: an orderly stop ends all writing.
        assert!(self.collector.stop().success(), "an orderly stop");
        oracle.forget_arrivals();
        file_roll::show(&self.output, oracle);
        let findings = oracle.assert_nothing_lost();
        oracle.assert_in_order();
        assert_duplicates_bounded(&findings, batch, kills, elapsed);
        for file in file_roll::files(&self.output) {
            std::fs::remove_file(file).expect("our own file");
        }
        self.collector.restart();
        findings
    }
}

/// A kill repeats at most the batches whose answers were under way, and what the sink delivered since its
/// progress was last written; the latter is taken at twice the load's mean rate. (Two kills a round, when
/// the second comes during recovery.)
fn assert_duplicates_bounded(findings: &Findings, batch: u64, kills: u32, elapsed: Duration) {
    let in_flight = u64::from(CONNECTIONS) * batch;
    let per_second = findings.delivered as u128 * 1_000 / elapsed.as_millis().max(1);
    let unrecorded = 2 * per_second * CURSOR_INTERVAL.as_millis() / 1_000;
    let bound = u128::from(2 * kills) * (u128::from(in_flight) + unrecorded);
    let duplicates = u128::from(findings.duplicates);
    assert!(
        duplicates <= bound,
        "{duplicates} duplicates from {kills} kills, bound {bound}"
    );
}
