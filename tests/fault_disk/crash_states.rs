//! Is every acknowledged event there in every state that a power cut may leave?
//!
//! `FLUMEN_FAULT_DISK_STATES` (default 48, over both file systems) and `FLUMEN_FAULT_DISK_SEED` set how
//! many and which. The seed fixes the choices, not what the kernel does in which order.

use crate::bench::{Bench, Sink};
use crate::disk::FileSystem;
use crate::random::{Random, environment};
use crate::replay::{Tally, look_at_cuts};

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
