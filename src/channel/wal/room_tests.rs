//! A log over several data directories whose disks fill up: on disks in memory, in simulated time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::channel::{Put, PutError};
use crate::config::FileChannelConfig;
use crate::event::{Batch, Overlay, encode_event};
use crate::limits::StoreBounds;
use crate::reactor::Ground;
use crate::reactor::simulated::{SimulatedWorld, Site};

const SEGMENT_BYTES: u64 = 64 << 10;
const RESERVE_BYTES: u64 = 256 << 10;
/// Free space is looked at once a second.
const LOOKED: Duration = Duration::from_millis(2_500);

fn directories() -> [PathBuf; 2] {
    ["/one", "/two"].map(PathBuf::from)
}

fn plan() -> WalPlan {
    WalPlan {
        channel: "c1".to_owned(),
        file: FileChannelConfig {
            checkpoint_dir: PathBuf::from("/checkpoint"),
            data_dirs: directories().to_vec(),
            checkpoint_interval: Duration::from_secs(30),
            segment_bytes: SEGMENT_BYTES,
            minimum_required_space: RESERVE_BYTES,
            capacity_bytes: None,
        },
        shard_count: 1,
        transaction_capacity: 100,
        keep_alive: Duration::ZERO,
        usage: Arc::new(Usage::new(1_000_000, u64::MAX)),
        checkpoint: Arc::new(None),
        groups: vec![(String::new(), Arc::new(Notify::new()))],
        checkpoint_due: Arc::new(Notify::new()),
    }
}

/// A shard's log in `world`.
struct Bench {
    world: SimulatedWorld,
    log: ShardLog,
    appender: Appender<SimulatedWorld>,
}

impl Bench {
    async fn open(world: SimulatedWorld) -> Self {
        let meters = AppendMeters::default();
        let ground = world.clone();
        let opened = open_shard(ground, 0, &plan(), Some(meters), |_, _| {}, |_, _| {}).await;
        let (log, appender) = opened.unwrap();
        let appender = appender.unwrap();
        Self {
            world,
            log,
            appender,
        }
    }

    /// Fills a few segments.
    async fn put_some(&self) -> Result<(), PutError> {
        let mut event = Vec::new();
        encode_event(
            &mut event,
            &std::collections::BTreeMap::new(),
            &[b'x'; 3_000],
        );
        let batch = Batch {
            pieces: &[&event],
            event_count: 1,
            overlay: &Overlay::default(),
            arrival_ms: 0,
        };
        for _ in 0..60 {
            self.appender.put(&batch).await?.await?;
        }
        Ok(())
    }

    /// Everything beside the log takes all but `free_bytes` of a disk.
    fn leave(&self, directory: &Path, free_bytes: u64) {
        let files = self.files(directory);
        let disk = self.world.disk();
        disk.set_capacity(directory, files * SEGMENT_BYTES + free_bytes);
        let found = self.world.free_bytes(directory).unwrap();
        assert_eq!(found, free_bytes, "every file there is a segment");
    }

    fn files(&self, directory: &Path) -> u64 {
        let paths = self.world.disk().paths();
        let there = paths.iter().filter(|path| path.starts_with(directory));
        there.count() as u64
    }

    /// Segments that hold blocks, by data directory.
    fn segments(&self, directory: &Path) -> u64 {
        let (mut id, mut count) = (0, 0);
        while let Some(segment) = self.log.shared.segment_after(id) {
            count += u64::from(segment.path.starts_with(directory));
            id = segment.id;
        }
        count
    }
}

fn check<F: Future<Output = ()>>(work: impl FnOnce(SimulatedWorld) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let site = || Site {
        seed: 1,
        bounds: StoreBounds {
            block_bytes: 16 << 10,
            buffer_bytes_min: 4 << 10,
            segment_bytes_min: 8 << 10,
            tail_bytes_max: 0,
            read_back_bytes: 16 << 10,
        },
        lacks: Vec::new(),
    };
    let run = async {
        work(SimulatedWorld::new(site())).await;
    };
    runtime.block_on(LocalSet::new().run_until(run));
}

#[test]
fn a_full_data_directory_gets_no_new_segments_and_the_log_goes_on_in_the_other() {
    check(|world| async move {
        let [one, two] = directories();
        let bench = Bench::open(world).await;
        bench.put_some().await.unwrap();
        assert!(bench.segments(&one) > 0 && bench.segments(&two) > 0);

        bench.leave(&one, RESERVE_BYTES - 1);
        sleep(LOOKED).await;
        assert!(bench.appender.refusal().is_none());
        assert_eq!(
            bench.files(&one),
            bench.segments(&one),
            "its spare files went, to give back the reserve"
        );
        let (before, there) = (bench.segments(&one), bench.segments(&two));
        // What was freed may be used by others.
        bench.leave(&one, 0);
        bench.put_some().await.unwrap();
        bench.put_some().await.unwrap();
        assert_eq!(bench.segments(&one), before);
        assert!(bench.segments(&two) > there + 4);

        // Now there is no room anywhere.
        bench.leave(&two, RESERVE_BYTES - 1);
        sleep(LOOKED).await;
        let refusal = bench.put_some().await.unwrap_err();
        let PutError::NoSpace { directory, .. } = &refusal else {
            panic!("{refusal}");
        };
        assert_eq!(Path::new(directory), shard_folder(&two, 0));
        bench.leave(&one, 100 * SEGMENT_BYTES);
        sleep(LOOKED).await;
        bench.put_some().await.unwrap();
        assert!(bench.segments(&one) > before);
    });
}
