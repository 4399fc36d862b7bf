//! A log on a box in memory whose time moves by itself, so that waits cost nothing: what the tests of
//! refusals stand on.

use std::error::Error;
use std::path::{Path, PathBuf};

use tokio::task::LocalSet;

use super::{encoded, plan};
use crate::channel::wal::*;
use crate::channel::{Put, PutError};
use crate::config::FileChannelConfig;
use crate::event::{Batch, Overlay};
use crate::limits::StoreBounds;
use crate::reactor::simulated::{SimulatedWorld, Site};

pub(super) const SEGMENT: u64 = 64 << 10;

pub(super) const BOUNDS: StoreBounds = StoreBounds {
    block_bytes: 16 << 10,
    buffer_bytes_min: 8 << 10,
    segment_bytes_min: 32 << 10,
    tail_bytes_max: 1 << 20,
    read_back_bytes: 32 << 10,
};

pub(super) fn on_box<T, F: Future<Output = T>>(work: impl FnOnce(SimulatedWorld) -> F) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let world = SimulatedWorld::new(Site {
            seed: 7,
            bounds: BOUNDS,
            lacks: Vec::new(),
        });
        work(world).await
    })
}

pub(super) fn small() -> WalPlan {
    let plan = plan(Path::new("/box"));
    let file = FileChannelConfig {
        segment_bytes: SEGMENT,
        ..plan.file.clone()
    };
    WalPlan { file, ..plan }
}

pub(super) fn data() -> &'static Path {
    Path::new("/box/data")
}

pub(super) fn segment_path(slot: u64) -> PathBuf {
    shard_folder(data(), 0).join(segment_file_name(slot))
}

/// An error with all its causes, as operators read it.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(super) async fn open(
    world: &SimulatedWorld,
    plan: &WalPlan,
) -> Result<(ShardLog, Appender<SimulatedWorld>), OpenError> {
    let opened = open_shard(
        world.clone(),
        0,
        plan,
        Some(AppendMeters::default()),
        |_, _| {},
        |_, _| {},
    );
    let (log, appender) = opened.await?;
    Ok((log, appender.expect("meters were given")))
}

/// Puts one batch of ten events; what its client is told.
pub(super) async fn try_put(
    appender: &Appender<SimulatedWorld>,
    body_bytes: usize,
) -> Result<(), PutError> {
    let events = encoded(0, 10, body_bytes);
    let overlay = Overlay::default();
    let batch = Batch {
        pieces: &[&events],
        event_count: 10,
        overlay: &overlay,
        arrival_ms: 7,
    };
    appender.put(&batch).await?.await
}
