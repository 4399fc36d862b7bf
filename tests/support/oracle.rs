//! The oracle: which events were sent, with what content, which were acknowledged, what arrived at each
//! sink, and whether that is right.
//!
//! The rule is at-least-once, for every sink on its own: every acknowledged event arrives, unaltered; what
//! was not acknowledged may arrive or not; any may arrive more than once, which is counted. Events of one
//! connection arrive in the order they were sent, going by the first arrival of each, because a sender
//! repeats a batch before it sends the next.
//!
//! Tests with one sink use the oracle's own methods; tests with several name each: [`Oracle::at`].
//! A few bytes per event, so that a run may have millions.

use std::collections::BTreeMap;

use super::arrivals::Arrivals;
use super::event::{Identity, check_body, checksum_of};

/// The sink of tests that have one.
const ONLY: &str = "";

/// What is known of one event's sending.
#[derive(Debug, Default, Clone, Copy)]
struct Fate {
    sent: bool,
    acknowledged: bool,
    /// Of the content that went out; none when the sender did not say.
    checksum: Option<u32>,
}

/// One run's knowledge.
#[derive(Debug, Default)]
pub struct Oracle {
    ledger: BTreeMap<(String, u32), Vec<Fate>>,
    sinks: BTreeMap<String, Arrivals>,
}

/// What the oracle found at one sink.
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
    /// Arrivals that are no event of ours, or not with the content it was sent with.
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

    /// Events from `first` on went out with contents of these checksums ([`checksum_of`]).
    pub fn sent_with(&mut self, prefix: &str, connection: u32, first: u64, checksums: &[u32]) {
        for (number, checksum) in (first..).zip(checksums) {
            self.mark(prefix, connection, number, number, |fate| {
                fate.sent = true;
                fate.checksum = Some(*checksum);
            });
        }
    }

    fn mark(
        &mut self,
        prefix: &str,
        connection: u32,
        first: u64,
        last: u64,
        note: impl Fn(&mut Fate),
    ) {
        let key = (prefix.to_owned(), connection);
        let fates = self.ledger.entry(key).or_default();
        let [first, last] = [first, last].map(|number| usize::try_from(number).expect("an index"));
        if fates.len() <= last {
            fates.resize(last + 1, Fate::default());
        }
        fates[first..=last].iter_mut().for_each(note);
    }

    fn fate(&self, identity: &Identity) -> Fate {
        let fates = self
            .ledger
            .get(&(identity.prefix.clone(), identity.connection));
        let number = usize::try_from(identity.number).expect("an index");
        let fate = fates.and_then(|fates| fates.get(number));
        fate.copied().unwrap_or_default()
    }

    /// The highest event of a connection that went out; 0 if none did.
    pub fn last_sent(&self, prefix: &str, connection: u32) -> u64 {
        let fates = self.ledger.get(&(prefix.to_owned(), connection));
        let last = fates.and_then(|fates| fates.iter().rposition(|fate| fate.sent));
        last.unwrap_or(0) as u64
    }

    /// Events answered OK so far.
    pub fn acknowledged_count(&self) -> usize {
        let all = self.ledger.values().flatten();
        all.filter(|fate| fate.acknowledged).count()
    }

    /// The view of one sink among several.
    pub fn at(&mut self, sink: &str) -> AtSink<'_> {
        self.sinks.entry(sink.to_owned()).or_default();
        AtSink {
            sink: sink.to_owned(),
            oracle: self,
        }
    }

    /// A body came out of the only sink.
    pub fn arrived(&mut self, body: &[u8]) {
        self.at(ONLY).arrived(body);
    }

    /// Half a line was found where a killed process stopped writing. Whether its event also arrived
    /// whole is checked like any other's.
    pub fn torn(&mut self) {
        self.at(ONLY).torn();
    }

    /// Forgets arrivals at every sink, to read their output again from its beginning.
    pub fn forget_arrivals(&mut self) {
        self.sinks.clear();
    }

    /// Whether every acknowledged event has arrived at the only sink.
    pub fn complete(&self) -> bool {
        self.complete_at(ONLY)
    }

    /// What it found at the only sink.
    pub fn findings(&self) -> Findings {
        self.findings_at(ONLY)
    }

    /// Acknowledged ⊆ delivered, nothing altered, nothing invented. Returns the findings.
    #[track_caller]
    pub fn assert_nothing_lost(&self) -> Findings {
        let findings = self.findings();
        findings.assert_nothing_lost("the sink");
        findings
    }

    /// Events of one connection arrived in the order they were sent.
    #[track_caller]
    pub fn assert_in_order(&self) {
        self.findings().assert_in_order("the sink");
    }

    fn complete_at(&self, sink: &str) -> bool {
        self.lost_at(sink).next().is_none()
    }

    /// What was acknowledged and did not arrive.
    fn lost_at(&self, sink: &str) -> impl Iterator<Item = Identity> {
        let arrivals = self.sinks.get(sink);
        self.ledger
            .iter()
            .flat_map(move |((prefix, connection), fates)| {
                let counts =
                    arrivals.map_or(&[][..], |arrivals| arrivals.counts(prefix, *connection));
                let lost = move |(number, fate): &(usize, &Fate)| {
                    fate.acknowledged && counts.get(*number).is_none_or(|count| *count == 0)
                };
                let lost = fates.iter().enumerate().filter(lost);
                lost.map(move |(number, _)| Identity {
                    prefix: prefix.clone(),
                    connection: *connection,
                    number: number as u64,
                })
            })
    }

    fn findings_at(&self, sink: &str) -> Findings {
        let empty = Arrivals::default();
        let arrivals = self.sinks.get(sink).unwrap_or(&empty);
        let unsent = arrivals
            .seen()
            .filter(|(identity, _)| !self.fate(identity).sent);
        Findings {
            acknowledged: self.acknowledged_count(),
            delivered: arrivals.seen().count(),
            duplicates: arrivals.seen().map(|(_, count)| u64::from(count - 1)).sum(),
            lost: self.lost_at(sink).collect(),
            altered: arrivals.all_altered().to_vec(),
            unknown: unsent.map(|(identity, _)| identity).collect(),
            out_of_order: arrivals.out_of_order().to_vec(),
            torn: arrivals.torn_count(),
        }
    }
}

