//! What one sink showed: which events came out of it, how often, in what order, and what was not whole.
//!
//! Part of the oracle, one per sink, for one run. It knows nothing of what was sent.

use std::collections::BTreeMap;

use super::event::Identity;

/// One connection's events at one sink, by number.
#[derive(Debug, Default)]
struct Stream {
    counts: Vec<u32>,
    newest: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Arrivals {
    streams: BTreeMap<(String, u32), Stream>,
    altered: Vec<String>,
    out_of_order: Vec<Identity>,
    torn: u64,
}

impl Arrivals {
    /// A whole event came out.
    pub fn count(&mut self, identity: Identity) {
        let key = (identity.prefix.clone(), identity.connection);
        let stream = self.streams.entry(key).or_default();
        let number = usize::try_from(identity.number).expect("an index");
        if stream.counts.len() <= number {
            stream.counts.resize(number + 1, 0);
        }
        stream.counts[number] += 1;
        if stream.counts[number] > 1 {
            return;
        }
        if number < stream.newest {
            self.out_of_order.push(identity);
        } else {
            stream.newest = number;
        }
    }

    /// Something came out that nobody sent like that.
    pub fn altered(&mut self, reason: String) {
        self.altered.push(reason);
    }

    /// Half an event at the end of a file whose writer was killed.
    pub fn torn(&mut self) {
        self.torn += 1;
    }

    /// How often each event of a connection came out, by number; shorter when the last ones did not.
    pub fn counts(&self, prefix: &str, connection: u32) -> &[u32] {
        let stream = self.streams.get(&(prefix.to_owned(), connection));
        stream.map_or(&[], |stream| &stream.counts)
    }

    /// Every event that came out, and how often.
    pub fn seen(&self) -> impl Iterator<Item = (Identity, u32)> {
        self.streams
            .iter()
            .flat_map(|((prefix, connection), stream)| {
                let counts = (0u64..).zip(&stream.counts);
                let seen = counts.filter(|(_, count)| **count > 0);
                seen.map(move |(number, count)| {
                    let identity = Identity {
                        prefix: prefix.clone(),
                        connection: *connection,
                        number,
                    };
                    (identity, *count)
                })
            })
    }

    /// What was not as sent.
    pub fn all_altered(&self) -> &[String] {
        &self.altered
    }

    /// First arrivals older than an earlier arrival of their connection.
    pub fn out_of_order(&self) -> &[Identity] {
        &self.out_of_order
    }

    /// Half events.
    pub fn torn_count(&self) -> u64 {
        self.torn
    }
}
