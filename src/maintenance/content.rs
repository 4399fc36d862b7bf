//! What a block holds: records of events, or something that its checksum does not know to be wrong.

use crate::channel::Block;

/// Offset in the payload and reason, when it is not records of events.
pub fn check(block: &Block) -> Result<(), (usize, String)> {
    let mut offset = 0;
    let mut events = 0u64;
    loop {
        let record = block.record_at(offset);
        let Some(record) = record.map_err(|error| (offset, error.to_string()))? else {
            break;
        };
        let mut count = 0u32;
        for event in record.iter() {
            event.map_err(|error| (offset, error.to_string()))?;
            count += 1;
        }
        if count != record.event_count {
            let said = record.event_count;
            return Err((
                offset,
                format!("{count} events where the record says {said}"),
            ));
        }
        events += u64::from(count);
        offset = record.next_offset;
    }
    if events != u64::from(block.event_count) {
        let said = block.event_count;
        return Err((0, format!("{events} events where the block says {said}")));
    }
    Ok(())
}