/// The oracle as one sink's output is shown to it.
#[derive(Debug)]
pub struct AtSink<'a> {
    oracle: &'a mut Oracle,
    sink: String,
}

impl AtSink<'_> {
    fn arrivals(&mut self) -> &mut Arrivals {
        self.oracle.sinks.entry(self.sink.clone()).or_default()
    }

    /// A body came out.
    pub fn arrived(&mut self, body: &[u8]) {
        let identity = match check_body(body) {
            Err(reason) => return self.arrivals().altered(reason),
            Ok(identity) => identity,
        };
        let wanted = self.oracle.fate(&identity).checksum;
        let found = checksum_of(body);
        if wanted.is_some() && wanted != found {
            let reason = format!("{identity} has the content of another event: {found:08x?}");
            return self.arrivals().altered(reason);
        }
        self.arrivals().count(identity);
    }

    /// Something came out that cannot be one of ours; `reason` says why.
    pub fn altered(&mut self, reason: String) {
        self.arrivals().altered(reason);
    }

    /// Half an event, where a killed process stopped writing.
    pub fn torn(&mut self) {
        self.arrivals().torn();
    }

    /// Forgets this sink's arrivals, to read its output again from its beginning.
    pub fn forget(&mut self) {
        *self.arrivals() = Arrivals::default();
    }

    /// Whether every acknowledged event has arrived.
    pub fn complete(&self) -> bool {
        self.oracle.complete_at(&self.sink)
    }

    /// Everything it found.
    pub fn findings(&self) -> Findings {
        self.oracle.findings_at(&self.sink)
    }
}

impl Findings {
    /// Whether the promise is broken: something lost, altered or invented.
    pub fn is_broken(&self) -> bool {
        !self.lost.is_empty() || !self.altered.is_empty() || !self.unknown.is_empty()
    }

