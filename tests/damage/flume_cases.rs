//! The restart and replay cases of Flume's file channel, each under Flume's name for it.
//!
//! What they are about is told in `docs/FLUME_FILE_CHANNEL_CASES.md`; the answers are flumen's, given by
//! the collector itself: configured with Flume's keys, filled, stopped, damaged, started. Where Flume has
//! a checkpoint and its backup, flumen has two generations, so "with backup" damages the newer one only.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use flumen::channel::wal::Checkpoint;

use crate::restart::Site;

pub(crate) const DUAL: &str =
    "useDualCheckpoints = true\nbackupCheckpointDir = /nonexistent/backup";
/// Offsets in a checkpoint file, from `docs/FORMAT.md`.
const VERSION_AT: u64 = 8;
const GENERATION_AT: u64 = 12;

/// Which generations a case hits.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Hit {
    Every,
    Newest,
}

/// Puts a hundred events over two checkpoints, stops, damages, and demands all hundred, once each.
fn check(hit: Hit, damage: impl Fn(&Path)) -> Site {
    check_with(
        match hit {
            Hit::Every => "",
            Hit::Newest => DUAL,
        },
        hit,
        damage,
    )
}

pub(crate) fn check_with(keys: &str, hit: Hit, damage: impl Fn(&Path)) -> Site {
    let mut site = Site::start(keys);
    site.put(5);
    site.wait_for_end_in_checkpoint();
    site.put(5);
    site.stop();
    let generations = site.generations();
    assert_eq!(generations.len(), 2, "two generations are kept");
    let spared = usize::from(hit == Hit::Newest);
    for (_, path) in &generations[spared..] {
        damage(path);
    }
    expect_all_once(&mut site);
    site
}

pub(crate) fn expect_all_once(site: &mut Site) {
    let findings = site.deliver();
    assert_eq!((findings.delivered, findings.duplicates), (100, 0));
}

pub(crate) fn remove(path: &Path) {
    fs::remove_file(path).expect("the file of our own log");
}

/// Writes `bytes` over what is there.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file of our own log");
    file.seek(SeekFrom::Start(at))
        .expect("the file of our own log");
    file.write_all(bytes).expect("the file of our own log");
}

fn cut(path: &Path, bytes_off: u64) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file of our own log");
    file.set_len(file.metadata().expect("the file of our own log").len() - bytes_off)
        .expect("the file of our own log");
}

/// The version of the future, with a checksum that holds.
fn future_version(path: &Path) {
    let mut bytes = fs::read(path).expect("the file of our own log");
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let covered = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..covered]);
    bytes[covered..].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).expect("the file of our own log");
}

/// A checkpoint that is whole, and speaks of another use of the segment than the one that is there.
fn another_epoch(path: &Path) {
    let mut checkpoint = Checkpoint::decode(&fs::read(path).expect("the file of our own log"))
        .expect("the file of our own log");
    checkpoint.shards[0].end_epoch ^= 1;
    fs::write(path, checkpoint.encode()).expect("the file of our own log");
}

fn says_damaged(site: &Site, times: usize) {
    let said = site.log().matches("is damaged and not used").count();
    assert_eq!(said, times, "{}", site.log());
}

// Restart with the three ways of replay that Flume has; flumen has one.

fn restart(v1: bool, fast: bool, checkpointed: bool, deleted: bool) {
    let keys = format!("use-log-replay-v1 = {v1}\nuse-fast-replay = {fast}");
    let mut site = Site::start(&keys);
    site.put(10);
    if checkpointed {
        site.wait_for_end_in_checkpoint();
        site.stop();
    } else {
        site.kill();
    }
    if deleted {
        site.generations().iter().for_each(|(_, path)| remove(path));
    }
    expect_all_once(&mut site);
}

#[test]
fn restart_log_replay_v1() {
    restart(true, false, false, false);
}

#[test]
fn restart_log_replay_v2() {
    restart(false, false, false, false);
}

#[test]
fn fast_replay_v1() {
    restart(true, true, true, true);
}

#[test]
fn fast_replay_v2() {
    restart(false, true, true, true);
}

#[test]
fn fast_replay_negative_test_v1() {
    restart(true, true, true, false);
}

#[test]
fn fast_replay_negative_test_v2() {
    restart(false, true, true, false);
}

#[test]
fn normal_replay_v1() {
    restart(true, false, true, true);
}

#[test]
fn normal_replay_v2() {
    restart(false, false, true, true);
}

// One half of a checkpoint is there. Flume's halves are two files; ours are a file and its temporary,
// or a file and its checksum.

/// The rename never happened: the temporary is there, the file is not.
fn as_temporary(path: &Path) {
    fs::rename(path, path.with_extension("tmp")).expect("the file of our own log");
}

