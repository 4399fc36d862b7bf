//! Two files with one segment id: which of them the rest of the log follows.
//!
//! It happens when a data directory is missing for one start and comes back. Both hold events that
//! were acknowledged; the agent refuses to start until one of them is out of the way, and what that one
//! holds is exported to a collector by itself.

use super::error::MaintenanceError;
use super::salvage::{Holding, Salvage};
use super::survey::ShardSurvey;
use crate::channel::wal::{SegmentHeader, SegmentInfo, SegmentList, ShardCheckpoint};
use crate::reactor::ReadOnlyWorld;

/// One pair.
#[derive(Debug, Clone)]
pub struct Twins {
    /// The one the log goes on with.
    pub kept: SegmentInfo,
    /// The other.
    pub stray: SegmentInfo,
    /// Why it is that way round.
    pub because: &'static str,
}

/// All pairs of `list`, decided.
async fn decide(
    ground: &ReadOnlyWorld,
    list: &SegmentList,
    headers: &[SegmentHeader],
    checkpoint: Option<&ShardCheckpoint>,
) -> Result<Vec<Twins>, MaintenanceError> {
    let mut pairs: Vec<Twins> = Vec::new();
    for (one, other) in list.twins() {
        // Of three the winner meets the third.
        let one = match pairs.last() {
            Some(before) if before.kept.id == one.id => before.kept.clone(),
            _ => one.clone(),
        };
        let other = other.clone();
        let (keeps_one, because) = compare(ground, &one, &other, headers, checkpoint).await?;
        let (kept, stray) = if keeps_one {
            (one, other)
        } else {
            (other, one)
        };
        pairs.push(Twins {
            kept,
            stray,
            because,
        });
    }
    Ok(pairs)
}

/// The segments of the log, one for each id, and the pairs that there were.
///
/// # Errors
/// One of a pair cannot be read.
pub async fn without_strays(
    ground: &ReadOnlyWorld,
    survey: &ShardSurvey,
    checkpoint: Option<&ShardCheckpoint>,
) -> Result<(SegmentList, Vec<Twins>), MaintenanceError> {
    let list = survey.census.segments();
    let headers = survey.census.files.iter();
    let headers: Vec<_> = headers.filter_map(|file| file.header).collect();
    let pairs = decide(ground, &list, &headers, checkpoint).await?;
    let mut segments = list.into_vec();
    segments.retain(|segment| pairs.iter().all(|pair| pair.stray.path != segment.path));
    Ok((SegmentList::new(segments), pairs))
}

/// | the next segment follows   | the checkpoint ends in | kept                         |
/// |----------------------------|------------------------|------------------------------|
/// | one of them                | any                    | that one                     |
/// | neither, or there is none  | one of them            | that one                     |
/// | neither, or there is none  | neither                | the one that holds more      |
async fn compare(
    ground: &ReadOnlyWorld,
    one: &SegmentInfo,
    other: &SegmentInfo,
    headers: &[SegmentHeader],
    checkpoint: Option<&ShardCheckpoint>,
) -> Result<(bool, &'static str), MaintenanceError> {
    let held = |segment: &SegmentInfo| {
        let path = segment.path.clone();
        async move {
            match Salvage::of(ground, &path).await? {
                Some(salvage) => salvage.holding(ground).await,
                None => Ok(None),
            }
        }
    };
    let (first, second) = (held(one).await?, held(other).await?);
    let next = headers.iter().filter(|header| header.segment > one.id);
    let chain = next
        .min_by_key(|header| header.segment)
        .map(|header| header.chain);
    let follows = |held: &Option<Holding>| held.is_some_and(|held| Some(held.chain) == chain);
    match (follows(&first), follows(&second)) {
        (true, false) => return Ok((true, "the next segment follows it")),
        (false, true) => return Ok((false, "the next segment follows it")),
        _ => {}
    }
    let ends_in =
        |segment: &SegmentInfo| checkpoint.is_some_and(|entry| entry.end_epoch == segment.epoch);
    match (ends_in(one), ends_in(other)) {
        (true, false) => return Ok((true, "the checkpoint knows it")),
        (false, true) => return Ok((false, "the checkpoint knows it")),
        _ => {}
    }
    let blocks = |held: Option<Holding>| held.map_or(0, |held| held.blocks);
    Ok((blocks(first) >= blocks(second), "it holds more blocks"))
}
