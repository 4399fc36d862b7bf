//! What the log does when a disk or a client asks too much of it: refuses, says why, and takes batches
//! again when the reason has gone.

use std::sync::Arc;
use std::time::Duration;

use super::small_box::{SEGMENT, data, on_box, open, small, told, try_put};
use super::{encoded, put};
use crate::channel::wal::*;
use crate::channel::{DeliveredTo, Put, PutError};
use crate::event::{Batch, Overlay, OverlayHeader};
use crate::metrics::ChannelCounters;
use crate::reactor::Ground;
use crate::reactor::simulated::{Faults, SimulatedWorld};

#[test]
fn a_disk_without_room_refuses_batches_until_there_is_some() {
    on_box(|world| async move {
        world.disk().set_capacity(data(), SEGMENT / 2);
        let (_log, appender) = open(&world, &small()).await.unwrap();
        let refusal = try_put(&appender, 100).await.unwrap_err().to_string();
        assert!(
            refusal.contains("usable space exhausted, only 32768"),
            "{refusal}"
        );
        assert!(appender.refusal().is_some());
        world.sleep(Duration::from_secs(3)).await;
        assert!(appender.refusal().is_some(), "nothing has changed");
        world.disk().set_capacity(data(), 8 * SEGMENT);
        world.sleep(Duration::from_secs(3)).await;
        assert!(appender.refusal().is_none());
        try_put(&appender, 100).await.unwrap();
    });
}

#[test]
fn capacity_bytes_refuses_what_no_segment_is_left_for() {
    on_box(|world| async move {
        let mut plan = small();
        plan.file.capacity_bytes = Some(2 * SEGMENT);
        let (_log, appender) = open(&world, &plan).await.unwrap();
        let mut refused = None;
        for _ in 0..20 {
            refused = refused.or(try_put(&appender, 1000).await.err());
        }
        let refused = refused.expect("twenty batches are more than two segments hold");
        assert!(matches!(refused, PutError::Full { .. }), "{refused}");
        let files = world.disk().paths();
        assert_eq!(files.len(), 2, "{files:?}");
    });
}

#[test]
fn a_disk_that_dies_refuses_batches_until_it_is_back() {
    on_box(|world| async move {
        let (_log, appender) = open(&world, &small()).await.unwrap();
        try_put(&appender, 100).await.unwrap();
        world.disk().set_dead(data(), true);
        let refused = try_put(&appender, 100).await.unwrap_err();
        assert!(matches!(refused, PutError::Device { .. }), "{refused}");
        let said = told(&refused);
        assert!(said.contains("no healthy data directory"), "{said}");
        world.sleep(Duration::from_secs(20)).await;
        assert!(appender.refusal().is_some());
        world.disk().set_dead(data(), false);
        world.sleep(Duration::from_secs(10)).await;
        try_put(&appender, 100).await.unwrap();
    });
}

#[test]
fn a_write_that_fails_everywhere_fails_its_batch() {
    on_box(|world| async move {
        let (_log, appender) = open(&world, &small()).await.unwrap();
        world.set_faults(Faults {
            write_error: 1000,
            ..Faults::default()
        });
        let refused = try_put(&appender, 100).await.unwrap_err();
        assert!(matches!(refused, PutError::Device { .. }), "{refused}");
        world.set_faults(Faults::default());
        world.sleep(Duration::from_secs(10)).await;
        try_put(&appender, 100).await.unwrap();
    });
}

#[test]
fn an_empty_batch_costs_nothing_and_headers_larger_than_half_a_block_are_refused() {
    on_box(|world| async move {
        let (log, appender) = open(&world, &small()).await.unwrap();
        let mut overlay = Overlay::default();
        let empty = Batch {
            pieces: &[],
            event_count: 0,
            overlay: &overlay,
            arrival_ms: 7,
        };
        appender.put(&empty).await.unwrap().await.unwrap();
        assert_eq!(log.shared.durable_sequence(), 0);
        overlay.push(OverlayHeader {
            key: b"k".to_vec(),
            value: vec![b'v'; 20 << 10],
            preserve_existing: false,
        });
        let events = encoded(0, 1, 10);
        let batch = Batch {
            pieces: &[&events],
            event_count: 1,
            overlay: &overlay,
            arrival_ms: 7,
        };
        let refused = appender.put(&batch).await.unwrap_err();
        assert!(
            matches!(refused, PutError::EventTooLarge { .. }),
            "{refused}"
        );
    });
}

