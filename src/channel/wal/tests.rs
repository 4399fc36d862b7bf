//! The log on a real disk: one glommio shard appends, recovery and readers find it again.

mod refusals;
mod small_box;
mod starts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::channel::block::RECORD_HEADER_BYTES;
use crate::channel::{Consumer, Put};
use crate::config::FileChannelConfig;
use crate::event::{Batch, Overlay, encode_event};
use crate::limits;
use crate::metrics::ChannelCounters;
use crate::reactor::{DrainWorld, Ground, ShardWorld};

fn on_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
    work: impl FnOnce(ShardWorld) -> F + Send + 'static,
) -> T {
    glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .spawn(move || work(ShardWorld::new()))
        .unwrap()
        .join()
        .unwrap()
}

fn plan(directory: &Path) -> WalPlan {
    WalPlan {
        channel: "c1".to_owned(),
        file: FileChannelConfig {
            checkpoint_dir: directory.join("checkpoint"),
            data_dirs: vec![directory.join("data")],
            checkpoint_interval: Duration::from_secs(30),
            segment_bytes: limits::SEGMENT_BYTES_MIN,
            minimum_required_space: 0,
            capacity_bytes: None,
        },
        shard_count: 1,
        transaction_capacity: 100_000,
        keep_alive: Duration::from_millis(50),
        usage: Arc::new(Usage::new(1_000_000, u64::MAX)),
        checkpoint: Arc::new(None),
        groups: vec![(String::new(), Arc::new(Notify::new()))],
        checkpoint_due: Arc::new(Notify::new()),
    }
}

fn encoded(first: u64, count: u64, body_bytes: usize) -> Vec<u8> {
    let mut events = Vec::new();
    for number in first..first + count {
        let mut body = number.to_string().into_bytes();
        body.resize(body.len().max(body_bytes), b'.');
        encode_event(&mut events, &std::collections::BTreeMap::new(), &body);
    }
    events
}

fn number_in(body: &[u8]) -> u64 {
    let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&body[..digits])
        .unwrap()
        .parse()
        .unwrap()
}

async fn put<G: Ground>(appender: &Appender<G>, first: u64, count: u64, body_bytes: usize) {
    let events = encoded(first, count, body_bytes);
    let overlay = Overlay::default();
    let batch = Batch {
        pieces: &[&events],
        event_count: usize::try_from(count).unwrap(),
        overlay: &overlay,
        arrival_ms: 7,
    };
    appender.put(&batch).await.unwrap().await.unwrap();
}

/// Appends `batches` of `count` events and stops in order, or just drops everything.
fn append(plan: &WalPlan, first: u64, batches: u64, count: u64, body_bytes: usize) {
    let plan = plan.clone();
    on_shard(move |world| async move {
        let (_log, appender) = open_shard(
            world,
            0,
            &plan,
            Some(AppendMeters::default()),
            |_, _| {},
            |_, _| {},
        )
        .await
        .unwrap();
        let appender = appender.unwrap();
        for batch in 0..batches {
            put(&appender, first + batch * count, count, body_bytes).await;
        }
        appender.close().await;
    });
}

/// Delivers everything, and returns the numbers found.
fn drain(plan: &WalPlan, take_max: usize, commit: bool) -> Vec<u64> {
    drain_takes(plan, take_max, commit, usize::MAX).0
}

/// Delivers the first `takes` transactions.
fn drain_some(plan: &WalPlan, take_max: usize, takes: usize) -> Vec<u64> {
    drain_takes(plan, take_max, true, takes).0
}

/// Delivers everything, and counts the blocks that were reported lost.
fn drain_counting(plan: &WalPlan, take_max: usize, commit: bool) -> (Vec<u64>, u64) {
    drain_takes(plan, take_max, commit, usize::MAX)
}

fn drain_takes(plan: &WalPlan, take_max: usize, commit: bool, takes: usize) -> (Vec<u64>, u64) {
    let (logs, plan) = {
        let shard_plan = plan.clone();
        let log = on_shard(move |world| async move {
            open_shard(world, 0, &shard_plan, None, |_, _| {}, |_, _| {})
                .await
                .unwrap()
                .0
        });
        (log, plan.clone())
    };
    tokio_uring::start(async move {
        let world = DrainWorld::default();
        let link = Arc::clone(&logs.shared.groups[0]);
        let more = Arc::clone(&link.more);
        let feed = WalFeed::new(
            world.clone(),
            "c1",
            Arc::clone(&logs.shared),
            link,
            logs.cursors[0].1,
            Arc::clone(&logs.counters),
        );
        let consumer = Consumer::new(vec![Box::new(feed)], more);
        let mut numbers = Vec::new();
        let mut taken = Vec::new();
        while taken.len() < takes
            && let Some(transaction) = consumer.take(take_max).await.unwrap()
        {
            numbers.extend(
                transaction
                    .iter()
                    .map(|event| number_in(event.unwrap().body())),
            );
            taken.push(transaction);
        }
        for transaction in taken {
            if commit {
                transaction.commit();
            }
        }
        let mut writer = CheckpointWriter::new(
            world.clone(),
            plan.file.checkpoint_dir.clone(),
            "c1".to_owned(),
            Duration::from_secs(30),
            vec![Arc::clone(&logs.shared)],
            Checkpoint {
                generation: 0,
                shards: vec![logs.entry.clone()],
            },
            Arc::new(ChannelCounters::default()),
        );
        std::fs::create_dir_all(&plan.file.checkpoint_dir).unwrap();
        writer.write_if_moved().await;
        (numbers, logs.counters.lost_block.get())
    })
}