#[test]
fn restart_when_meta_data_exists_but_checkpoint_does_not() {
    check(Hit::Every, as_temporary);
}

#[test]
fn restart_when_meta_data_exists_but_checkpoint_does_not_with_backup() {
    check(Hit::Newest, as_temporary);
}

#[test]
fn restart_when_checkpoint_exists_but_meta_does_not() {
    says_damaged(&check(Hit::Every, |path| cut(path, 4)), 2);
}

#[test]
fn restart_when_checkpoint_exists_but_meta_does_not_with_backup() {
    says_damaged(&check(Hit::Newest, |path| cut(path, 4)), 1);
}

#[test]
fn restart_when_no_checkpoint_exists() {
    check(Hit::Every, remove);
}

#[test]
fn restart_when_no_checkpoint_exists_with_backup() {
    check(Hit::Newest, remove);
}

// Versions and numbers that are not the ones to expect.

#[test]
fn bad_checkpoint_version() {
    says_damaged(&check(Hit::Every, future_version), 2);
}

#[test]
fn bad_checkpoint_version_with_backup() {
    says_damaged(&check(Hit::Newest, future_version), 1);
}

fn version_without_checksum(path: &Path) {
    overwrite(path, VERSION_AT, &2u32.to_le_bytes());
}

#[test]
fn bad_checkpoint_meta_version() {
    says_damaged(&check(Hit::Every, version_without_checksum), 2);
}

#[test]
fn bad_checkpoint_meta_version_with_backup() {
    says_damaged(&check(Hit::Newest, version_without_checksum), 1);
}

#[test]
fn differing_order_id_checkpoint_and_meta_version() {
    check(Hit::Every, another_epoch);
}

#[test]
fn differing_order_id_checkpoint_and_meta_version_with_backup() {
    check(Hit::Newest, another_epoch);
}

// Checkpoints that were cut short or altered.

/// The crash came in the middle of the write, and the file system kept the length.
fn half_zeros(path: &Path) {
    let half = fs::metadata(path).expect("the file of our own log").len() / 2;
    overwrite(
        path,
        half,
        &vec![0; usize::try_from(half).expect("the file of our own log")],
    );
}

#[test]
fn incomplete_checkpoint() {
    says_damaged(&check(Hit::Every, half_zeros), 2);
}

#[test]
fn incomplete_checkpoint_with_checkpoint() {
    says_damaged(&check(Hit::Newest, half_zeros), 1);
}

fn to_nothing(path: &Path) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file of our own log")
        .set_len(0)
        .expect("the file of our own log");
}

#[test]
fn truncated_checkpoint_meta() {
    says_damaged(&check(Hit::Every, to_nothing), 2);
}

#[test]
fn truncated_checkpoint_meta_with_backup() {
    says_damaged(&check(Hit::Newest, to_nothing), 1);
}

fn eight_bytes_at_10(path: &Path) {
    overwrite(path, 10, &0x9e37_79b9_7f4a_7c15u64.to_be_bytes());
}

#[test]
fn corrupt_checkpoint_meta() {
    says_damaged(&check(Hit::Every, eight_bytes_at_10), 2);
}

#[test]
fn corrupt_checkpoint_meta_with_backup() {
    says_damaged(&check(Hit::Newest, eight_bytes_at_10), 1);
}

#[test]
fn corrupt_checkpoint_version_most_significant_4_bytes() {
    let site = check(Hit::Every, |path| overwrite(path, VERSION_AT + 2, &[1, 5]));
    says_damaged(&site, 2);
}

#[test]
fn corrupt_checkpoint_complete_marker_most_significant_4_bytes() {
    let site = check(Hit::Every, |path| {
        overwrite(path, GENERATION_AT + 4, &[1, 5]);
    });
    says_damaged(&site, 2);
}

// Fast replay is a switch in Flume; with or without it, a bad checkpoint costs a scan.

#[test]
fn fast_replay_with_checkpoint() {
    says_damaged(&check_with("use-fast-replay = true", Hit::Every, |_| {}), 0);
}

#[test]
fn fast_replay_with_bad_checkpoint() {
    let keys = "use-fast-replay = true";
    says_damaged(&check_with(keys, Hit::Every, eight_bytes_at_10), 2);
}

#[test]
fn no_fast_replay_with_checkpoint() {
    says_damaged(
        &check_with("use-fast-replay = false", Hit::Every, |_| {}),
        0,
    );
}

#[test]
fn no_fast_replay_with_bad_checkpoint() {
    let keys = "use-fast-replay = false";
    says_damaged(&check_with(keys, Hit::Every, eight_bytes_at_10), 2);
}
