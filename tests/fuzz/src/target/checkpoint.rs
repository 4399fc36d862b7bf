//! Checkpoints: what was written is read, an altered one is refused, and whatever is accepted is what
//! would be written.
//!
//! ```text
//! offset  size  field
//!      0     1  mode               even: what follows is a file, its checksum put right for 2, 6, …;
//!                                  odd: a checkpoint is made of what follows, and altered
//! ```

use flumen::channel::DeliveredTo;
use flumen::channel::wal::{Checkpoint, LogPosition, ShardCheckpoint};

use crate::crc::crc32c;
use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

/// A shard of 52 bytes takes some 120 in memory, a group of 36 some 80; lists double, and the old one
/// is still there while they do.
const DECODED_RATIO_MAX: usize = 8;
const DECODED_BYTES_MIN: usize = 1024;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    if mode % 2 == 1 {
        written(input);
        return;
    }
    let mut file = input.rest().to_vec();
    if mode % 4 == 2 && file.len() >= 4 {
        let covered = file.len() - 4;
        let crc = crc32c(&file[..covered]);
        file[covered..].copy_from_slice(&crc.to_le_bytes());
    }
    if let Some(accepted) = decode(&file) {
        assert_eq!(
            accepted.encode(),
            file,
            "checkpoint: accepted, but never written so"
        );
    }
}

fn decode(file: &[u8]) -> Option<Checkpoint> {
    let memory = DECODED_BYTES_MIN + DECODED_RATIO_MAX * file.len();
    if is_planted() {
        // The defect: the checksum is not looked at.
        let mut file = file.to_vec();
        let covered = file.len().checked_sub(4)?;
        let crc = crc32c(&file[..covered]);
        file[covered..].copy_from_slice(&crc.to_le_bytes());
        return Checkpoint::decode(&file);
    }
    held(memory, || Checkpoint::decode(file))
}

/// A checkpoint of the input survives the round trip; one altered in a burst of 4 bytes at most, or
/// cut, is refused: that much CRC32C promises for every file.
fn written(mut input: Input<'_>) {
    let at = usize::from(input.u16());
    let burst: [u8; 4] = input.u32().to_le_bytes();
    let checkpoint = made(&mut input);
    let file = checkpoint.encode();
    assert_eq!(
        decode(&file),
        Some(checkpoint),
        "checkpoint: not what was written"
    );

    let mut altered = file.clone();
    let at = at % file.len();
    for (byte, change) in altered[at..].iter_mut().zip(burst) {
        *byte ^= change;
    }
    if altered != file {
        assert_eq!(
            decode(&altered),
            None,
            "checkpoint: altered at {at}, but accepted"
        );
    }
    assert_eq!(
        decode(&file[..at]),
        None,
        "checkpoint: cut to {at} bytes, but accepted"
    );
}

fn made(input: &mut Input<'_>) -> Checkpoint {
    // Larger numbers are refused.
    let generation = input.u64() >> 1;
    let mut shards = Vec::new();
    while !input.is_empty() {
        let shape = input.u8();
        let end = LogPosition {
            segment: input.u64() >> 1,
            offset: input.u64(),
            sequence: input.u64() >> 1,
            event: input.u64() >> 1,
            chain: input.u32(),
        };
        let cursors = (0..shape % 4).map(|_| {
            let name = String::from_utf8_lossy(input.short(16)).into_owned();
            let cursor = DeliveredTo {
                event: u64::from(input.u32()),
                block: u64::from(input.u16()),
                segment: end.segment,
                offset: u64::from(input.u16()) * 4096,
            };
            (name, cursor)
        });
        shards.push(ShardCheckpoint {
            shard: u32::from(shape / 4),
            end,
            end_epoch: end.event.rotate_left(17),
            cursors: cursors.collect(),
        });
    }
    Checkpoint { generation, shards }
}
