//! Reads all of one shard's log and judges it.
//!
//! What a reader of the log would miss is judged by the reader itself ([`Walk`]), what the log's end
//! should be by the checkpoint, and files that are no segments by what they hold ([`Suspect`]). Losses
//! that such a file explains are counted there, once.

use serde::Serialize;

use super::content;
use super::damage::{Damage, Kind, explain};
use super::error::MaintenanceError;
use super::meter::Meter;
use super::site::Site;
use super::survey::{CheckpointSurvey, ShardSurvey};
use super::suspect::Suspect;
use super::tail::Tail;
use super::twins::{self, Twins};
use super::walk::{Step, Walk, lost_before};
use crate::channel::Block;
use crate::channel::wal::{
    Content, LogPosition, Lost, SegmentList, ShardCheckpoint, block_bytes, shard_folder,
};
use crate::reactor::ReadOnlyWorld;

/// One shard's log, read.
#[derive(Debug, Serialize)]
pub struct ShardVerification {
    /// Shard number.
    pub shard: u32,
    /// Segments that were read.
    pub segments: usize,
    /// Segments that every group has passed. They are not judged: nobody needs them.
    pub released_segments: usize,
    /// Whole blocks.
    pub blocks: u64,
    /// Their events.
    pub events: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Segment of the last block.
    pub end_segment: u64,
    /// Offset behind it.
    pub end_offset: u64,
    /// Number of the next block.
    pub end_block: u64,
    /// Number of the next event.
    pub end_event: u64,
    /// What stands there.
    pub tail: Tail,
    /// What is damaged.
    #[serde(skip)]
    pub damage: Vec<Damage>,
    /// What is odd and no damage.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// What could not be read, for reasons that say nothing about the data.
    #[serde(skip)]
    pub unreadable: Vec<String>,
}

/// The work on one shard.
pub struct ShardVerifier<'a> {
    ground: &'a ReadOnlyWorld,
    site: &'a Site,
    survey: ShardSurvey,
    /// Where the log ended at least, when the look began.
    promised: Option<ShardCheckpoint>,
    /// Cursors, read after the files.
    entry: Option<ShardCheckpoint>,
    twins: Vec<Twins>,
    suspects: Vec<Suspect>,
    result: ShardVerification,
}

impl std::fmt::Debug for ShardVerifier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardVerifier")
            .field("shard", &self.survey.shard)
            .finish_non_exhaustive()
    }
}

impl<'a> ShardVerifier<'a> {
    /// Looks at the files of `shard`. `before` is a checkpoint that was read earlier.
    pub async fn new(
        ground: &'a ReadOnlyWorld,
        site: &'a Site,
        shard: u32,
        before: &CheckpointSurvey,
    ) -> Self {
        let survey = ShardSurvey::take(ground, site, shard).await;
        let after = CheckpointSurvey::take(ground, site).await;
        Self {
            ground,
            site,
            survey,
            promised: before.shard(shard).cloned(),
            entry: after.shard(shard).cloned(),
            twins: Vec::new(),
            suspects: Vec::new(),
            result: ShardVerification {
                shard,
                segments: 0,
                released_segments: 0,
                blocks: 0,
                events: 0,
                bytes: 0,
                end_segment: 0,
                end_offset: 0,
                end_block: 0,
                end_event: 0,
                tail: Tail::Clean,
                damage: Vec::new(),
                notes: Vec::new(),
                unreadable: Vec::new(),
            },
        }
    }

