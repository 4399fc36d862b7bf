//! Files of a shard that are no segments of its log and may hold blocks that the log misses.
//!
//! A header that is lost or blanked, a file of another shard, a file set aside: the blocks inside say
//! whether anybody misses them.

use std::path::PathBuf;

use super::damage::Kind;
use super::salvage::{Holding, Salvage};
use super::survey::{ShardSurvey, aside_name, look_at};
use super::twins::Twins;
use crate::channel::wal::{
    BlockHeader, Content, Lost, SEGMENT_HEADER_BYTES, SegmentFile, SegmentList, ShardCheckpoint,
};
use crate::limits;
use crate::reactor::{DiskFile, Ground, ReadOnlyWorld};

/// One such file.
#[derive(Debug)]
pub struct Suspect {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    /// What it holds.
    pub holding: Option<Holding>,
    /// It was set aside before, so the file itself is no news.
    pub is_aside: bool,
    /// It may be a plain spare: only a miss of its blocks makes it a damage.
    pub may_be_spare: bool,
}

impl Suspect {
    /// Those of a shard, whose log is `list`.
    pub async fn all(
        ground: &ReadOnlyWorld,
        survey: &ShardSurvey,
        twins: &[Twins],
        list: &SegmentList,
        entry: Option<&ShardCheckpoint>,
    ) -> Vec<Self> {
        let mut suspects = Vec::new();
        let (mut spares, mut others) = (Vec::new(), Vec::new());
        for file in &survey.census.files {
            match file.content {
                Content::Spare => spares.push(file),
                Content::Segment(_)
                | Content::Unfinished
                | Content::Foreign { .. }
                | Content::OtherVersion { .. }
                | Content::Unreadable(_)
                | Content::Damaged(_) => others.push(file),
            }
        }
        for file in others {
            if let Some(suspect) = Self::damaged(ground, survey.shard, file).await {
                suspects.push(suspect);
            }
        }
        let needed = needed_from(list, entry, &suspects);
        for file in spares {
            if let Some(suspect) = Self::blank(ground, survey.shard, file, needed).await {
                suspects.push(suspect);
            }
        }
        for pair in twins {
            suspects.push(Self {
                path: pair.stray.path.clone(),
                kind: Kind::Twins,
                reason: format!(
                    "segment {} is there twice; the log goes on with {}: {}. The agent refuses to start",
                    pair.stray.id,
                    pair.kept.path.display(),
                    pair.because
                ),
                holding: holding(ground, &pair.stray.path, survey.shard).await,
                is_aside: false,
                may_be_spare: false,
            });
        }
        for path in survey.set_aside() {
            suspects.push(Self {
                path: path.clone(),
                kind: Kind::Missing,
                reason: format!("set aside as {}", aside_name(path).unwrap_or_default()),
                holding: holding(ground, path, survey.shard).await,
                is_aside: true,
                may_be_spare: false,
            });
        }
        suspects
    }

    /// A file whose header says that it is no segment of this log.
    async fn damaged(ground: &ReadOnlyWorld, shard: u32, file: &SegmentFile) -> Option<Self> {
        let (kind, reason) = match &file.content {
            Content::Damaged(error) => (Kind::SegmentHeader, format!("segment header: {error}")),
            Content::Unreadable(error) => (
                Kind::SegmentHeader,
                format!("segment header: the medium refuses to read it: {error}"),
            ),
            Content::Foreign { shard: owner } => (
                Kind::ForeignShard,
                format!("it belongs to shard {owner}, not to shard {shard}"),
            ),
            Content::Segment(_)
            | Content::Spare
            | Content::Unfinished
            | Content::OtherVersion { .. } => return None,
        };
        Some(Self {
            path: file.path.clone(),
            kind,
            reason,
            holding: holding(ground, &file.path, shard).await,
            is_aside: false,
            may_be_spare: false,
        })
    }

    /// A file with a blank header that begins with a block that somebody may need.
    async fn blank(
        ground: &ReadOnlyWorld,
        shard: u32,
        file: &SegmentFile,
        needed: u64,
    ) -> Option<Self> {
        let block = first_block_of(ground, file).await?;
        if block.shard != shard || block.sequence < needed {
            return None;
        }
        let holding = holding(ground, &file.path, shard).await;
        // The agent may have begun it a moment ago.
        let again = look_at(ground, shard, &file.path).await.ok()?;
        matches!(again.content, Content::Spare).then(|| Self {
            path: file.path.clone(),
            kind: Kind::SegmentHeader,
            reason: format!(
                "the segment header is blank, but block {} is in the file; the next start would use \
                 it as a spare",
                block.sequence
            ),
            holding,
            is_aside: false,
            may_be_spare: true,
        })
    }

    /// Whether it holds some of the blocks of `lost`.
    #[must_use]
    pub fn explains(&self, lost: &Lost) -> bool {
        self.holding.is_some_and(|held| {
            held.first_block < lost.sequence + lost.blocks && lost.sequence < held.end_block
        })
    }
}

/// The first block that somebody may need: that of the slowest cursor. Without one, the first that is
/// there, be it in a file whose header is damaged.
fn needed_from(list: &SegmentList, entry: Option<&ShardCheckpoint>, damaged: &[Suspect]) -> u64 {
    let cursors = entry.into_iter().flat_map(|entry| &entry.cursors);
    if let Some(slowest) = cursors.map(|(_, cursor)| cursor.block).min() {
        return slowest;
    }
    let held = damaged.iter().filter_map(|suspect| suspect.holding);
    let first = held.map(|held| held.first_block).min();
    let listed = list.first_position().sequence;
    first.map_or(listed, |first| first.min(listed))
}

async fn holding(ground: &ReadOnlyWorld, path: &std::path::Path, shard: u32) -> Option<Holding> {
    // What cannot be read here is named with its reason elsewhere.
    let salvage = Salvage::of(ground, path).await.ok()??;
    let held = salvage.holding(ground).await.ok()??;
    (held.shard == shard).then_some(held)
}

async fn first_block_of(ground: &ReadOnlyWorld, file: &SegmentFile) -> Option<BlockHeader> {
    let open = ground.open(&file.path).await.ok()?;
    let start = open.read(SEGMENT_HEADER_BYTES, limits::ALIGN_BYTES).await;
    let (header, _) = BlockHeader::decode(&start.ok()?).ok()?;
    (header.offset == SEGMENT_HEADER_BYTES).then_some(header)
}