#[test]
fn a_closed_channel_says_so() {
    on_box(|world| async move {
        let (_log, appender) = open(&world, &small()).await.unwrap();
        assert_eq!(format!("{appender:?}"), "Appender { channel: \"c1\" }");
        appender.close().await;
        let refused = try_put(&appender, 10).await.unwrap_err();
        assert_eq!(refused.to_string(), "channel c1 is closed");
    });
}

/// A log over several segments, opened by an agent that has fewer shards now.
async fn drained_only(world: &SimulatedWorld) -> ShardLog {
    {
        let (_log, appender) = open(world, &small()).await.unwrap();
        for batch in 0..20 {
            put(&appender, batch * 10, 10, 1000).await;
        }
        appender.close().await;
    }
    let opened = open_shard(world.clone(), 0, &small(), None, |_, _| {}, |_, _| {}).await;
    let (log, appender) = opened.unwrap();
    assert!(appender.is_none());
    assert!(log.shared.segment_totals().0 >= 3);
    log
}

fn deliver_all(log: &ShardLog) {
    let cursor = DeliveredTo {
        event: log.shared.durable_event(),
        block: log.shared.durable_sequence(),
        segment: 0,
        offset: 0,
    };
    log.shared.delivered(&log.shared.groups[0], cursor);
    log.shared.released_durably(cursor.block);
}

#[test]
fn a_log_that_is_only_drained_lets_go_of_its_files() {
    on_box(|world| async move {
        let log = drained_only(&world).await;
        let left = |log: &ShardLog| log.shared.first_segment().unwrap().path;
        let first = left(&log);
        deliver_all(&log);
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.disk().content(&first), None);
        assert!(
            world.disk().content(&left(&log)).is_some(),
            "the last stays"
        );
    });
}

#[test]
fn a_log_that_is_only_drained_goes_on_when_a_file_cannot_be_removed() {
    on_box(|world| async move {
        let log = drained_only(&world).await;
        let first = log.shared.first_segment().unwrap().path;
        world.disk().set_dead(data(), true);
        deliver_all(&log);
        world.sleep(Duration::from_secs(3)).await;
        assert!(world.disk().content(&first).is_some());
        assert_eq!(log.shared.segment_totals().0, 1);
    });
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_written_later() {
    on_box(|world| async move {
        let (log, appender) = open(&world, &small()).await.unwrap();
        try_put(&appender, 100).await.unwrap();
        let folder = small().file.checkpoint_dir;
        world.create_directory(&folder).await.unwrap();
        let counters = Arc::new(ChannelCounters::default());
        let mut writer = CheckpointWriter::new(
            world.clone(),
            folder.clone(),
            "c1".to_owned(),
            Duration::from_secs(30),
            vec![Arc::clone(&log.shared)],
            Checkpoint {
                generation: 0,
                shards: vec![log.entry.clone()],
            },
            Arc::clone(&counters),
        );
        world.disk().set_dead(&folder, true);
        deliver_all(&log);
        writer.write_if_moved().await;
        assert_eq!(counters.checkpoint_write_error.get(), 1);
        assert_eq!(Checkpoint::load(&world, &folder).await, None);
        world.disk().set_dead(&folder, false);
        writer.write_if_moved().await;
        let loaded = Checkpoint::load(&world, &folder).await.unwrap();
        assert_eq!((loaded.generation, loaded.shards[0].end.event), (1, 10));
        let [older, newer] = Checkpoint::paths(&folder);
        assert!(world.disk().content(&newer).is_some());
        assert!(world.disk().content(&older).is_none());
    });
}

#[test]
fn a_disk_that_hangs_fails_its_batches_and_is_used_again_when_it_answers() {
    on_box(|world| async move {
        let (log, appender) = open(&world, &small()).await.unwrap();
        // Each operation takes up to ten seconds, and nobody waits for more than five.
        world.set_faults(Faults {
            stall: 1000,
            ..Faults::default()
        });
        let mut given_up = 0;
        for _ in 0..40 {
            match try_put(&appender, 1000).await {
                Ok(()) => {}
                Err(refused) => {
                    assert!(matches!(refused, PutError::Device { .. }), "{refused}");
                    given_up += u32::from(told(&refused).contains("has not answered for 5 s"));
                    world.sleep(Duration::from_secs(11)).await;
                }
            }
        }
        assert!(given_up > 0, "{given_up} were given up");
        world.set_faults(Faults::default());
        world.sleep(Duration::from_secs(20)).await;
        let before = log.shared.durable_event();
        try_put(&appender, 100).await.unwrap();
        assert_eq!(log.shared.durable_event(), before + 10);
    });
}
