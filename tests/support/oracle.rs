//! The oracle: which events were sent, which were acknowledged, what arrived, and whether that is right.
//!
//! The rule is at-least-once: every acknowledged event arrives, unaltered; what was not acknowledged may
//! arrive or not; any may arrive more than once. Events of one connection arrive in the order they were
//! sent, going by the first arrival of each, because a sender repeats a batch before it sends the next.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Identity, check_body};

/// One run's knowledge.
#[derive(Debug, Default)]
pub struct Oracle {
    acknowledged: BTreeSet<Identity>,
    sent: BTreeSet<Identity>,
    arrivals: BTreeMap<Identity, u64>,
    newest: BTreeMap<(String, u32), u64>,
    altered: Vec<String>,
    torn: u64,
    out_of_order: Vec<Identity>,
}

/// What the oracle found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Events answered OK.
    pub acknowledged: usize,
    /// Different events that arrived.
    pub delivered: usize,
    /// Arrivals beyond the first of each event.
    pub duplicates: u64,
    /// Acknowledged and never arrived.
    pub lost: Vec<Identity>,
    /// Arrivals that are no event of ours.
    pub altered: Vec<String>,
    /// Arrived and never sent: a checksum that fits a stranger.
    pub unknown: Vec<Identity>,
    /// First arrivals older than an earlier arrival of their connection.
    pub out_of_order: Vec<Identity>,
    /// Half lines at the end of a file whose writer was killed.
    pub torn: u64,
}

impl Oracle {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Events `first..=last` of a connection went out.
    pub fn sent(&mut self, prefix: &str, connection: u32, first: u64, last: u64) {
        self.sent
            .extend(identities(prefix, connection, first, last));
    }

    /// Events `first..=last` of a connection went out and were answered OK.
    pub fn acknowledged(&mut self, prefix: &str, connection: u32, first: u64, last: u64) {
        self.sent(prefix, connection, first, last);
        self.acknowledged
            .extend(identities(prefix, connection, first, last));
    }

    /// Events answered OK so far.
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// A body came out of a sink.
    pub fn arrived(&mut self, body: &[u8]) {
        match check_body(body) {
            Err(reason) => self.altered.push(reason),
            Ok(identity) => self.count(identity),
        }
    }

    /// Half a line was found where a killed process stopped writing. Whether its event also arrived
    /// whole is checked like any other's.
    pub fn torn(&mut self) {
        self.torn += 1;
    }

    fn count(&mut self, identity: Identity) {
        let arrivals = self.arrivals.entry(identity.clone()).or_default();
        *arrivals += 1;
        if *arrivals > 1 {
            return;
        }
        let newest = self
            .newest
            .entry((identity.prefix.clone(), identity.connection))
            .or_default();
        if identity.number < *newest {
            self.out_of_order.push(identity);
        } else {
            *newest = identity.number;
        }
    }

    /// Forgets arrivals, to read the sinks' output again from its beginning.
    pub fn forget_arrivals(&mut self) {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let sent = std::mem::take(&mut self.sent);
        *self = Self {
            acknowledged,
            sent,
            ..Self::default()
        };
    }

    /// Whether every acknowledged event has arrived.
    pub fn complete(&self) -> bool {
        self.acknowledged
            .iter()
            .all(|identity| self.arrivals.contains_key(identity))
    }

    /// Everything it found.
    pub fn findings(&self) -> Findings {
        let lost = self
            .acknowledged
            .iter()
            .filter(|identity| !self.arrivals.contains_key(identity));
        let unknown = self
            .arrivals
            .keys()
            .filter(|identity| !self.sent.contains(identity));
        Findings {
            acknowledged: self.acknowledged.len(),
            delivered: self.arrivals.len(),
            duplicates: self.arrivals.values().map(|count| count - 1).sum(),
            lost: lost.cloned().collect(),
            altered: self.altered.clone(),
            unknown: unknown.cloned().collect(),
            out_of_order: self.out_of_order.clone(),
            torn: self.torn,
        }
    }

    /// Acknowledged ⊆ delivered, nothing altered, nothing invented. Returns the findings.
    #[track_caller]
    pub fn assert_nothing_lost(&self) -> Findings {
        let findings = self.findings();
        let few = |list: &[Identity]| {
            list.iter()
                .take(5)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let lost = &findings.lost;
        assert!(
            lost.is_empty(),
            "{} acknowledged events lost: {:?} …",
            lost.len(),
            few(lost)
        );
        let altered = &findings.altered;
        assert!(
            altered.is_empty(),
            "{} altered: {:?} …",
            altered.len(),
            altered.first()
        );
        let unknown = &findings.unknown;
        assert!(
            unknown.is_empty(),
            "{} never sent: {:?} …",
            unknown.len(),
            few(unknown)
        );
        findings
    }

    /// Events of one connection arrived in the order they were sent.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let wrong = &self.out_of_order;
        assert!(
            wrong.is_empty(),
            "{} out of order, first {}",
            wrong.len(),
            wrong[0]
        );
    }
}

fn identities(
    prefix: &str,
    connection: u32,
    first: u64,
    last: u64,
) -> impl Iterator<Item = Identity> {
    (first..=last).map(move |number| Identity {
        prefix: prefix.to_owned(),
        connection,
        number,
    })
}
