//! `flumen wal inspect`: one segment, or one block in full.

use super::damage::reason;
use super::error::MaintenanceError;
use super::inspection_view::{
    BlockFields, BlockLine, BlockView, EventLine, Inspection, RecordView, SegmentFields,
    SegmentView,
};
use super::site::Site;
use super::survey::{CheckpointSurvey, ShardSurvey};
use crate::channel::Block;
use crate::channel::wal::{
    BlockHeader, Found, LogPosition, LogReader, SegmentInfo, SegmentList, block_bytes,
};
use crate::config::wal_command_line::InspectArguments;
use crate::limits;
use crate::reactor::{DiskFile, Ground, ReadOnlyWorld};
use crate::sink::logger::event_line;

impl Inspection {
    /// Looks at what `arguments` ask for.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn of(arguments: &InspectArguments) -> Result<Self, MaintenanceError> {
        let site = Site::of(&arguments.log)?;
        let ground = ReadOnlyWorld::default();
        let checkpoint = CheckpointSurvey::take(&ground, &site).await;
        let shard = match site.shards(checkpoint.current()).as_slice() {
            [only] => *only,
            [] => return Err(MaintenanceError::NotThere("no such shard".to_owned())),
            several => {
                return Err(MaintenanceError::Usage(format!(
                    "which shard? Give --shard; there are {several:?}"
                )));
            }
        };
        let survey = ShardSurvey::take(&ground, &site, shard).await;
        let look = Look {
            ground,
            shard,
            survey,
            body_bytes: arguments.bytes,
        };
        if let Some(place) = &arguments.at {
            return look.at(place).await;
        }
        if let Some(sequence) = arguments.block {
            let segment = look.last(|segment| segment.first_sequence <= sequence);
            let is_it = move |block: &Block| block.sequence >= sequence;
            return look
                .first(segment, is_it, format!("block {sequence}"))
                .await;
        }
        if let Some(event) = arguments.event {
            let segment = look.last(|segment| segment.first_event <= event);
            let is_it =
                move |block: &Block| event < block.first_event + u64::from(block.event_count);
            return look.first(segment, is_it, format!("event {event}")).await;
        }
        Err(MaintenanceError::Usage(
            "what? Give --at SEGMENT[:OFFSET], --block SEQUENCE or --event NUMBER".to_owned(),
        ))
    }
}

struct Look {
    ground: ReadOnlyWorld,
    shard: u32,
    survey: ShardSurvey,
    body_bytes: usize,
}

impl Look {
    fn last(&self, holds: impl Fn(&SegmentInfo) -> bool) -> Option<SegmentInfo> {
        let list = self.survey.census.segments();
        list.as_slice()
            .iter()
            .rev()
            .find(|segment| holds(segment))
            .cloned()
    }

    async fn at(&self, place: &str) -> Result<Inspection, MaintenanceError> {
        let wrong =
            || MaintenanceError::Usage(format!("{place:?} is not SEGMENT or SEGMENT:OFFSET"));
        let (segment, offset) = match place.split_once(':') {
            Some((segment, offset)) => (segment, Some(offset.parse().map_err(|_| wrong())?)),
            None => (place, None),
        };
        let id: u64 = segment.parse().map_err(|_| wrong())?;
        let segment = self.last(|segment| segment.id == id).ok_or_else(|| {
            MaintenanceError::NotThere(format!("shard {} has no segment {id}", self.shard))
        })?;
        match offset {
            None => self.segment(&segment).await,
            Some(offset) => self.block(&segment, offset, LogPosition::default()).await,
        }
    }

    fn reader(&self, segment: &SegmentInfo) -> LogReader<ReadOnlyWorld, SegmentList> {
        let list = SegmentList::new(vec![segment.clone()]);
        let begin = list.first_position();
        let mut reader = LogReader::new(self.ground.clone(), list, self.shard, begin);
        reader.pass_unreadable(true);
        reader
    }

    /// Where blocks of `segment` end: its successor begins with that one.
    fn end_of(&self, segment: &SegmentInfo) -> u64 {
        let list = self.survey.census.segments();
        let mut segments = list.as_slice().iter();
        let next = segments.find(|next| next.id > segment.id);
        next.map_or(u64::MAX, |next| next.first_sequence)
    }

