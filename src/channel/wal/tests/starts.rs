//! Starts that are refused, and what a start sets aside: everything else is found as it was.

use super::put;
use super::small_box::{SEGMENT, data, on_box, open, segment_path, small, told, try_put};
use crate::channel::wal::*;

fn header(shard: u32, segment: u64) -> SegmentHeader {
    SegmentHeader {
        shard,
        segment,
        epoch: 77,
        segment_bytes: SEGMENT,
        first_sequence: 0,
        first_event: 0,
        chain: 0,
    }
}

/// A file that says it is this segment, and holds no block.
fn begun(header: SegmentHeader) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SEGMENT).unwrap()];
    header.encode(&mut bytes);
    bytes
}

#[test]
fn a_segment_of_another_version_stops_the_start_and_stays_as_it_is() {
    on_box(|world| async move {
        let mut bytes = begun(header(0, 3));
        bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..64]);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        world.disk().put(&segment_path(0), bytes.clone());
        let said = told(&open(&world, &small()).await.unwrap_err());
        assert!(
            said.contains("channel c1, shard 0: recovery failed"),
            "{said}"
        );
        assert!(
            said.contains("segment-00000000.wal: format version 9"),
            "{said}"
        );
        assert_eq!(world.disk().content(&segment_path(0)), Some(bytes));
    });
}

#[test]
fn a_segment_that_is_there_twice_stops_the_start_and_both_are_named() {
    on_box(|world| async move {
        {
            let (_log, appender) = open(&world, &small()).await.unwrap();
            put(&appender, 0, 10, 100).await;
            appender.close().await;
        }
        let first = Census::take(&world, 0, &[shard_folder(data(), 0)]).await;
        let first = first.unwrap().segments().as_slice()[0].path.clone();
        let copy = world.disk().content(&first).unwrap();
        world.disk().put(&segment_path(70), copy);
        let said = told(&open(&world, &small()).await.unwrap_err());
        assert!(said.contains("is there twice"), "{said}");
        assert!(said.contains("segment-00000070.wal"), "{said}");
        assert!(said.contains(&first.display().to_string()), "{said}");
    });
}

#[test]
fn what_is_no_segment_of_the_shard_is_set_aside_under_a_free_name() {
    on_box(|world| async move {
        let aside = |slot, number| segment_path(slot).with_extension(format!("damaged-{number}"));
        let garbage = vec![0x5a; usize::try_from(SEGMENT).unwrap()];
        world.disk().put(&segment_path(0), garbage.clone());
        world.disk().put(&aside(0, 0), vec![1]);
        world.disk().put(&segment_path(1), begun(header(7, 0)));
        world.disk().put(&segment_path(2), garbage.clone());
        // Zeroed, flipped or unreadable: often enough that it is the latter.
        for _ in 0..20 {
            world.disk().rot(&segment_path(2), 20);
        }
        world.disk().put(&segment_path(3), vec![0; 4096]);
        let (_log, appender) = open(&world, &small()).await.unwrap();
        assert_eq!(world.disk().content(&aside(0, 1)), Some(garbage));
        assert_eq!(
            world.disk().content(&aside(1, 0)),
            Some(begun(header(7, 0)))
        );
        assert!(world.disk().content(&aside(2, 0)).is_some());
        assert_eq!(world.disk().content(&segment_path(3)), None);
        try_put(&appender, 100).await.unwrap();
    });
}

#[test]
fn a_dead_disk_stops_the_start_and_is_named() {
    on_box(|world| async move {
        world.disk().set_dead(data(), true);
        let said = told(&open(&world, &small()).await.unwrap_err());
        let expected = "/box/data/shard-000: creating the folder failed: ";
        assert!(said.contains(expected), "{said}");
    });
}

#[test]
fn only_folders_of_shards_are_shards() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "shard-000",
        "shard-012",
        "shard-7",
        "shard-999",
        "shard-abc",
        "lost+found",
    ] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let directories = [directory.path().join("gone"), directory.path().to_owned()];
    assert_eq!(shards_on_disk(&directories), [0, 12]);
}

#[test]
fn a_lock_names_what_cannot_be_locked_and_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(DirectoryLock::holder(directory.path()).unwrap(), None);
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let said = told(&DirectoryLock::acquire(&file, "c1").unwrap_err());
    assert!(
        said.ends_with("cannot be created or opened: not a directory. [channel=c1]"),
        "{said}"
    );
    // A process asks about others: what it holds itself is not a lock to it.
    let _held = DirectoryLock::acquire(directory.path(), "c1").unwrap();
    assert_eq!(DirectoryLock::holder(directory.path()).unwrap(), None);
    DirectoryLock::holder(&file.join("below")).unwrap_err();
}

#[test]
fn refusals_of_segments_and_headers_say_what_is_wrong() {
    let full = SegmentError::Full {
        segment_count: 2,
        segment_bytes: 4096,
    };
    let sentences = [
        (
            full.to_string(),
            "capacityBytes is used up by 2 segments of 4096 bytes",
        ),
        (
            SegmentError::Resting.to_string(),
            "every data directory failed less than 5 s ago",
        ),
        (HeaderError::Magic.to_string(), "no header begins here"),
        (
            HeaderError::Version { version: 9 }.to_string(),
            "format version 9 is not 1",
        ),
        (
            HeaderError::Checksum {
                found: 1,
                computed: 2,
            }
            .to_string(),
            "header checksum 0x00000001 is not 0x00000002",
        ),
        (
            HeaderError::Released { segment: 4 }.to_string(),
            "segment 4 was let go",
        ),
    ];
    for (said, expected) in sentences {
        assert_eq!(said, expected);
    }
}