fn with_checkpoint(plan: &WalPlan) -> WalPlan {
    let directory = plan.file.checkpoint_dir.clone();
    let checkpoint =
        tokio_uring::start(
            async move { Checkpoint::load(&DrainWorld::default(), &directory).await },
        );
    WalPlan {
        checkpoint: Arc::new(checkpoint),
        usage: Arc::new(Usage::new(1_000_000, u64::MAX)),
        ..plan.clone()
    }
}

#[test]
fn committed_bytes_are_those_of_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    let meters = AppendMeters::default();
    let committed_bytes = Arc::clone(&meters.committed_bytes);
    on_shard(move |world| async move {
        let (_log, appender) = open_shard(world, 0, &plan, Some(meters), |_, _| {}, |_, _| {})
            .await
            .unwrap();
        let appender = appender.unwrap();
        put(&appender, 0, 10, 100).await;
        put(&appender, 10, 3, 5_000).await;
        appender.close().await;
    });
    let records = [encoded(0, 10, 100), encoded(10, 3, 5_000)];
    let stored = records.map(|events| (RECORD_HEADER_BYTES + events.len()) as u64);
    assert_eq!(committed_bytes.get(), stored.iter().sum::<u64>());
}

#[test]
fn what_was_appended_is_found_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 20, 10, 100);
    assert_eq!(
        drain(&with_checkpoint(&plan), 7, false),
        (0..200).collect::<Vec<_>>()
    );
}

#[test]
fn the_log_goes_on_over_segments_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    // 12 MiB in segments of 4 MiB, in three lives.
    append(&plan, 0, 4, 1000, 1000);
    append(&with_checkpoint(&plan), 4000, 4, 1000, 1000);
    append(&with_checkpoint(&plan), 8000, 4, 1000, 1000);
    assert_eq!(
        drain(&with_checkpoint(&plan), 1000, false),
        (0..12_000).collect::<Vec<_>>()
    );
}

#[test]
fn what_was_delivered_is_not_delivered_again() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 10, 10, 100);
    assert_eq!(drain(&with_checkpoint(&plan), 30, true).len(), 100);
    append(&with_checkpoint(&plan), 100, 1, 5, 100);
    assert_eq!(
        drain(&with_checkpoint(&plan), 30, true),
        (100..105).collect::<Vec<_>>()
    );
    assert_eq!(drain(&with_checkpoint(&plan), 30, true), Vec::<u64>::new());
}

#[test]
fn a_cursor_inside_a_block_gives_the_rest_of_the_block_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 2, 10, 100);
    assert_eq!(drain_some(&with_checkpoint(&plan), 3, 1), [0, 1, 2]);
    let (found, lost) = drain_counting(&with_checkpoint(&plan), 4, true);
    assert_eq!(found, (3..20).collect::<Vec<_>>());
    assert_eq!(lost, 0);
    // And with the cursor at the end of the last block.
    assert_eq!(
        drain_counting(&with_checkpoint(&plan), 4, true),
        (vec![], 0)
    );
}

#[test]
fn an_event_larger_than_a_segment_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    let refusal = on_shard(move |world| async move {
        let (_log, appender) = open_shard(
            world,
            0,
            &plan,
            Some(AppendMeters::default()),
            |_, _| {},
            |_, _| {},
        )
        .await
        .unwrap();
        let events = encoded(0, 1, 5_000_000);
        let overlay = Overlay::default();
        let batch = Batch {
            pieces: &[&events],
            event_count: 1,
            overlay: &overlay,
            arrival_ms: 7,
        };
        appender.unwrap().put(&batch).await.unwrap_err().to_string()
    });
    assert!(refusal.contains("maxFileSize"), "{refusal}");
}

