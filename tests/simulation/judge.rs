//! Who knows what was sent, acknowledged and delivered, and what a fault was allowed to take.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use bytes::Bytes;
use flumen::channel::Block;
use flumen::channel::wal::{BLOCK_HEADER_BYTES, BlockHeader, SegmentHeader};
use flumen::limits::ALIGN_BYTES;
use flumen::reactor::simulated::Damage;

use crate::support::Oracle;
use crate::support::event::{Identity, check_body};

/// Sender name of all simulated clients.
pub const PREFIX: &str = "s";

/// One run's judge.
#[derive(Debug)]
pub struct Judge {
    /// One oracle a consumer group: each has to get everything.
    groups: RefCell<Vec<Oracle>>,
    /// Events in blocks that the medium took after it reported them durable.
    at_stake: RefCell<BTreeSet<Identity>>,
    digest: Cell<u64>,
}

impl Judge {
    pub fn new(group_count: usize) -> Self {
        Self {
            groups: RefCell::new((0..group_count).map(|_| Oracle::new()).collect()),
            at_stake: RefCell::default(),
            digest: Cell::new(0xcbf2_9ce4_8422_2325),
        }
    }

    /// Folds a fact into the digest: two runs of a seed have the same facts in the same order.
    pub fn note(&self, facts: &[u64]) {
        let mut digest = self.digest.get();
        for fact in facts {
            digest = (digest ^ fact).wrapping_mul(0x0100_0000_01b3);
            digest ^= digest >> 29;
        }
        self.digest.set(digest);
    }

    pub fn digest(&self) -> u64 {
        self.digest.get()
    }

    pub fn sent(&self, client: u32, first: u64, last: u64) {
        for oracle in &mut *self.groups.borrow_mut() {
            oracle.sent(PREFIX, client, first, last);
        }
    }

    pub fn acknowledged(&self, client: u32, first: u64, last: u64) {
        self.note(&[1, u64::from(client), first, last]);
        for oracle in &mut *self.groups.borrow_mut() {
            oracle.acknowledged(PREFIX, client, first, last);
        }
    }

    pub fn arrived(&self, group: usize, body: &[u8]) {
        self.note(&[2, group as u64, u64::from(crc32c::crc32c(body))]);
        self.groups.borrow_mut()[group].arrived(body);
    }

    /// The medium takes blocks that it had reported durable.
    pub fn damaged(&self, damage: &Damage<'_>) {
        let is_header = damage.range.start < ALIGN_BYTES;
        let segment = SegmentHeader::decode(damage.before).ok();
        let epoch = segment.map(|segment| segment.epoch);
        let mut offset = ALIGN_BYTES;
        while offset + ALIGN_BYTES <= damage.before.len() {
            // What landed here by mistake or is left of an earlier use is none of this segment's.
            let header = BlockHeader::decode(&damage.before[offset..]).ok();
            let header = header.filter(|(header, _)| {
                header.offset == offset as u64 && epoch.is_none_or(|epoch| header.epoch == epoch)
            });
            let Some((header, _)) = header else {
                offset += ALIGN_BYTES;
                continue;
            };
            let end = offset + header.block_bytes as usize;
            let hit = is_header || (damage.range.start < end && damage.range.end > offset);
            if hit && end <= damage.before.len() {
                let start = offset + BLOCK_HEADER_BYTES;
                let payload = &damage.before[start..start + header.payload_bytes as usize];
                self.take(&header, payload);
            }
            offset = end;
        }
    }

    fn take(&self, header: &BlockHeader, payload: &[u8]) {
        if crc32c::crc32c(payload) != header.payload_crc {
            return;
        }
        let block = Block {
            sequence: header.sequence,
            first_event: header.first_event,
            event_count: header.event_count,
            segment: header.segment,
            offset: header.offset,
            payload: Bytes::copy_from_slice(payload),
            held_bytes: payload.len(),
        };
        let mut at = 0;
        while let Some(record) = block.record_at(at).expect("its checksum held") {
            for event in record.iter() {
                let event = event.expect("its checksum held");
                let identity = check_body(event.body()).expect("our own event");
                self.at_stake.borrow_mut().insert(identity);
            }
            at = record.next_offset;
        }
    }

    /// What is wrong, in one sentence; none if the promise was kept.
    pub fn verdict(&self, ordered: bool) -> Option<String> {
        let at_stake = self.at_stake.borrow();
        for (group, oracle) in self.groups.borrow().iter().enumerate() {
            let findings = oracle.findings();
            let lost: Vec<_> = findings
                .lost
                .iter()
                .filter(|identity| !at_stake.contains(identity))
                .collect();
            if let Some(first) = lost.first() {
                return Some(format!(
                    "group {group}: {} of {} acknowledged events lost, the first is {first}",
                    lost.len(),
                    findings.acknowledged
                ));
            }
            if let Some(first) = findings.altered.first() {
                return Some(format!(
                    "group {group}: {} events altered: {first}",
                    findings.altered.len()
                ));
            }
            if let Some(first) = findings.unknown.first() {
                return Some(format!("group {group}: {first} was never sent"));
            }
            // What was passed over as damage may be readable again after a restart, and comes late then.
            let ordered = ordered && at_stake.is_empty();
            if let Some(first) = findings.out_of_order.first().filter(|_| ordered) {
                return Some(format!("group {group}: {first} arrived out of order"));
            }
        }
        None
    }

    /// Acknowledged, delivered and repeated events over all groups, and those at stake.
    pub fn totals(&self) -> [u64; 4] {
        let mut totals = [0, 0, 0, self.at_stake.borrow().len() as u64];
        for oracle in self.groups.borrow().iter() {
            let findings = oracle.findings();
            totals[0] += findings.acknowledged as u64;
            totals[1] += findings.delivered as u64;
            totals[2] += findings.duplicates;
        }
        totals
    }
}
