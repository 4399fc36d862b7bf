//! `flumen wal ls`: segments, checkpoints, cursors.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::error::MaintenanceError;
use super::shard_verification::group_names;
use super::site::Site;
use super::survey::{CheckpointContent, CheckpointSurvey, ShardSurvey, aside_name};
use super::walk::{Step, Walk};
use crate::channel::wal::{
    Content, LogPosition, SEGMENT_HEADER_BYTES, SegmentFile, SegmentList, ShardCheckpoint,
};
use crate::reactor::ReadOnlyWorld;

/// A log at a glance.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// Channel, when a configuration was given.
    pub channel: Option<String>,
    /// Data directories.
    pub data_dirs: Vec<PathBuf>,
    /// Checkpoint directory.
    pub checkpoint_dir: Option<PathBuf>,
    /// Who works in the directories.
    pub held_by: Option<String>,
    /// The checkpoint files.
    pub checkpoints: Vec<CheckpointLine>,
    /// Each shard.
    pub shards: Vec<ShardLine>,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// One checkpoint file.
#[derive(Debug, Serialize)]
pub struct CheckpointLine {
    /// Where.
    pub file: PathBuf,
    /// `current`, `older`, `missing`, `damaged` or `unreadable`.
    pub state: &'static str,
    /// Grows by one with each write.
    pub generation: Option<u64>,
}