#[test]
fn a_channel_without_room_starts_and_drains() {
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 2, 10, 100);
    let full = WalPlan {
        file: FileChannelConfig {
            minimum_required_space: u64::MAX / 2,
            ..plan.file.clone()
        },
        ..with_checkpoint(&plan)
    };
    let shard_plan = full.clone();
    on_shard(move |world| async move {
        let opened = open_shard(
            world.clone(),
            0,
            &shard_plan,
            Some(AppendMeters::default()),
            |_, _| {},
            |_, _| {},
        )
        .await;
        let appender = opened.unwrap().1.unwrap();
        // The free space is looked at once a second.
        world.sleep(Duration::from_millis(1300)).await;
        assert!(appender.refusal().is_some());
    });
    assert_eq!(
        drain(&with_checkpoint(&plan), 7, false),
        (0..20).collect::<Vec<_>>()
    );
}

#[test]
fn a_batch_larger_than_a_block_is_cut_and_kept_whole() {
    let directory = tempfile::tempdir().unwrap();
    let plan = WalPlan {
        file: FileChannelConfig {
            segment_bytes: 64 << 20,
            ..plan(directory.path()).file
        },
        ..plan(directory.path())
    };
    append(&plan, 0, 1, 7, 1_000_000);
    append(&with_checkpoint(&plan), 7, 1, 1, 5_000_000);
    assert_eq!(
        drain(&with_checkpoint(&plan), 100, false),
        (0..8).collect::<Vec<_>>()
    );
}

#[test]
fn a_torn_tail_ends_the_log_and_a_damaged_middle_costs_its_block_only() {
    use std::os::unix::fs::FileExt;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 10, 10, 1000);
    let path = shard_folder(&plan.file.data_dirs[0], 0).join(segment_file_name(0));
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    // Ten blocks of 12 KiB from offset 4096: flip a byte in the fourth and in the last.
    file.write_all_at(&[0xff], 4096 + 3 * 12_288 + 5000)
        .unwrap();
    file.write_all_at(&[0xff], 4096 + 9 * 12_288 + 5000)
        .unwrap();
    let found = drain(&with_checkpoint(&plan), 10, false);
    let expected: Vec<u64> = (0..30).chain(40..90).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_block_that_two_groups_miss_is_counted_once() {
    use std::os::unix::fs::FileExt;
    let directory = tempfile::tempdir().unwrap();
    let groups = ["", "audit"];
    let groups = groups.map(|group| (group.to_owned(), Arc::new(Notify::new())));
    let plan = WalPlan {
        groups: groups.to_vec(),
        ..plan(directory.path())
    };
    append(&plan, 0, 10, 10, 1000);
    let path = shard_folder(&plan.file.data_dirs[0], 0).join(segment_file_name(0));
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xff], 4096 + 3 * 12_288 + 5000)
        .unwrap();
    let plan = with_checkpoint(&plan);
    let log = on_shard(move |world| async move {
        open_shard(world, 0, &plan, None, |_, _| {}, |_, _| {})
            .await
            .unwrap()
            .0
    });
    tokio_uring::start(async {
        for (link, (_, cursor)) in log.shared.groups.iter().zip(&log.cursors) {
            let (shared, link, start) = (Arc::clone(&log.shared), Arc::clone(link), *cursor);
            let (more, counters) = (Arc::clone(&link.more), Arc::clone(&log.counters));
            let feed = WalFeed::new(DrainWorld::default(), "c1", shared, link, start, counters);
            let consumer = Consumer::new(vec![Box::new(feed)], more);
            let mut event_count = 0;
            while let Some(transaction) = consumer.take(10).await.unwrap() {
                event_count += transaction.event_count();
                transaction.commit();
            }
            assert_eq!(event_count, 90);
        }
    });
    let lost = (log.counters.lost_block.get(), log.counters.lost_event.get());
    assert_eq!(lost, (1, 10));
}

#[test]
fn a_lost_block_is_named_where_it_should_be() {
    use std::os::unix::fs::FileExt;
    let directory = tempfile::tempdir().unwrap();
    let plan = plan(directory.path());
    append(&plan, 0, 10, 10, 1000);
    append(&with_checkpoint(&plan), 100, 10, 10, 1000);
    let folders = vec![shard_folder(&plan.file.data_dirs[0], 0)];
    let lost = tokio_uring::start(async {
        let ground = DrainWorld::default();
        let list = Census::take(&ground, 0, &folders).await.unwrap().segments();
        let second = &list.as_slice()[1];
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&second.path)
            .unwrap();
        // The header of the first block of the second segment.
        file.write_all_at(&[0xff], SEGMENT_HEADER_BYTES + 20)
            .unwrap();
        let group = [String::new()];
        let recovered = recover(&ground, 0, &folders, None, &group, |_, _| {}).await;
        (second.id, recovered.unwrap().lost)
    });
    let (segment, lost) = lost;
    assert_eq!(
        lost,
        [Lost {
            segment,
            offset: SEGMENT_HEADER_BYTES,
            sequence: 10,
            blocks: 1,
            events: 10,
        }]
    );
}