    async fn segment(&self, segment: &SegmentInfo) -> Result<Inspection, MaintenanceError> {
        let mut files = self.survey.census.files.iter();
        let file = files.find(|file| file.path == segment.path);
        let header = file
            .and_then(|file| file.header)
            .expect("a segment of the list has a header");
        let mut blocks = Vec::new();
        let mut reader = self.reader(segment);
        let mut at = reader.position();
        while let Found::Block { block, next, lost } = reader.next(self.end_of(segment)).await? {
            if let Some(lost) = lost {
                blocks.push(BlockLine {
                    offset: at.offset,
                    block: lost.sequence,
                    first_event: at.event,
                    events: lost.events,
                    bytes: 0,
                    lost: Some(reason(&self.ground, self.shard, segment, at).await),
                    lost_blocks: lost.blocks,
                });
            }
            blocks.push(BlockLine {
                offset: block.offset,
                block: block.sequence,
                first_event: block.first_event,
                events: u64::from(block.event_count),
                bytes: block_bytes(block.payload.len()) as u64,
                lost: None,
                lost_blocks: 0,
            });
            at = next;
        }
        let end = self.end_of(segment);
        if end != u64::MAX && at.sequence < end {
            blocks.push(BlockLine {
                offset: at.offset,
                block: at.sequence,
                first_event: at.event,
                events: 0,
                bytes: 0,
                lost: Some(reason(&self.ground, self.shard, segment, at).await),
                lost_blocks: end - at.sequence,
            });
        }
        Ok(Inspection::Segment(Box::new(SegmentView {
            file: segment.path.clone(),
            bytes: file.map_or(0, |file| file.bytes),
            header: SegmentFields::of(&header),
            blocks,
        })))
    }

    /// The first block of the log that `is_it`, read from the beginning of `segment`.
    async fn first(
        &self,
        segment: Option<SegmentInfo>,
        is_it: impl Fn(&Block) -> bool,
        what: String,
    ) -> Result<Inspection, MaintenanceError> {
        let not_there = || {
            MaintenanceError::NotThere(format!(
                "{what} is not in shard {}; flumen wal ls shows what is",
                self.shard
            ))
        };
        let segment = segment.ok_or_else(not_there)?;
        let mut reader = self.reader(&segment);
        let mut at = reader.position();
        while let Found::Block { block, next, lost } = reader.next(self.end_of(&segment)).await? {
            if is_it(&block) {
                let offset = match lost {
                    // It is among those that were lost before this one.
                    Some(_) => at.offset,
                    None => block.offset,
                };
                return self.block(&segment, offset, at).await;
            }
            at = next;
        }
        match at.sequence < self.end_of(&segment) && self.end_of(&segment) != u64::MAX {
            true => self.block(&segment, at.offset, at).await,
            false => Err(not_there()),
        }
    }

    /// What stands at `offset`.
    async fn block(
        &self,
        segment: &SegmentInfo,
        offset: u64,
        wanted: LogPosition,
    ) -> Result<Inspection, MaintenanceError> {
        let mut view = BlockView {
            file: segment.path.clone(),
            offset,
            header: None,
            damage: None,
            records: Vec::new(),
        };
        let file = self.ground.open(&segment.path).await;
        let start = match file {
            Ok(file) => file.read(offset, limits::ALIGN_BYTES).await,
            Err(error) => Err(error),
        };
        let decoded = start
            .ok()
            .and_then(|start| BlockHeader::decode(&start).ok());
        let mut place = LogPosition {
            segment: segment.id,
            offset,
            ..wanted
        };
        if let Some((header, crc)) = decoded {
            view.header = Some(BlockFields::of(&header, crc));
            if wanted == LogPosition::default() {
                place.sequence = header.sequence;
                place.event = header.first_event;
            }
        }
        let list = SegmentList::new(vec![segment.clone()]);
        let mut reader = LogReader::new(self.ground.clone(), list, self.shard, place);
        reader.pass_unreadable(true);
        match reader.next(u64::MAX).await? {
            Found::Block {
                block, lost: None, ..
            } if block.offset == offset => match self.records(&block) {
                Ok(records) => view.records = records,
                Err(error) => view.damage = Some(error),
            },
            Found::Block { .. } | Found::End => {
                view.damage = Some(reason(&self.ground, self.shard, segment, place).await)
            }
        }
        Ok(Inspection::Block(Box::new(view)))
    }

    fn records(&self, block: &Block) -> Result<Vec<RecordView>, String> {
        let mut records = Vec::new();
        let mut number = block.first_event;
        let mut offset = 0;
        while let Some(record) = block.record_at(offset).map_err(|error| error.to_string())? {
            let mut events = Vec::new();
            for event in record.iter() {
                let event = event.map_err(|error| error.to_string())?;
                events.push(EventLine {
                    event: number,
                    body_bytes: event.body().len(),
                    line: event_line(&event, self.body_bytes),
                });
                number += 1;
            }
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            let overlay = record.overlay.headers().iter();
            records.push(RecordView {
                offset,
                arrival_ms: record.arrival_ms,
                overlay: overlay
                    .map(|header| (text(&header.key), text(&header.value)))
                    .collect(),
                events,
            });
            offset = record.next_offset;
        }
        Ok(records)
    }
}
