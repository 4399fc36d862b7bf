//! A data directory whose disk is not mounted, and one that comes back: the start is refused before anything
//! is changed, and what it holds arrives once the disk is there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::wal_site::{
    ONE_SHARD, backlog_conf, fingerprints, send_blocks, small_segments, start, wait_for_all,
};
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::{FlumenProcess, Oracle, Scratch, file_roll, free_port};

/// Blocks of half a MiB: enough of them for a segment in each directory.
const BLOCKS: u64 = 24;
const EVENTS: u64 = 1_000;

fn on_two_disks(conf: &str, folder: &Path) -> String {
    let one = format!("dataDirs = {}/data", folder.display());
    conf.replace(&one, &format!("{one},{}/data2", folder.display()))
}

/// Lets everything that is in the log go to `output`.
fn draining(two_disks: bool, folder: &Path, output: &Path) -> FlumenProcess {
    let conf = small_segments(&avro_to_file_channel("a", free_port(), folder, "k"))
        + &file_roll_sink("a", output);
    let conf = match two_disks {
        true => on_two_disks(&conf, folder),
        false => conf,
    };
    FlumenProcess::prepare(&conf, "a", ONE_SHARD, &[])
}

fn refused(agent: &mut FlumenProcess) -> String {
    agent.launch_unready();
    let code = agent.process().wait_end(Duration::from_secs(60)).code();
    assert_eq!(code, Some(74), "{}", agent.log());
    agent.log()
}

/// A log on two disks, each with a segment, that nobody has drained.
fn fill(folder: &Path, oracle: &mut Oracle) {
    let port = free_port();
    let mut flumen = start(&on_two_disks(&backlog_conf(port, folder), folder));
    send_blocks(port, "first", BLOCKS, EVENTS, oracle);
    flumen.kill();
}

#[test]
fn a_start_without_a_disk_of_the_log_is_refused() {
    let scratch = Scratch::new("missing-disk");
    let (folder, output) = (scratch.folder("wal"), scratch.folder("out"));
    let mut oracle = Oracle::new();
    fill(&folder, &mut oracle);

    let (mounted, away) = (folder.join("data2"), scratch.path().join("away"));
    fs::rename(&mounted, &away).unwrap();
    fs::create_dir(&mounted).unwrap();
    let before = fingerprints(&folder.join("data/shard-000"));
    let mut agent = draining(true, &folder, &output);
    let said = refused(&mut agent);
    let wanted = format!(
        "data directory {}: it holds a part of the log",
        mounted.display()
    );
    assert!(said.contains(&wanted), "{said}");
    assert_eq!(
        before,
        fingerprints(&folder.join("data/shard-000")),
        "nothing was changed"
    );

    fs::remove_dir_all(&mounted).unwrap();
    fs::rename(&away, &mounted).unwrap();
    agent.restart();
    wait_for_all(&mut oracle, |oracle| file_roll::show(&output, oracle));
}

#[test]
fn a_disk_that_was_away_is_not_taken_for_delivered() {
    let scratch = Scratch::new("disk-back");
    let (folder, output) = (scratch.folder("wal"), scratch.folder("out"));
    let mut oracle = Oracle::new();
    fill(&folder, &mut oracle);

    let mut without = draining(false, &folder, &output);
    without.launch();
    assert!(without.stop().success());
    let before = fingerprints(&folder.join("data2/shard-000"));
    assert!(!before.is_empty());
    let said = refused(&mut draining(true, &folder, &output));
    assert!(said.contains("went on without it"), "{said}");
    assert!(said.contains("wal export --data-dir"), "{said}");
    assert_eq!(
        before,
        fingerprints(&folder.join("data2/shard-000")),
        "nothing was changed"
    );
}
