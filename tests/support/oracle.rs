//! The oracle: which events were sent, which were acknowledged, what arrived, and whether that is right.
//!
//! The rule is at-least-once: every acknowledged event arrives, unaltered; what was not acknowledged may
//! arrive or not; any may arrive more than once. Events of one connection arrive in the order they were
//! sent, going by the first arrival of each, because a sender repeats a batch before it sends the next.
//!
//! A few bytes per event, so that a run may have millions.

use std::collections::BTreeMap;

use super::event::{Identity, check_body};

/// What is known about one event.
#[derive(Debug, Default, Clone, Copy)]
struct Fate {
    sent: bool,
    acknowledged: bool,
    arrivals: u32,
}

/// One connection's events, by number.
#[derive(Debug, Default)]
struct Stream {
    fates: Vec<Fate>,
    newest: usize,
}

/// One run's knowledge.
#[derive(Debug, Default)]
pub struct Oracle {
    streams: BTreeMap<(String, u32), Stream>,
    altered: Vec<String>,
    out_of_order: Vec<Identity>,
    torn: u64,
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
        self.mark(prefix, connection, first, last, |fate| fate.sent = true);
    }

    /// Events `first..=last` of a connection went out and were answered OK.
    pub fn acknowledged(&mut self, prefix: &str, connection: u32, first: u64, last: u64) {
        self.mark(prefix, connection, first, last, |fate| {
            fate.sent = true;
            fate.acknowledged = true;
        });
    }

    fn mark(
        &mut self,
        prefix: &str,
        connection: u32,
        first: u64,
        last: u64,
        note: impl Fn(&mut Fate),
    ) {
        let stream = self
            .streams
            .entry((prefix.to_owned(), connection))
            .or_default();
        let [first, last] = [first, last].map(|number| usize::try_from(number).expect("an index"));
        stream.reach(last);
        stream.fates[first..=last].iter_mut().for_each(note);
    }

    /// The highest event of a connection that went out; 0 if none did.
    pub fn last_sent(&self, prefix: &str, connection: u32) -> u64 {
        let stream = self.streams.get(&(prefix.to_owned(), connection));
        let last = stream.and_then(|stream| stream.fates.iter().rposition(|fate| fate.sent));
        last.unwrap_or(0) as u64
    }

    /// Events answered OK so far.
    pub fn acknowledged_count(&self) -> usize {
        self.fates().filter(|(_, fate)| fate.acknowledged).count()
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
        let key = (identity.prefix.clone(), identity.connection);
        let stream = self.streams.entry(key).or_default();
        let number = usize::try_from(identity.number).expect("an index");
        stream.reach(number);
        stream.fates[number].arrivals += 1;
        if stream.fates[number].arrivals > 1 {
            return;
        }
        if number < stream.newest {
            self.out_of_order.push(identity);
        } else {
            stream.newest = number;
        }
    }

    /// Forgets arrivals, to read the sinks' output again from its beginning.
    pub fn forget_arrivals(&mut self) {
        self.altered.clear();
        self.out_of_order.clear();
        self.torn = 0;
        for stream in self.streams.values_mut() {
            stream.newest = 0;
            stream.fates.iter_mut().for_each(|fate| fate.arrivals = 0);
        }
    }

    /// Whether every acknowledged event has arrived.
    pub fn complete(&self) -> bool {
        self.fates()
            .all(|(_, fate)| !fate.acknowledged || fate.arrivals > 0)
    }

    fn fates(&self) -> impl Iterator<Item = ((&(String, u32), usize), &Fate)> {
        self.streams.iter().flat_map(|(key, stream)| {
            stream
                .fates
                .iter()
                .enumerate()
                .map(move |(number, fate)| ((key, number), fate))
        })
    }

    fn identities(&self, wanted: impl Fn(&Fate) -> bool) -> Vec<Identity> {
        let matching = self.fates().filter(|(_, fate)| wanted(fate));
        let name =
            |(((prefix, connection), number), _): ((&(String, u32), usize), &Fate)| Identity {
                prefix: prefix.clone(),
                connection: *connection,
                number: number as u64,
            };
        matching.map(name).collect()
    }

    /// Everything it found.
    pub fn findings(&self) -> Findings {
        let repeats = |(_, fate): (_, &Fate)| u64::from(fate.arrivals.saturating_sub(1));
        Findings {
            acknowledged: self.acknowledged_count(),
            delivered: self.fates().filter(|(_, fate)| fate.arrivals > 0).count(),
            duplicates: self.fates().map(repeats).sum(),
            lost: self.identities(|fate| fate.acknowledged && fate.arrivals == 0),
            altered: self.altered.clone(),
            unknown: self.identities(|fate| fate.arrivals > 0 && !fate.sent),
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
        let count = findings.acknowledged;
        assert!(
            lost.is_empty(),
            "{} of {count} acknowledged events lost: {:?} …",
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

impl Stream {
    fn reach(&mut self, number: usize) {
        if self.fates.len() <= number {
            self.fates.resize(number + 1, Fate::default());
        }
    }
}

#[test]
fn the_oracle_sees_what_is_lost_altered_repeated_or_late() {
    use super::event::TestEvent;
    let identity = |number| Identity {
        prefix: "p".to_owned(),
        connection: 1,
        number,
    };
    let body = |number| TestEvent::with_identity(&identity(number), 40).body;
    let mut oracle = Oracle::new();
    oracle.sent("p", 1, 0, 5);
    oracle.acknowledged("p", 1, 0, 3);
    for number in [0, 2, 1, 1, 9] {
        oracle.arrived(&body(number));
    }
    let mut altered = body(4);
    altered[10] ^= 1;
    oracle.arrived(&altered);
    let findings = oracle.findings();
    assert_eq!(
        (
            findings.acknowledged,
            findings.delivered,
            findings.duplicates
        ),
        (4, 4, 1)
    );
    assert_eq!(
        (findings.lost, findings.unknown),
        (vec![identity(3)], vec![identity(9)])
    );
    assert_eq!(
        (findings.altered.len(), findings.out_of_order),
        (1, vec![identity(1)])
    );
}
