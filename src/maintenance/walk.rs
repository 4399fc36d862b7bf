//! A walk through one shard's log, block by block, with the reader that recovery and the drain use.
//!
//! Correct while an agent appends and recycles. What looks like damage then can be a block that is
//! being written, a segment that was begun since the list was made, or one that was released and used
//! again under another epoch. So a loss counts offline at once, and online only when it is met again
//! and again with a fresh list of segments; blocks of a segment that the agent has let go are passed
//! over, not lost.

use std::time::Duration;

use super::error::MaintenanceError;
use super::site::Site;
use super::survey::ShardSurvey;
use crate::channel::Block;
use crate::channel::wal::{
    Found, LogPosition, LogReader, Lost, ReadError, SegmentInfo, SegmentList, SegmentTable,
};
use crate::reactor::{Ground, ReadOnlyWorld};

/// Readings that must agree on a loss while an agent runs.
const READINGS: u32 = 3;
/// Between two of them.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// A block, and where the one behind it is.
    Block(Block, LogPosition),
    /// Blocks that are not there. The walk goes on behind them.
    Lost(Lost),
    /// Blocks that an agent has let go since the walk began: every group has them.
    Released {
        /// The first that was passed over.
        from: LogPosition,
        /// Where the log begins now.
        to: LogPosition,
    },
    /// No more blocks.
    End,
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    ground: ReadOnlyWorld,
    site: Site,
    shard: u32,
    list: SegmentList,
    reader: LogReader<ReadOnlyWorld, SegmentList>,
    /// Read while a loss was confirmed.
    pending: Option<(Block, LogPosition)>,
    /// Nothing is behind the last loss.
    ended: bool,
}

/// How a suspicion ended.
enum Verdict {
    Lost(Lost),
    /// It was one of those things.
    Nothing,
    Released(LogPosition),
}

impl Walk {
    /// Begins at `position`, among the segments of `list`.
    #[must_use]
    pub fn new(
        ground: &ReadOnlyWorld,
        site: &Site,
        shard: u32,
        list: SegmentList,
        position: LogPosition,
    ) -> Self {
        let reader = reader(ground, shard, &list, position);
        Self {
            ground: ground.clone(),
            site: site.clone(),
            shard,
            list,
            reader,
            pending: None,
            ended: false,
        }
    }

    /// The segments it walks through, as they are known now.
    #[must_use]
    pub fn list(&self) -> &SegmentList {
        &self.list
    }

    /// The next step.
    ///
    /// # Errors
    /// A segment that cannot be read for a reason that says nothing about its blocks.
    pub async fn next(&mut self) -> Result<Step, MaintenanceError> {
        if let Some((block, next)) = self.pending.take() {
            return Ok(Step::Block(block, next));
        }
        let wanted = self.reader.position();
        // As it is known before anything is listed again.
        let holder = self.list.segment_of(wanted.sequence);
        if self.ended {
            return Ok(Step::End);
        }
        let found = match self.reader.next(u64::MAX).await {
            // Removed by the agent between the list and here.
            Err(error) if self.is_online() && is_gone(&error) => {
                self.ground.sleep(READ_AGAIN_AFTER).await;
                self.renew(wanted).await;
                self.reader.next(u64::MAX).await
            }
            found => found,
        };
        let suspicion = match found? {
            Found::Block {
                block,
                next,
                lost: None,
            } => return Ok(Step::Block(block, next)),
            Found::Block {
                block,
                next,
                lost: Some(lost),
            } => {
                self.pending = Some((block, next));
                Some(lost)
            }
            Found::End => self.lost_at_end(wanted).await,
        };
        let Some(lost) = suspicion else {
            return Ok(Step::End);
        };
        match self.confirm(wanted, holder, lost).await? {
            Verdict::Lost(lost) => {
                self.ended = self.pending.is_none();
                Ok(Step::Lost(lost))
            }
            Verdict::Released(to) => {
                self.pending = None;
                Ok(Step::Released { from: wanted, to })
            }
            Verdict::Nothing => match self.pending.take() {
                Some((block, next)) => Ok(Step::Block(block, next)),
                None => Ok(Step::End),
            },
        }
    }

    fn is_online(&self) -> bool {
        self.site.holder().is_some()
    }

    /// Blocks between the end and the beginning of a segment that holds none: its numbers were taken.
    async fn lost_at_end(&mut self, end: LogPosition) -> Option<Lost> {
        if self.is_online() {
            // The list may be older than the last segment.
            self.renew(end).await;
        }
        let last = self.list.as_slice().last()?;
        lost_before(end, last.first_sequence, last.first_event)
    }

    /// Whether `lost` is a loss. `holder` is the segment that should hold it.
    async fn confirm(
        &mut self,
        wanted: LogPosition,
        holder: Option<SegmentInfo>,
        mut lost: Lost,
    ) -> Result<Verdict, MaintenanceError> {
        if !self.is_online() {
            return Ok(Verdict::Lost(lost));
        }
        for _ in 1..READINGS {
            self.ground.sleep(READ_AGAIN_AFTER).await;
            self.pending = None;
            self.renew(wanted).await;
            if holder.as_ref().is_some_and(|segment| !self.has(segment)) {
                let to = self.list.first_position();
                self.reader.seek(to);
                return Ok(Verdict::Released(to));
            }
            match self.reader.next(u64::MAX).await {
                Ok(Found::Block {
                    block,
                    next,
                    lost: again,
                }) => {
                    self.pending = Some((block, next));
                    match again {
                        Some(again) => lost = again,
                        None => return Ok(Verdict::Nothing),
                    }
                }
                Ok(Found::End) => match self.lost_at_end(wanted).await {
                    Some(again) => lost = again,
                    None => return Ok(Verdict::Nothing),
                },
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Verdict::Lost(lost))
    }

    fn has(&self, segment: &SegmentInfo) -> bool {
        let mut all = self.list.as_slice().iter();
        all.any(|known| known.id == segment.id && known.epoch == segment.epoch)
    }

    /// Lists the segments again and goes to `position`.
    async fn renew(&mut self, position: LogPosition) {
        let survey = ShardSurvey::take(&self.ground, &self.site, self.shard).await;
        self.list = survey.census.segments();
        self.reader = reader(&self.ground, self.shard, &self.list, position);
    }
}

fn reader(
    ground: &ReadOnlyWorld,
    shard: u32,
    list: &SegmentList,
    position: LogPosition,
) -> LogReader<ReadOnlyWorld, SegmentList> {
    let mut reader = LogReader::new(ground.clone(), list.clone(), shard, position);
    // As recovery does: a bad sector costs its block.
    reader.pass_unreadable(true);
    reader
}

fn is_gone(error: &ReadError) -> bool {
    error.source.kind() == std::io::ErrorKind::NotFound
}

/// What is missing between `end` and a block `sequence` with first event `event`.
#[must_use]
pub fn lost_before(end: LogPosition, sequence: u64, event: u64) -> Option<Lost> {
    (end.sequence < sequence).then(|| Lost {
        segment: end.segment,
        offset: end.offset,
        sequence: end.sequence,
        blocks: sequence - end.sequence,
        events: event.saturating_sub(end.event),
    })
}