    /// Bytes there are to read.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let segments = self.survey.census.segments();
        segments
            .as_slice()
            .iter()
            .map(|segment| segment.bytes)
            .sum()
    }

    /// Reads everything.
    ///
    /// # Errors
    /// A segment that cannot be read for a reason that says nothing about its blocks.
    pub async fn run(mut self, meter: &Meter) -> Result<ShardVerification, MaintenanceError> {
        for error in &self.survey.unreadable {
            let text = format!("{error}: {}", error.source);
            self.result.unreadable.push(text);
        }
        let entry = self.entry.as_ref();
        let (mut kept, twins) = twins::without_strays(self.ground, &self.survey, entry).await?;
        self.twins = twins;
        let groups = group_names(self.entry.as_ref());
        let released = kept.released(self.entry.as_ref(), &groups);
        self.result.released_segments = released;
        kept = SegmentList::new(kept.into_vec().split_off(released));
        self.result.segments = kept.as_slice().len();
        let entry = self.entry.as_ref();
        self.suspects = Suspect::all(self.ground, &self.survey, &self.twins, &kept, entry).await;
        self.look_at_files();
        self.look_at_checkpoint(&kept);

        let begin = self.begin(&kept);
        let mut walk = Walk::new(self.ground, self.site, self.survey.shard, kept, begin);
        let mut end = begin;
        loop {
            match walk.next().await? {
                Step::Block(block, next) => {
                    let bytes = block_bytes(block.payload.len()) as u64;
                    self.result.blocks += 1;
                    self.result.events += u64::from(block.event_count);
                    self.result.bytes += bytes;
                    meter.add(bytes, u64::from(block.event_count));
                    self.look_into(&block, walk.list());
                    end = next;
                }
                Step::Lost(lost) => {
                    self.lose(walk.list(), end, lost).await;
                    end.sequence = lost.sequence + lost.blocks;
                    end.event += lost.events;
                }
                Step::Released { from, to } => {
                    let text = format!(
                        "shard {}: blocks {} to {} were released while they were read",
                        self.survey.shard, from.sequence, to.sequence
                    );
                    self.result.notes.push(text);
                    end = to;
                }
                Step::End => break,
            }
        }
        self.judge_end(walk.list(), end).await;
        Ok(self.result)
    }

    /// Where the log should begin: with the first segment that is left, or with the slowest cursor.
    fn begin(&mut self, kept: &SegmentList) -> LogPosition {
        let first = kept.first_position();
        let Some(entry) = &self.entry else {
            return first;
        };
        let cursors = entry.cursors.iter().map(|(_, cursor)| *cursor);
        let Some(slowest) = cursors.min_by_key(|cursor| cursor.event) else {
            return first;
        };
        let is_behind = kept.as_slice().is_empty() || slowest.event < first.event;
        if !is_behind {
            return first;
        }
        if kept.as_slice().is_empty() && slowest.event == entry.end.event {
            return entry.end;
        }
        LogPosition {
            segment: slowest.segment,
            offset: slowest.offset,
            sequence: slowest.block,
            event: slowest.event,
            chain: 0,
        }
    }

    /// What is wrong with files as such.
    fn look_at_files(&mut self) {
        for file in &self.survey.census.files {
            if let (Some(reason), Some(segment)) = (&file.header_damage, file.segment()) {
                let reason = format!("segment header: {reason}; the file is known by its blocks");
                let (shard, path) = (Some(self.survey.shard), file.path.clone());
                self.result.damage.push(Damage {
                    segment: Some(segment.id),
                    ..Damage::without_loss(shard, Kind::SegmentHeader, path, reason)
                });
            }
            match (&file.content, &file.header) {
                (Content::Segment(segment), Some(header)) if file.bytes < header.segment_bytes => {
                    let reason = format!(
                        "the file has {} bytes, its header says {}",
                        file.bytes, header.segment_bytes
                    );
                    let (shard, path) = (Some(self.survey.shard), file.path.clone());
                    self.result.damage.push(Damage {
                        offset: file.bytes,
                        segment: Some(segment.id),
                        ..Damage::without_loss(shard, Kind::SegmentLength, path, reason)
                    });
                }
                (Content::OtherVersion { version }, _) => self.result.unreadable.push(format!(
                    "{}: format version {version} is not the one this flumen reads; the agent \
                     refuses to start",
                    file.path.display()
                )),
                (Content::Unfinished, _) => self.result.notes.push(format!(
                    "{}: its creation was cut short or is under way; it holds nothing",
                    file.path.display()
                )),
                _ => {}
            }
        }
    }

    /// A checkpoint of another log.
    fn look_at_checkpoint(&mut self, kept: &SegmentList) {
        let (Some(entry), Some(directory)) = (&self.entry, &self.site.checkpoint_dir) else {
            return;
        };
        let mut segments = kept.as_slice().iter();
        let named = segments.find(|segment| segment.id == entry.end.segment);
        if let Some(segment) = named.filter(|segment| segment.epoch != entry.end_epoch) {
            let reason = format!(
                "it does not fit the log: it names another use of segment {}, {}",
                segment.id,
                segment.path.display()
            );
            let (shard, directory) = (Some(self.survey.shard), directory.clone());
            self.result.damage.push(Damage {
                segment: Some(segment.id),
                ..Damage::without_loss(shard, Kind::Checkpoint, directory, reason)
            });
        }
    }

    /// Whether a block whose checksums hold holds records and events.
    fn look_into(&mut self, block: &Block, list: &SegmentList) {
        let Err((offset, reason)) = content::check(block) else {
            return;
        };
        let mut segments = list.as_slice().iter();
        let file = segments.find(|segment| segment.id == block.segment);
        let events = u64::from(block.event_count);
        self.result.damage.push(Damage {
            shard: Some(self.survey.shard),
            kind: Kind::Content,
            file: file.map(|segment| segment.path.clone()).unwrap_or_default(),
            offset: block.offset,
            segment: Some(block.segment),
            first_block: Some(block.sequence),
            reason: format!("payload offset {offset}: {reason}"),
            blocks: 1,
            events,
            undelivered_events: self.undelivered(block.first_event, events),
        });
    }

    /// Counts a loss, and says why.
    async fn lose(&mut self, list: &SegmentList, end: LogPosition, lost: Lost) {
        let wanted = LogPosition {
            segment: lost.segment,
            offset: lost.offset,
            sequence: lost.sequence,
            event: end.event,
            chain: end.chain,
        };
        let undelivered_events = self.undelivered(end.event, lost.events);
        let shard = self.survey.shard;
        let folder = shard_folder(&self.site.data_dirs[0], shard);
        let reason = "its segment is not there: is a data directory not mounted?".to_owned();
        let mut damage = Damage {
            first_block: Some(lost.sequence),
            blocks: lost.blocks,
            events: lost.events,
            undelivered_events,
            ..Damage::without_loss(Some(shard), Kind::Missing, folder, reason)
        };
        if let Some(at) = self.suspects.iter().position(|known| known.explains(&lost)) {
            let suspect = self.suspects.remove(at);
            damage.kind = suspect.kind;
            damage.segment = suspect.holding.map(|held| held.segment);
            damage.file = suspect.path;
            damage.reason = suspect.reason;
            self.result.damage.push(damage);
            return;
        }
        let mut segments = list.as_slice().iter();
        if let Some(segment) = segments.find(|segment| segment.id == lost.segment) {
            damage.file = segment.path.clone();
            damage.offset = lost.offset;
            damage.segment = Some(segment.id);
            (damage.kind, damage.reason) = explain(self.ground, shard, list, segment, wanted).await;
        }
        self.result.damage.push(damage);
    }

    /// Where the log ends, and whether it should end there.
    async fn judge_end(&mut self, list: &SegmentList, mut end: LogPosition) {
        let promised = self.promised.as_ref().map(|entry| entry.end);
        let mut should = promised.map_or((0, 0), |end| (end.sequence, end.event));
        for suspect in self
            .suspects
            .iter()
            .filter(|known| !known.is_aside && known.kind != Kind::Twins)
        {
            if let Some(held) = suspect.holding {
                should = should.max((held.end_block, held.end_event));
            }
        }
        if let Some(lost) = lost_before(end, should.0, should.1) {
            self.lose(list, end, lost).await;
            end.sequence = should.0;
            end.event = end.event.max(should.1);
        } else {
            self.result.tail = Tail::of(self.ground, self.survey.shard, list, end).await;
        }
        self.result.end_segment = end.segment;
        self.result.end_offset = end.offset;
        self.result.end_block = end.sequence;
        self.result.end_event = end.event;
        for suspect in std::mem::take(&mut self.suspects) {
            self.name(suspect);
        }
    }

    /// A file that explains no loss.
    fn name(&mut self, suspect: Suspect) {
        let held = suspect.holding;
        if suspect.is_aside {
            let holds = held.map_or_else(
                || "no whole block".to_owned(),
                |held| format!("{} blocks with {} events", held.blocks, held.events),
            );
            let text = format!(
                "{}: set aside earlier, holds {holds}; flumen wal export --file delivers them",
                suspect.path.display()
            );
            self.result.notes.push(text);
            return;
        }
        if suspect.may_be_spare {
            return;
        }
        // Twins hold what the log does not: those events reach nobody as long as they lie there.
        let lost = held.filter(|_| suspect.kind == Kind::Twins);
        let Suspect {
            path, kind, reason, ..
        } = suspect;
        self.result.damage.push(Damage {
            segment: held.map(|held| held.segment),
            first_block: held.map(|held| held.first_block),
            blocks: lost.map_or(0, |held| held.blocks),
            events: lost.map_or(0, |held| held.events),
            undelivered_events: lost.map_or(0, |held| held.events),
            ..Damage::without_loss(Some(self.survey.shard), kind, path, reason)
        });
    }

    /// Those of `count` events from `first` on that not every group has.
    fn undelivered(&self, first: u64, count: u64) -> u64 {
        let cursors = self.entry.iter().flat_map(|entry| &entry.cursors);
        let slowest = cursors.map(|(_, cursor)| cursor.event).min().unwrap_or(0);
        (first + count)
            .saturating_sub(first.max(slowest))
            .min(count)
    }
}

/// The groups that a checkpoint knows.
#[must_use]
pub fn group_names(entry: Option<&ShardCheckpoint>) -> Vec<String> {
    let cursors = entry.into_iter().flat_map(|entry| &entry.cursors);
    cursors.map(|(name, _)| name.clone()).collect()
}
