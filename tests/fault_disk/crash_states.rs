//! Is every acknowledged event there in every state that a power cut may leave?
//!
//! `FLUMEN_FAULT_DISK_STATES` (default 48, over both file systems) and `FLUMEN_FAULT_DISK_SEED` set how
//! many and which. The seed fixes the choices, not what the kernel does in which order.

use std::time::Duration;

use crate::bench::{Bench, Sink};
use crate::disk::FileSystem;
use crate::random::{Random, environment};
use crate::recording::{Recording, show, verdict};
use crate::replay::{Tally, look_at_cuts, replay};
use crate::support::Oracle;
use crate::support::clock::pause;
use crate::support::load::{Load, LoadPlan};

/// Cuts of one recording.
const STATES_PER_RECORDING: u32 = 12;

fn survives_power_cuts(file_system: FileSystem) {
    let states = environment("FLUMEN_FAULT_DISK_STATES", 48).div_ceil(2);
    let states = u32::try_from(states).expect("a count of states");
    let seed = environment("FLUMEN_FAULT_DISK_SEED", u64::from(std::process::id()));
    println!("FLUMEN_FAULT_DISK_SEED={seed} on {}", file_system.name());
    let Some(mut bench) = Bench::new(file_system.name(), file_system, "") else {
        return;
    };
    let mut random = Random(seed);
    let mut tally = Tally::default();
    while tally.states < states {
        let sink = if random.coin() {
            Sink::Files
        } else {
            Sink::Missing
        };
        let count = STATES_PER_RECORDING.min(states - tally.states);
        let looked = look_at_cuts(&mut bench, sink, count, &mut random, &mut tally);
        if let Err(wrong) = looked {
            panic!("{} seed {seed}: {wrong}", file_system.name());
        }
        println!("{}: {tally:?}", file_system.name());
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_on_ext4() {
    survives_power_cuts(FileSystem::Ext4);
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_on_xfs() {
    survives_power_cuts(FileSystem::Xfs);
}

/// Delivers a backlog, rests for a second, cuts the power: the checkpoint of the last delivery is
/// durable by then, so nothing is delivered again. Returns how many events were.
fn delivered_again_after_a_rest(file_system: FileSystem) -> Option<u64> {
    let mut bench = Bench::new("rest", file_system, "")?;
    let recording = Recording::make(&mut bench, Sink::Missing, &mut Random(7)).expect("a start");
    let end = recording.last_moment();
    let rest = Duration::from_secs(1);
    let (_, drained) = replay(&mut bench, &recording, &end, rest).expect("a power cut");
    let (findings, _) =
        replay(&mut bench, &drained, &drained.last_moment(), Duration::ZERO).expect("a power cut");
    Some(findings.duplicates)
}

#[test]
fn what_was_delivered_a_second_ago_is_not_delivered_again() {
    for file_system in FileSystem::ALL {
        let again = delivered_again_after_a_rest(file_system);
        assert_eq!(again.unwrap_or(0), 0, "{}", file_system.name());
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_xfs_shuts_down() {
    let rounds = environment("FLUMEN_FAULT_DISK_SHUTDOWNS", 3);
    let Some(mut bench) = Bench::new("shutdown", FileSystem::Xfs, "") else {
        return;
    };
    for round in 0..rounds {
        bench
            .start_over(bench.empty(), Sink::Missing)
            .expect("a start");
        let mut oracle = Oracle::new();
        let load = Load::start(LoadPlan::new("load", bench.port(), 3, 10));
        pause(Duration::from_millis(300 + 200 * (round % 10)));
        let mount = bench.place().mount_point();
        let shutdown = format!("xfs_io -x -c shutdown {}", mount.display());
        bench.place().script(&shutdown).expect("xfsprogs are here");
        pause(Duration::from_millis(200));
        assert!(load.stop(&mut oracle) > 0, "batches are refused then");
        assert!(bench.collector().process().running(), "it stays alive");
        bench.collector().kill();
        let refused = bench.start(Sink::Files).expect_err("no start on it");
        assert!(refused.contains("ended"), "{refused}");
        let log = bench.collector().log();
        for words in ["its disk or its file system fails", "Input/output error"] {
            assert!(log.contains(words), "{words} is not in {log}");
        }
        bench.places[0].detach();
        bench.places[0].attach();
        bench.start(Sink::Files).expect("a start");
        let probe = bench.serves(Duration::from_secs(60)).expect("it serves");
        oracle.acknowledged(&probe.prefix, 0, 0, 0);
        show(&mut oracle, &bench.output());
        let findings = oracle.findings();
        assert_eq!(verdict(&findings), None, "round {round}");
        println!("shutdown {round}: {} acknowledged", findings.acknowledged);
    }
}