    /// Panics, naming `sink`, when the promise is broken.
    #[track_caller]
    pub fn assert_nothing_lost(&self, sink: &str) {
        let few = |list: &[Identity]| {
            let few = list.iter().take(5);
            few.map(ToString::to_string).collect::<Vec<_>>()
        };
        let lost = &self.lost;
        assert!(
            lost.is_empty(),
            "{sink}: {} of {} acknowledged events lost: {:?} …",
            lost.len(),
            self.acknowledged,
            few(lost)
        );
        let altered = &self.altered;
        assert!(
            altered.is_empty(),
            "{sink}: {} altered: {:?} …",
            altered.len(),
            altered.first()
        );
        let unknown = &self.unknown;
        assert!(
            unknown.is_empty(),
            "{sink}: {} never sent: {:?} …",
            unknown.len(),
            few(unknown)
        );
    }

    /// Panics, naming `sink`, unless events of one connection arrived in the order they were sent.
    #[track_caller]
    pub fn assert_in_order(&self, sink: &str) {
        let wrong = &self.out_of_order;
        assert!(
            wrong.is_empty(),
            "{sink}: {} out of order, first {}",
            wrong.len(),
            wrong[0]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::TestEvent;
    use super::*;

    fn identity(number: u64) -> Identity {
        Identity {
            prefix: "p".to_owned(),
            connection: 1,
            number,
        }
    }

    fn body(number: u64) -> Vec<u8> {
        TestEvent::with_identity(&identity(number), 40).body
    }

    #[test]
    fn the_oracle_sees_what_is_lost_altered_repeated_or_late() {
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
        assert!(findings.is_broken());
        assert_eq!(
            (findings.lost, findings.unknown),
            (vec![identity(3)], vec![identity(9)])
        );
        assert_eq!(
            (findings.altered.len(), findings.out_of_order),
            (1, vec![identity(1)])
        );
    }

    #[test]
    fn each_sink_is_judged_on_its_own() {
        let mut oracle = Oracle::new();
        oracle.acknowledged("p", 1, 0, 2);
        for number in 0..3 {
            oracle.at("kafka").arrived(&body(number));
        }
        for number in [0, 2, 2] {
            oracle.at("hdfs").arrived(&body(number));
        }
        assert!(oracle.at("kafka").complete());
        assert!(!oracle.at("kafka").findings().is_broken());
        assert!(!oracle.at("hdfs").complete());
        let hdfs = oracle.at("hdfs").findings();
        assert_eq!((hdfs.lost, hdfs.duplicates), (vec![identity(1)], 1));
        assert!(!oracle.at("files").complete(), "nothing was shown of it");
        oracle.at("hdfs").forget();
        oracle.at("hdfs").torn();
        let hdfs = oracle.at("hdfs").findings();
        assert_eq!((hdfs.delivered, hdfs.torn, hdfs.lost.len()), (0, 1, 3));
        assert!(oracle.at("kafka").complete(), "other sinks keep theirs");
    }

    #[test]
    fn a_valid_body_with_other_content_than_was_sent_is_altered() {
        let mut oracle = Oracle::new();
        let sent = checksum_of(&body(0)).expect("one of ours");
        oracle.sent_with("p", 1, 0, &[sent]);
        oracle.acknowledged("p", 1, 0, 0);
        // As left behind by an earlier run that used the same name.
        let stale = TestEvent::with_identity(&identity(0), 60).body;
        oracle.arrived(&stale);
        assert_eq!(oracle.findings().altered.len(), 1);
        assert!(!oracle.complete(), "what was sent has not arrived");
        oracle.arrived(&body(0));
        assert!(oracle.complete());
    }

    #[test]
    fn order_goes_by_the_first_arrival_of_each_event() {
        let mut oracle = Oracle::new();
        oracle.acknowledged("p", 1, 0, 3);
        for number in [0, 1, 0, 1, 2, 3] {
            oracle.arrived(&body(number));
        }
        oracle.assert_in_order();
        assert_eq!(oracle.assert_nothing_lost().duplicates, 2);
    }

    #[test]
    #[should_panic(expected = "1 of 2 acknowledged events lost: [\"p-1-1\"]")]
    fn a_loss_panics_and_names_the_event() {
        let mut oracle = Oracle::new();
        oracle.acknowledged("p", 1, 0, 1);
        oracle.arrived(&body(0));
        oracle.assert_nothing_lost();
    }
}