/// One shard.
#[derive(Debug, Serialize)]
pub struct ShardLine {
    /// Shard number.
    pub shard: u32,
    /// Number of the next block.
    pub end_block: u64,
    /// Number of the next event.
    pub end_event: u64,
    /// Files, those of the log first.
    pub segments: Vec<SegmentLine>,
    /// Cursors.
    pub groups: Vec<GroupLine>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct SegmentLine {
    /// Where.
    pub file: PathBuf,
    /// `active`, `sealed`, `released`, `spare`, `unfinished`, `damaged-N`, `damaged`, `unreadable`,
    /// `foreign` or `other-version`.
    pub state: String,
    /// Length.
    pub bytes: u64,
    /// Segment id.
    pub segment: Option<u64>,
    /// Epoch, in hexadecimal digits.
    pub epoch: Option<String>,
    /// Number of its first block.
    pub first_block: Option<u64>,
    /// Number of that block's first event.
    pub first_event: Option<u64>,
    /// Blocks, by the numbers of the segment behind it.
    pub blocks: Option<u64>,
    /// Events, likewise.
    pub events: Option<u64>,
}

/// One consumer group.
#[derive(Debug, Serialize)]
pub struct GroupLine {
    /// Its name; empty for the default group.
    pub group: String,
    /// Number of the first event not delivered.
    pub event: u64,
    /// Number of the block that holds it, or of the last one delivered.
    pub block: u64,
    /// Events that wait for it.
    pub lag_events: u64,
}

impl Listing {
    /// Looks at `site`.
    ///
    /// # Errors
    /// A segment that cannot be read for a reason that says nothing about its blocks.
    pub async fn of(site: &Site) -> Result<Self, MaintenanceError> {
        let ground = ReadOnlyWorld::default();
        let before = CheckpointSurvey::take(&ground, site).await;
        let mut listing = Self {
            channel: site.channel.clone(),
            data_dirs: site.data_dirs.clone(),
            checkpoint_dir: site.checkpoint_dir.clone(),
            held_by: site.holder(),
            checkpoints: checkpoint_lines(&before),
            shards: Vec::new(),
            unreadable: Vec::new(),
        };
        for error in site.unreadable() {
            let text = format!("{error}: {}", error.source);
            listing.unreadable.push(text);
        }
        for shard in site.shards(before.current()) {
            let survey = ShardSurvey::take(&ground, site, shard).await;
            let unreadable = survey.unreadable.iter();
            let unreadable = unreadable.map(|error| format!("{error}: {}", error.source));
            listing.unreadable.extend(unreadable);
            let after = CheckpointSurvey::take(&ground, site).await;
            let end = end(&ground, site, &survey, before.shard(shard)).await?;
            let is_held = listing.held_by.is_some();
            let line = ShardLine::of(&survey, after.shard(shard), end, is_held);
            listing.shards.push(line);
        }
        Ok(listing)
    }
}

fn checkpoint_lines(checkpoints: &CheckpointSurvey) -> Vec<CheckpointLine> {
    let newest = checkpoints.current().map(|current| current.generation);
    let line = |file: &super::survey::CheckpointFile| {
        let (state, generation) = match &file.content {
            CheckpointContent::Missing => ("missing", None),
            CheckpointContent::Damaged { .. } => ("damaged", None),
            CheckpointContent::Unreadable(_) => ("unreadable", None),
            CheckpointContent::Valid(checkpoint) => {
                let generation = Some(checkpoint.generation);
                match generation == newest {
                    true => ("current", generation),
                    false => ("older", generation),
                }
            }
        };
        CheckpointLine {
            file: file.path.clone(),
            state,
            generation,
        }
    };
    checkpoints.files.iter().map(line).collect()
}

/// Where the log ends: from the checkpoint's end on, or the last segment's beginning.
async fn end(
    ground: &ReadOnlyWorld,
    site: &Site,
    survey: &ShardSurvey,
    entry: Option<&ShardCheckpoint>,
) -> Result<LogPosition, MaintenanceError> {
    let list = survey.census.segments();
    let known = entry
        .filter(|entry| list.knows(entry))
        .map(|entry| entry.end);
    let last = list.as_slice().last();
    let last = last.map_or_else(LogPosition::default, |last| LogPosition {
        segment: last.id,
        offset: SEGMENT_HEADER_BYTES,
        sequence: last.first_sequence,
        event: last.first_event,
        chain: 0,
    });
    let mut end = known.unwrap_or(last);
    let mut walk = Walk::new(ground, site, survey.shard, list, end);
    loop {
        match walk.next().await? {
            Step::Block(_, next) => end = next,
            Step::Lost(_) => {}
            Step::Released { to, .. } => end = to,
            Step::End => break,
        }
    }
    // Numbers that an empty last segment has taken.
    if end.sequence < last.sequence {
        end = last;
    }
    Ok(end)
}

impl ShardLine {
    fn of(
        survey: &ShardSurvey,
        entry: Option<&ShardCheckpoint>,
        end: LogPosition,
        is_held: bool,
    ) -> Self {
        let list = survey.census.segments();
        let released = list.released(entry, &group_names(entry));
        let mut segments: Vec<SegmentLine> = Vec::new();
        for (index, segment) in list.as_slice().iter().enumerate() {
            let next = list.as_slice().get(index + 1);
            let next = next.map_or((end.sequence, end.event), |next| {
                (next.first_sequence, next.first_event)
            });
            let state = match (index < released, index + 1 == list.as_slice().len()) {
                (true, _) => "released",
                (false, true) if is_held => "active",
                _ => "sealed",
            };
            segments.push(SegmentLine {
                file: segment.path.clone(),
                state: state.to_owned(),
                bytes: segment.bytes,
                segment: Some(segment.id),
                epoch: Some(format!("{:016x}", segment.epoch)),
                first_block: Some(segment.first_sequence),
                first_event: Some(segment.first_event),
                blocks: Some(next.0.saturating_sub(segment.first_sequence)),
                events: Some(next.1.saturating_sub(segment.first_event)),
            });
        }
        segments.extend(survey.census.files.iter().filter_map(other_line));
        segments.extend(survey.set_aside().map(|path| SegmentLine {
            file: path.clone(),
            state: aside_name(path).unwrap_or_default().to_owned(),
            bytes: std::fs::metadata(path).map_or(0, |data| data.len()),
            segment: None,
            epoch: None,
            first_block: None,
            first_event: None,
            blocks: None,
            events: None,
        }));
        Self {
            shard: survey.shard,
            end_block: end.sequence,
            end_event: end.event,
            segments,
            groups: group_lines(&list, entry, end),
        }
    }
}

/// A file that is no segment of the log.
fn other_line(file: &SegmentFile) -> Option<SegmentLine> {
    let state = match &file.content {
        Content::Segment(_) => return None,
        Content::Spare => "spare",
        Content::Unfinished => "unfinished",
        Content::Foreign { .. } => "foreign",
        Content::OtherVersion { .. } => "other-version",
        Content::Unreadable(_) => "unreadable",
        Content::Damaged(_) => "damaged",
    };
    Some(SegmentLine {
        file: file.path.clone(),
        state: state.to_owned(),
        bytes: file.bytes,
        segment: file.header.map(|header| header.segment),
        epoch: file.header.map(|header| format!("{:016x}", header.epoch)),
        first_block: file.header.map(|header| header.first_sequence),
        first_event: file.header.map(|header| header.first_event),
        blocks: None,
        events: None,
    })
}

fn group_lines(
    list: &SegmentList,
    entry: Option<&ShardCheckpoint>,
    end: LogPosition,
) -> Vec<GroupLine> {
    let oldest = list.as_slice().first().map_or(0, |first| first.first_event);
    let cursors = entry.into_iter().flat_map(|entry| &entry.cursors);
    cursors
        .map(|(group, cursor)| GroupLine {
            group: group.clone(),
            event: cursor.event,
            block: cursor.block,
            lag_events: end.event.saturating_sub(cursor.event.max(oldest)),
        })
        .collect()
}

/// The name of a group as people say it.
#[must_use]
pub fn spoken(group: &str) -> &str {
    match group {
        "" => "(default)",
        group => group,
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held_by {
            Some(holder) => writeln!(f, "in use by: {holder}")?,
            None => writeln!(f, "in use by: nobody")?,
        }
        for line in &self.checkpoints {
            let generation = line
                .generation
                .map(|number| format!(", generation {number}"));
            let generation = generation.unwrap_or_default();
            writeln!(
                f,
                "checkpoint {}: {}{generation}",
                line.file.display(),
                line.state
            )?;
        }
        for shard in &self.shards {
            writeln!(
                f,
                "shard {}: ends before block {}, event {}",
                shard.shard, shard.end_block, shard.end_event
            )?;
            for group in &shard.groups {
                writeln!(
                    f,
                    "  group {}: delivered up to event {} (block {}), {} events wait",
                    spoken(&group.group),
                    group.event,
                    group.block,
                    group.lag_events
                )?;
            }
            writeln!(
                f,
                "  {:>7} {:<12} {:>10} {:>12} {:>14} {:>9} {:>11}  {:<16} file",
                "segment",
                "state",
                "bytes",
                "first block",
                "first event",
                "blocks",
                "events",
                "epoch"
            )?;
            for line in &shard.segments {
                let number = |value: Option<u64>| value.map_or("-".to_owned(), |v| v.to_string());
                writeln!(
                    f,
                    "  {:>7} {:<12} {:>10} {:>12} {:>14} {:>9} {:>11}  {:<16} {}",
                    number(line.segment),
                    line.state,
                    line.bytes,
                    number(line.first_block),
                    number(line.first_event),
                    number(line.blocks),
                    number(line.events),
                    line.epoch.as_deref().unwrap_or("-"),
                    line.file.display()
                )?;
            }
        }
        for error in &self.unreadable {
            writeln!(f, "CANNOT READ {error}")?;
        }
        Ok(())
    }
}
