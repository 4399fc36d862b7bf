//! The restart and replay cases of Flume's file channel, each under Flume's name for it.
//!
//! What they are about is told in `docs/FLUME_FILE_CHANNEL_CASES.md`; the answers are flumen's, given by
//! the collector itself: configured with Flume's keys, filled, stopped, damaged, started. Where Flume has
//! a checkpoint and its backup, flumen has two generations, so "with backup" damages the newer one only.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use flumen::channel::wal::{Checkpoint, SegmentHeader};

use crate::restart::Site;

const DUAL: &str = "useDualCheckpoints = true\nbackupCheckpointDir = /nonexistent/backup";
/// Offsets in a checkpoint file, from `docs/FORMAT.md`.
const VERSION_AT: u64 = 8;
const GENERATION_AT: u64 = 12;

/// Which generations a case hits.
#[derive(Clone, Copy, PartialEq)]
enum Hit {
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

fn check_with(keys: &str, hit: Hit, damage: impl Fn(&Path)) -> Site {
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

fn expect_all_once(site: &mut Site) {
    let findings = site.deliver();
    assert_eq!((findings.delivered, findings.duplicates), (100, 0));
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Writes `bytes` over what is there.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn cut(path: &Path, bytes_off: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes_off)
        .unwrap();
}

/// The version of the future, with a checksum that holds.
fn future_version(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let covered = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..covered]);
    bytes[covered..].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// A checkpoint that is whole, and speaks of another use of the segment than the one that is there.
fn another_epoch(path: &Path) {
    let mut checkpoint = Checkpoint::decode(&fs::read(path).unwrap()).unwrap();
    checkpoint.shards[0].end_epoch ^= 1;
    fs::write(path, checkpoint.encode()).unwrap();
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
    fs::rename(path, path.with_extension("tmp")).unwrap();
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
    let half = fs::metadata(path).unwrap().len() / 2;
    overwrite(path, half, &vec![0; usize::try_from(half).unwrap()]);
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
        .unwrap()
        .set_len(0)
        .unwrap();
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
    fs::write(&stray, 0x7f4a_7c15u32.to_be_bytes()).unwrap();
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
    fs::write(&extra, []).unwrap();
    fs::write(site.shard_folder().join("segment-00001000.tmp"), []).unwrap();
    fs::write(site.shard_folder().join("log-1000"), []).unwrap();
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
    let (_, older) = site.generations().pop().unwrap();
    let copy = fs::read(&older).unwrap();
    site.put(10);
    site.wait_for_delivery();
    site.stop();
    for (_, path) in site.generations() {
        remove(&path);
    }
    fs::write(older, copy).unwrap();
    let findings = site.deliver();
    assert_eq!((findings.delivered, findings.duplicates), (200, 100));
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
        .map(|(_, path)| (fs::read(&path).unwrap(), path))
        .unwrap();
    site.stop();
    site.let_deliver();
    site.start_again();
    site.put(9);
    site.wait_for_delivery();
    site.wait_for_cursor_in_checkpoint();
    let named = Checkpoint::decode(&copy.0).unwrap().shards[0].cursors[0].1;
    crate::support::wait_until(
        "the first segment is released",
        std::time::Duration::from_secs(10),
        || !segment_ids(&site.shard_folder()).contains(&named.segment.max(1)),
    );
    site.large(200);
    site.put(5);
    site.wait_for_delivery();
    site.stop();
    site.generations().iter().for_each(|(_, path)| remove(path));
    fs::write(&copy.1, &copy.0).unwrap();
    site.start_again();
    site.put(5);
    site.wait_for_delivery();
    site.stop();
    let findings = site.look();
    assert_eq!(findings.delivered, 250);
}

fn segment_ids(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).unwrap().flatten();
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
            fs::read(&path).unwrap(),
            "as it is, not compressed"
        );
        assert!(fs::metadata(&path).unwrap().len() < 4096);
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
