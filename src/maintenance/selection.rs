//! Which events an export copies: of which shards, from where, up to where.

use super::error::MaintenanceError;
use super::site::Site;
use super::survey::{CheckpointSurvey, ShardSurvey};
use super::twins;
use crate::channel::wal::{LogPosition, SEGMENT_HEADER_BYTES, SegmentList};
use crate::config::wal_command_line::ExportArguments;
use crate::reactor::ReadOnlyWorld;

/// What is copied of one shard.
#[derive(Debug)]
pub struct Part {
    /// Shard number.
    pub shard: u32,
    /// Its log.
    pub list: SegmentList,
    /// Where to begin to read.
    pub begin: LogPosition,
    /// The first event to copy.
    pub first_event: u64,
    /// The first one not to copy.
    pub until: u64,
}

/// `SHARD:EVENT` each.
///
/// # Errors
/// One is not.
pub fn cursors(texts: &[String]) -> Result<Vec<(u32, u64)>, MaintenanceError> {
    let parse = |text: &String| {
        let (shard, event) = text.split_once(':')?;
        Some((shard.parse().ok()?, event.parse().ok()?))
    };
    let parsed = texts.iter().map(|text| {
        parse(text).ok_or_else(|| {
            MaintenanceError::Usage(format!("{text:?} is not SHARD:EVENT, as in 0:1234"))
        })
    });
    parsed.collect()
}

/// The event that `cursors` name for `shard`.
pub fn of_shard(cursors: &[(u32, u64)], shard: u32) -> Option<u64> {
    let mut found = cursors.iter().filter(|(known, _)| *known == shard);
    found.next().map(|(_, event)| *event)
}

/// The parts that `arguments` ask for.
///
/// # Errors
/// They ask for nothing, or for what is not there.
pub async fn parts(
    ground: &ReadOnlyWorld,
    site: &Site,
    arguments: &ExportArguments,
    from: &[(u32, u64)],
    until: &[(u32, u64)],
) -> Result<Vec<Part>, MaintenanceError> {
    if !arguments.all && arguments.backlog.is_none() && from.is_empty() {
        return Err(MaintenanceError::Usage(
            "which events? Give --all, --backlog [GROUP], --from SHARD:EVENT or --file PATH"
                .to_owned(),
        ));
    }
    let checkpoint = CheckpointSurvey::take(ground, site).await;
    let mut parts = Vec::new();
    for shard in site.shards(checkpoint.current()) {
        let mut survey = ShardSurvey::take(ground, site, shard).await;
        if let Some(error) = survey.unreadable.pop() {
            return Err(error.into());
        }
        let list = twins::without_strays(ground, &survey, checkpoint.shard(shard))
            .await?
            .0;
        let oldest = list.first_position();
        let begin = if let Some(group) = &arguments.backlog {
            let cursor = checkpoint
                .shard(shard)
                .and_then(|entry| entry.cursor(group));
            match cursor {
                Some(cursor) => LogPosition {
                    segment: cursor.segment,
                    offset: cursor.offset,
                    sequence: cursor.block,
                    event: cursor.event,
                    chain: 0,
                },
                None if checkpoint.current().is_none() => {
                    return Err(MaintenanceError::NotThere(
                        "no checkpoint says how far a group has come; --all exports what is there"
                            .to_owned(),
                    ));
                }
                // A group that is new to this shard, or a group nobody knows.
                None if is_known(&checkpoint, group) => oldest,
                None => {
                    return Err(MaintenanceError::NotThere(format!(
                        "no consumer group {group:?} in the checkpoint; flumen wal ls shows the groups"
                    )));
                }
            }
        } else if let Some(event) = of_shard(from, shard) {
            let mut segments = list.as_slice().iter().rev();
            let segment = segments.find(|segment| segment.first_event <= event);
            // The block that holds the event is known when it is met.
            segment.map_or(oldest, |segment| LogPosition {
                segment: segment.id,
                offset: SEGMENT_HEADER_BYTES,
                sequence: segment.first_sequence,
                event: segment.first_event,
                chain: 0,
            })
        } else if from.is_empty() {
            oldest
        } else {
            continue;
        };
        let begin = match begin.sequence < oldest.sequence && site.holder().is_some() {
            // The agent let those go between the checkpoint and the look.
            true => oldest,
            false => begin,
        };
        parts.push(Part {
            shard,
            list,
            begin,
            first_event: of_shard(from, shard).unwrap_or(begin.event),
            until: of_shard(until, shard).unwrap_or(u64::MAX),
        });
    }
    if parts.is_empty() {
        return Err(MaintenanceError::NotThere(
            "no such shard in these directories".to_owned(),
        ));
    }
    Ok(parts)
}

fn is_known(checkpoint: &CheckpointSurvey, group: &str) -> bool {
    let shards = checkpoint.current().into_iter();
    shards
        .flat_map(|current| &current.shards)
        .any(|entry| entry.cursor(group).is_some())
}
