//! The reader of segments, and recovery: of a damaged log every block that is whole comes back as it
//! was written, nothing else does, and what is missing is counted to the event. Only a segment of which
//! nearly every sector is refused may be an error instead.
//!
//! ```text
//! offset  size  field
//!      0     1  flags              1: recovery, not the reader alone; 2: only the number is known
//!                                  where to begin; 4: headers are forged; 8: the log is read to a
//!                                  given end; 64..: sectors of one read
//!      1     1  block to begin with, and to end at
//!      2     …  the log: see `log`
//!      …     …  what happens to it: 5 bytes each
//! ```

use flumen::channel::wal::{Found, LogPosition, LogReader, Lost, RecoveryError, recover};
use flumen::limits::{ALIGN_BYTES, READ_ATTEMPTS_MAX, READ_PROBES};

use crate::ground::{MemoryGround, at_once};
use crate::input::Input;
use crate::log::{Log, SHARD, Written};
use crate::meter::held;

const FOLDER: &str = "shard-003";

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let place = usize::from(input.u8());
    let mut log = Log::write(&mut input, FOLDER);
    let is_forged = flags & 4 != 0;
    if is_forged {
        log.forge(&mut input);
    }
    log.damage(&mut input);

    let read_back_bytes = (1 + usize::from(flags >> 6)) * ALIGN_BYTES;
    let ground = MemoryGround::new(read_back_bytes);
    for segment in &log.segments {
        ground.put(segment.info.path.clone(), segment.file.clone());
    }
    let sizes = log.segments.iter().map(|segment| segment.info.bytes);
    let log_bytes = usize::try_from(sizes.sum::<u64>()).expect("logs are small");
    // Two reads, one block put together from several, and the lists of segments.
    let memory = 2 * (read_back_bytes + log_bytes) + 16 * 1024;
    if flags & 1 != 0 {
        recovered(&log, &ground, memory, is_forged);
    } else {
        read(&log, &ground, memory, flags, place);
    }
    // Each sector is looked at twice or so, in each of the log's segments, however it is damaged; one
    // that is refused is tried again, and others to see whether the disk answers at all.
    let patience =
        (READ_ATTEMPTS_MAX as usize) * (4 + usize::try_from(READ_PROBES).expect("a few"));
    let reads_max =
        64 + 16 * (log_bytes / ALIGN_BYTES) * log.segments.len() + log.refused_count() * patience;
    assert!(
        ground.reads() <= reads_max,
        "segment: {} reads",
        ground.reads()
    );
}

fn read(log: &Log, ground: &MemoryGround, memory: usize, flags: u8, place: usize) {
    let is_forged = flags & 4 != 0;
    let first = place % log.blocks.len();
    let mut begin = log.position(first);
    if flags & 2 != 0 {
        begin = LogPosition {
            segment: 0,
            offset: 0,
            chain: 0,
            ..begin
        };
    }
    let end = match flags & 8 {
        0 => u64::MAX,
        _ => log.blocks[first].header.sequence + place as u64 / 16,
    };
    let mut reader = LogReader::new(ground.clone(), log.table(), SHARD, begin);
    reader.pass_unreadable(true);
    let mut wanted = log.blocks[first..].iter().filter(|block| {
        let sequence = block.header.sequence;
        sequence < end && log.is_intact(block)
    });
    let mut position = begin;
    loop {
        let found = held(memory, || at_once(reader.next(end)));
        let found = match found {
            Ok(found) => found,
            Err(error) if log.passes_for_dead(error.segment) => return,
            Err(error) => panic!("segment: {error}, but what is unreadable is passed over"),
        };
        let Found::Block { block, next, lost } = found else {
            break;
        };
        assert!(
            block.sequence >= position.sequence,
            "segment: a number comes again"
        );
        assert_eq!(
            next.sequence,
            block.sequence + 1,
            "segment: the next number"
        );
        assert_eq!(reader.position(), next, "segment: the position");
        if !is_forged {
            let written = wanted.next();
            let written = written.unwrap_or_else(|| {
                panic!(
                    "segment: block {} is returned, but is not whole",
                    block.sequence
                )
            });
            check_block(&block, next, written);
            check_lost(lost, position, written);
        }
        position = next;
    }
    if !is_forged {
        let missed = wanted.next().map(|block| block.header.sequence);
        assert_eq!(missed, None, "segment: a whole block is not returned");
    }
}

/// A block comes back as it was written.
fn check_block(block: &flumen::channel::Block, next: LogPosition, written: &Written) {
    let header = &written.header;
    assert_eq!(block.sequence, header.sequence, "segment: another block");
    assert_eq!(
        block.payload, written.payload,
        "segment: other bytes than were written"
    );
    assert_eq!(
        block.first_event, header.first_event,
        "segment: first event"
    );
    assert_eq!(
        block.event_count, header.event_count,
        "segment: event count"
    );
    assert_eq!(block.segment, header.segment, "segment: where it lies");
    assert_eq!(block.offset, header.offset, "segment: where it lies");
    assert_eq!(next.chain, written.crc, "segment: chain");
    let events_end = header.first_event + u64::from(header.event_count);
    assert_eq!(next.event, events_end, "segment: the next event");
}

/// What is missing before a block is counted exactly.
fn check_lost(lost: Option<Lost>, position: LogPosition, found: &Written) {
    let blocks = found.header.sequence - position.sequence;
    let events = found.header.first_event - position.event;
    match lost {
        None => assert_eq!(
            blocks, 0,
            "segment: {blocks} blocks are lost and not counted"
        ),
        Some(lost) => {
            assert_eq!(lost.blocks, blocks, "segment: lost blocks");
            assert_eq!(lost.events, events, "segment: lost events");
            assert_eq!(
                lost.sequence, position.sequence,
                "segment: first lost block"
            );
        }
    }
}

/// Recovery starts from whatever is there, and finds the end behind the last whole block.
fn recovered(log: &Log, ground: &MemoryGround, memory: usize, is_forged: bool) {
    let directories = [FOLDER.into()];
    let headers_are_intact = log.headers_are_intact();
    let groups = [String::new()];
    let recovered = held(2 * memory, || {
        at_once(recover(
            ground,
            SHARD,
            &directories,
            None,
            &groups,
            |_, _| {},
        ))
    });
    let recovered = match recovered {
        Ok(recovered) => recovered,
        Err(RecoveryError::Twins { .. }) if is_forged => return,
        Err(RecoveryError::Read(error)) if log.passes_for_dead(error.segment) => return,
        Err(error @ (RecoveryError::Version { .. } | RecoveryError::Twins { .. })) => {
            panic!("segment: {error}, but nobody wrote such a header")
        }
        Err(error) => panic!("segment: {error}, but the disk passes over what is unreadable"),
    };
    if is_forged || !headers_are_intact {
        return;
    }
    let intact: Vec<&Written> = log
        .blocks
        .iter()
        .filter(|block| log.is_intact(block))
        .collect();
    let last_begin = log
        .segments
        .last()
        .map_or(0, |last| last.info.first_sequence);
    let behind_last = intact.last().map_or(0, |block| block.header.sequence + 1);
    let end = behind_last.max(last_begin);
    assert_eq!(recovered.end.sequence, end, "segment: the end of the log");
    let lost: u64 = recovered.lost.iter().map(|lost| lost.blocks).sum();
    let first = log.blocks[0].header.sequence;
    let missing = behind_last.saturating_sub(first) - intact.len() as u64;
    assert_eq!(lost, missing, "segment: recovery counts other losses");
}
