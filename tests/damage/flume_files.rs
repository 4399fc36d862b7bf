//! The restart cases of Flume's file channel that are about other files than the checkpoint, and about
//! its backup; each under Flume's name for it. See `flume_cases`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use flumen::channel::wal::{Checkpoint, SegmentHeader};

use crate::flume_cases::{DUAL, Hit, check_with, expect_all_once, remove};
use crate::restart::Site;
use crate::support::wait_until;

// Transactions under way. A put is in the log with its commit or not at all, a take leaves no trace
// before its commit: there are no files of transactions under way, and strangers' files are let be.

fn corrupt_inflight(name: &str, keys: &str) {
    let mut site = Site::start(keys);
    site.put(5);
    site.wait_for_end_in_checkpoint();
    // The sink holds events it cannot write: a take under way. Killed, so that nothing is tidied up.
    site.put(5);
    site.kill();
    let stray = site.checkpoint_folder().join(name);
    fs::write(&stray, 0x7f4a_7c15u32.to_be_bytes()).expect("the file of our own log");
    expect_all_once(&mut site);
    assert!(stray.exists(), "not ours");
}

#[test]
fn corrupt_inflight_puts() {
    corrupt_inflight("inflightputs", "");
}

#[test]
fn corrupt_inflight_puts_with_backup() {
    corrupt_inflight("inflightputs", DUAL);
}

#[test]
fn corrupt_inflight_takes() {
    corrupt_inflight("inflighttakes", "");
}

#[test]
fn corrupt_inflight_takes_with_backup() {
    corrupt_inflight("inflighttakes", DUAL);
}

// Data files.

#[test]
fn with_extra_logs() {
    let mut site = Site::start("");
    site.put(10);
    site.stop();
    let extra = site.shard_folder().join("segment-00001000.wal");
    fs::write(&extra, []).expect("the file of our own log");
    fs::write(site.shard_folder().join("segment-00001000.tmp"), [])
        .expect("the file of our own log");
    fs::write(site.shard_folder().join("log-1000"), []).expect("the file of our own log");
    expect_all_once(&mut site);
    assert!(!extra.exists(), "cut short while it was made, and removed");
}

/// Deliveries since the older generation come again, those before it do not.
fn older_generation_is_used(keys: &str) {
    let mut site = Site::start(keys);
    site.let_deliver();
    site.put(10);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    let (_, older) = site.generations().pop().expect("the file of our own log");
    let copy = fs::read(&older).expect("the file of our own log");
    site.put(10);
    site.wait_for_delivery();
    site.stop();
    for (_, path) in site.generations() {
        remove(&path);
    }
    fs::write(older, copy).expect("the file of our own log");
    let findings = site.deliver();
    // The second look may come before the last repetition does.
    assert_eq!(findings.delivered, 200);
    assert!((1..=100).contains(&findings.duplicates), "{findings:?}");
}

#[test]
fn backup_used_ensure_no_full_replay_without_compression() {
    older_generation_is_used(&format!("{DUAL}\ncompressBackupCheckpoint = false"));
}

#[test]
fn backup_used_ensure_no_full_replay_with_compression() {
    older_generation_is_used(&format!("{DUAL}\ncompressBackupCheckpoint = true"));
}

/// An older generation may name segments that were released and used again since: what they held was
/// delivered, so nothing undelivered is missing, and the log begins at the oldest segment there.
#[test]
fn data_files_required_by_backup_not_deleted() {
    let mut site = Site::start(DUAL);
    site.large(100_000);
    site.put(6);
    site.wait_for_end_in_checkpoint();
    let copy = site
        .generations()
        .pop()
        .map(|(_, path)| (fs::read(&path).expect("the file of our own log"), path))
        .expect("the file of our own log");
    site.stop();
    site.let_deliver();
    site.start_again();
    site.put(9);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    let named = Checkpoint::decode(&copy.0)
        .expect("the file of our own log")
        .shards[0]
        .cursors[0]
        .1;
    wait_until(
        "the first segment is released",
        Duration::from_secs(10),
        || !segment_ids(&site.shard_folder()).contains(&named.segment.max(1)),
    );
    site.large(200);
    site.put(5);
    site.wait_for_delivery();
    site.stop();
    site.generations().iter().for_each(|(_, path)| remove(path));
    fs::write(&copy.1, &copy.0).expect("the file of our own log");
    site.start_again();
    site.put(5);
    site.wait_for_delivery();
    site.stop();
    let findings = site.look();
    assert_eq!(findings.delivered, 250);
}

