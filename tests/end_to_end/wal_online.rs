//! `flumen wal` beside an agent that appends and recycles, and on what `kill -9` leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use super::wal_site::{Dirs, small_segments, start, wait_for_all};
use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::load::{Load, LoadPlan};
use crate::support::{Deadline, Oracle, Scratch, file_roll, free_port, wait_until};

#[test]
fn after_kill_9_the_log_is_sound() {
    let scratch = Scratch::new("wal-killed");
    let (port, folder) = (free_port(), scratch.folder("wal"));
    let output = scratch.folder("out");
    let conf = small_segments(&avro_to_file_channel("a", port, &folder, "k"))
        + &file_roll_sink("a", &output);
    let dirs = Dirs::below(&folder);
    let mut flumen = start(&conf);
    let load = Load::start(LoadPlan::new("killed", port, 3, 100));
    for round in 0..8 {
        let before = load.acknowledged();
        wait_until("events", Duration::from_secs(30), || {
            load.acknowledged() > before + 3_000
        });
        flumen.kill();
        let answer = dirs.wal("verify", &["--json"]);
        assert_eq!(answer.code, 0, "round {round}: {}", answer.text());
        let report = answer.json();
        let ends = report["shards"].as_array().unwrap().iter();
        let events: u64 = ends.map(|shard| shard["end_event"].as_u64().unwrap()).sum();
        assert!(events >= load.acknowledged(), "round {round}: {events}");
        assert_eq!(dirs.wal("ls", &[]).code, 0, "round {round}");
        flumen.restart();
    }
    load.stop(&mut Oracle::new());
}

#[test]
fn online_commands_report_nothing_false_while_the_agent_appends_and_recycles() {
    let scratch = Scratch::new("wal-online");
    let (port, folder) = (free_port(), scratch.folder("wal"));
    let output = scratch.folder("out");
    let conf = small_segments(&avro_to_file_channel("a", port, &folder, "k"))
        + &file_roll_sink("a", &output);
    let dirs = Dirs::below(&folder);
    let mut flumen = start(&conf);
    let load = Load::start(LoadPlan::new("online", port, 4, 100));
    let limit = Deadline::after(Duration::from_secs(20));
    let (mut looks, mut epochs) = (0, BTreeSet::new());
    while !limit.passed() {
        let answer = dirs.wal("verify", &["--json"]);
        assert_eq!(
            answer.code,
            0,
            "look {looks}: {}{}",
            answer.text(),
            answer.error
        );
        let report = answer.json();
        let holder = report["held_by"].as_str().unwrap();
        assert!(holder.contains("flumen channel c"), "{holder}");
        let listing = dirs.wal("ls", &["--json"]);
        assert_eq!(listing.code, 0, "{}", listing.text());
        for shard in listing.json()["shards"].as_array().unwrap() {
            for line in shard["segments"].as_array().unwrap() {
                if let Some(epoch) = line["epoch"].as_str() {
                    epochs.insert(epoch.to_owned());
                }
            }
        }
        let export = dirs.wal("export", &["--all", "--format", "raw"]);
        assert_eq!(export.code, 0, "look {looks}: {}", export.error);
        looks += 1;
        pause(Duration::from_millis(50));
    }
    println!(
        "{looks} looks, {} epochs, {} acknowledged",
        epochs.len(),
        load.acknowledged()
    );
    assert!(looks >= 5, "{looks}");
    assert!(
        epochs.len() >= 8,
        "segments were not recycled: {}",
        epochs.len()
    );
    assert!(flumen.process().running());
    let answer = dirs.wal("repair", &["--yes"]);
    assert_eq!(answer.code, 75, "{}", answer.error);
    assert!(answer.error.contains("already locked"), "{}", answer.error);
    let mut oracle = Oracle::new();
    load.stop(&mut oracle);
    wait_for_all(&mut oracle, |oracle| {
        file_roll::show(&output, oracle);
    });
}
