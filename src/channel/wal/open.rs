//! Opening one shard's log: recovery first, then an appender that goes on behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::appender::{AppendMeters, Appender};
use super::checkpoint::{Checkpoint, ShardCheckpoint};
use super::recovery::{RecoveryError, recover};
use super::segments::{SegmentPlan, Segments};
use super::shared::{LogShared, Usage};
use crate::channel::admission::Admission;
use crate::channel::consumer::DeliveredTo;
use crate::config::FileChannelConfig;
use crate::metrics::WalCounters;
use crate::reactor::Ground;

/// What all shards of a file channel have in common. Sent to each shard.
#[derive(Debug, Clone)]
pub struct WalPlan {
    /// Channel name.
    pub channel: String,
    /// Its settings.
    pub file: FileChannelConfig,
    /// Shards that append: they share `capacityBytes`.
    pub shard_count: u32,
    /// `transactionCapacity`.
    pub transaction_capacity: usize,
    /// `keep-alive`.
    pub keep_alive: Duration,
    /// Use of the channel over all shards.
    pub usage: Arc<Usage>,
    /// What the checkpoint on disk says.
    pub checkpoint: Arc<Option<Checkpoint>>,
    /// Consumer groups, and what wakes each one's consumer.
    pub groups: Vec<(String, Arc<Notify>)>,
    /// Wakes the checkpoint writer.
    pub checkpoint_due: Arc<Notify>,
}

/// One shard's log, recovered.
#[derive(Debug)]
pub struct ShardLog {
    /// What the drain sees.
    pub shared: Arc<LogShared>,
    /// Each group's cursor.
    pub cursors: Vec<(String, DeliveredTo)>,
    /// The shard's entry in the checkpoint from here on.
    pub entry: ShardCheckpoint,
    /// What damage took from it.
    pub counters: Arc<WalCounters>,
}

/// Why a shard's log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Recovery failed.
    #[error("channel {channel}, shard {shard}: recovery failed")]
    Recovery {
        /// Channel name.
        channel: String,
        /// Shard number.
        shard: u32,
        /// Why.
        #[source]
        source: RecoveryError,
    },
}

/// Recovers the log of `shard` and, given meters, an appender that is ready for batches. A shard that exists only on disk, because the agent had more shards once, is drained only.
///
/// # Errors
/// [`OpenError`].
pub async fn open_shard<G: Ground>(
    ground: G,
    shard: u32,
    plan: &WalPlan,
    meters: Option<AppendMeters>,
    progress: impl FnMut(u64, u64),
    prewritten: impl FnMut(u64, u64),
) -> Result<(ShardLog, Option<Appender<G>>), OpenError> {
    let channel = plan.channel.clone();
    let directories: Vec<PathBuf> = plan
        .file
        .data_dirs
        .iter()
        .map(|directory| shard_folder(directory, shard))
        .collect();
    let groups: Vec<String> = plan.groups.iter().map(|(group, _)| group.clone()).collect();
    let known = plan
        .checkpoint
        .as_ref()
        .as_ref()
        .and_then(|checkpoint| checkpoint.shard(shard));
    let recovered = recover(&ground, shard, &directories, known, &groups, progress)
        .await
        .map_err(|source| OpenError::Recovery {
            channel: channel.clone(),
            shard,
            source,
        })?;
    for lost in &recovered.lost {
        tracing::error!(
            "channel {channel}: shard {shard}: recovery met damage in segment {} at offset {}: {} \
             blocks with {} events cannot be read; everything else is delivered",
            lost.segment,
            lost.offset,
            lost.blocks,
            lost.events
        );
    }
    tracing::debug!(
        "channel {channel}: shard {shard}: {} segments; the log ends at {:?}; cursors {:?}",
        recovered.segments.len(),
        recovered.end,
        recovered.cursors
    );
    let links = recovered.cursors.iter().zip(&plan.groups);
    let links = links.map(|((name, cursor), (_, more))| (name.clone(), *cursor, Arc::clone(more)));
    let end_epoch = recovered
        .segments
        .iter()
        .find(|segment| segment.id == recovered.end.segment);
    let entry = ShardCheckpoint {
        shard,
        end: recovered.end,
        end_epoch: end_epoch.map_or(0, |segment| segment.epoch),
        cursors: recovered.cursors.clone(),
    };
    let shared = Arc::new(LogShared::new(
        shard,
        recovered.end,
        recovered.segments,
        links.collect(),
        Arc::clone(&plan.usage),
        Arc::clone(&plan.checkpoint_due),
        ground.bounds().tail_bytes_max,
    ));
    let log = ShardLog {
        shared: Arc::clone(&shared),
        cursors: recovered.cursors,
        entry,
        counters: Arc::default(),
    };
    let Some(meters) = meters else {
        ground.spawn(free_released(ground.clone(), shared));
        return Ok((log, None));
    };
    let segment_plan = SegmentPlan {
        shard,
        directories,
        segment_bytes: plan.file.segment_bytes,
        minimum_required_space: plan.file.minimum_required_space,
        segment_count_max: plan.file.capacity_bytes.map(|bytes| {
            let share = bytes / u64::from(plan.shard_count) / plan.file.segment_bytes;
            // One to write to and one to read from.
            usize::try_from(share).unwrap_or(usize::MAX).max(2)
        }),
    };
    let file_count = shared.segment_totals().0 + recovered.spares.len();
    let segments = Segments::new(
        ground.clone(),
        segment_plan,
        recovered.next_segment.max(1),
        recovered.next_slot,
        recovered.spares,
        file_count,
    );
    let admission = Admission::new(
        &channel,
        plan.transaction_capacity,
        plan.keep_alive,
        Arc::clone(&plan.usage),
        Arc::clone(&meters.puts),
    );
    let appender = Appender::new(ground, admission, segments, shared, recovered.end, meters);
    appender.start(prewritten).await;
    Ok((log, Some(appender)))
}

/// Removes the segments of a log that is only drained, as they are released; the last one stays until
/// the shard appends again.
async fn free_released<G: Ground>(ground: G, log: Arc<LogShared>) {
    loop {
        ground.sleep(Duration::from_secs(1)).await;
        for segment in log.take_released() {
            if let Err(error) = ground.remove(&segment.path).await {
                tracing::warn!(
                    "segment {}: cannot be removed: {error}",
                    segment.path.display()
                );
            }
        }
    }
}

/// A shard's folder in a data directory.
#[must_use]
pub fn shard_folder(directory: &Path, shard: u32) -> PathBuf {
    directory.join(format!("shard-{shard:03}"))
}

/// Numbers of the shards that have a folder in one of `directories`.
#[must_use]
pub fn shards_on_disk(directories: &[PathBuf]) -> Vec<u32> {
    let mut shards = Vec::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // Only what `shard_folder` makes: anything else is not ours.
            let number = name.to_str().and_then(|name| name.strip_prefix("shard-"));
            let number = number.filter(|number| number.len() == 3);
            if let Some(Ok(shard)) = number.map(str::parse::<u8>) {
                shards.push(u32::from(shard));
            }
        }
    }
    shards.sort_unstable();
    shards.dedup();
    shards
}