fn segment_ids(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder)
        .expect("the file of our own log")
        .flatten();
    entries
        .filter_map(|entry| SegmentHeader::decode(&fs::read(entry.path()).ok()?).ok())
        .map(|header| header.segment)
        .collect()
}

// Copying the checkpoint is a step of its own in Flume, slow, and perhaps compressed. Here each
// generation takes the place of the older one; the keys change nothing.

#[test]
fn slow_backup() {
    let mut site = Site::start(DUAL);
    site.let_deliver();
    for _ in 0..10 {
        // Each commit of the sink asks for a checkpoint while the one before may be under way.
        site.put(1);
        site.wait_for_delivery();
    }
    site.wait_for_cursor_in_checkpoint();
    let generations = site.generations();
    let [(older, _), (newer, _)] = &generations[..] else {
        panic!("two generations are kept")
    };
    assert_eq!(newer.generation, older.generation + 1);
    site.stop();
    assert_eq!(site.look().duplicates, 0);
}

#[test]
fn compress_backup() {
    let keys = format!("{DUAL}\ncompressBackupCheckpoint = true");
    let mut site = check_with(&keys, Hit::Every, |_| {});
    for (checkpoint, path) in site.generations() {
        assert_eq!(
            checkpoint.encode(),
            fs::read(&path).expect("the file of our own log"),
            "as it is, not compressed"
        );
        assert!(fs::metadata(&path).expect("the file of our own log").len() < 4096);
    }
    assert_eq!(site.look().duplicates, 0);
}

fn toggled(before: bool) {
    let keys = |compressed: bool| format!("{DUAL}\ncompressBackupCheckpoint = {compressed}");
    let mut site = Site::start(&keys(before));
    site.put(10);
    site.wait_for_end_in_checkpoint();
    site.stop();
    for (_, path) in site.generations() {
        remove(&path);
    }
    site.configure(&keys(!before));
    expect_all_once(&mut site);
    assert!(!site.generations().is_empty(), "written again");
}

#[test]
fn toggle_checkpoint_compression_from_true_to_false() {
    toggled(true);
}

#[test]
fn toggle_checkpoint_compression_from_false_to_true() {
    toggled(false);
}

// Not Flume's: the checkpoint goes while the collector runs.

#[test]
fn a_checkpoint_deleted_while_running_is_written_again() {
    let mut site = Site::start("");
    site.let_deliver();
    site.put(5);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    site.generations().iter().for_each(|(_, path)| remove(path));
    site.put(5);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    site.stop();
    assert_eq!(site.deliver().duplicates, 0);
}

#[test]
fn a_checkpoint_deleted_before_kill_9_costs_duplicates_only() {
    let mut site = Site::start("");
    site.let_deliver();
    site.put(10);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    site.kill();
    site.generations().iter().for_each(|(_, path)| remove(path));
    let findings = site.deliver();
    assert_eq!(findings.delivered, 100);
    assert!((1..=100).contains(&findings.duplicates), "{findings:?}");
}

#[test]
fn a_checkpoint_folder_that_is_gone_stops_no_delivery() {
    let mut site = Site::start("");
    site.let_deliver();
    site.put(5);
    site.wait_for_delivery();
    fs::remove_dir_all(site.checkpoint_folder()).expect("the file of our own log");
    site.put(5);
    site.wait_for_delivery();
    site.kill();
    assert_eq!(site.deliver().delivered, 100);
}
