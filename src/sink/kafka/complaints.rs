//! What librdkafka complains about, said once and then counted.
//!
//! While a broker is away librdkafka writes several lines a second, and says each of them twice: as a
//! line of its log and as an error. Owned by one sink, over all its producers; told by librdkafka's
//! threads and by the one that polls.
//!
//! Always true: a complaint of one kind about one broker is shown at once, and then at most once in
//! [`AGAIN_AFTER`] with how often it came meanwhile. None is dropped without being counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two lines about the same thing.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Kinds told apart; what comes beyond them is one kind.
const KINDS_MAX: usize = 64;

/// Which way librdkafka says it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// A line of its log.
    Log,
    /// An error that is not about a record.
    Error,
}

/// Complaints of the last half minute, by broker and kind.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<BTreeMap<String, Known>>);

#[derive(Debug)]
struct Known {
    shown_at: Duration,
    /// Since then, each way. Most are told both ways.
    untold: [u64; 2],
    last: String,
}

impl Complaints {
    /// What is to be written now that librdkafka said `text`, if anything.
    pub(super) fn hear(&self, now: Duration, way: Way, text: &str) -> Option<String> {
        let mut known = self.known();
        let mut kind = kind_of(text);
        if known.len() >= KINDS_MAX && !known.contains_key(&kind) {
            kind = String::new();
        }
        let Some(complaint) = known.get_mut(&kind) else {
            let complaint = Known {
                shown_at: now,
                untold: [0; 2],
                last: String::new(),
            };
            known.insert(kind, complaint);
            return Some(text.to_owned());
        };
        complaint.untold[way as usize] += 1;
        text.clone_into(&mut complaint.last);
        complaint.line(now)
    }

    /// What is still to be written about complaints that have ceased. Forgets what is old.
    pub(super) fn overdue(&self, now: Duration) -> Vec<String> {
        let mut known = self.known();
        let lines = known
            .values_mut()
            .filter_map(|complaint| complaint.line(now));
        let lines = lines.collect();
        known.retain(|_, complaint| now < complaint.shown_at + AGAIN_AFTER);
        lines
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // Whoever panicked with it, the counts are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The last words with the count, once there is one and it is time.
    fn line(&mut self, now: Duration) -> Option<String> {
        let silence = now.saturating_sub(self.shown_at);
        let [log, error] = std::mem::take(&mut self.untold);
        let count = log.max(error);
        if silence < AGAIN_AFTER || count == 0 {
            self.untold = [log, error];
            return None;
        }
        self.shown_at = now;
        let seconds = silence.as_secs();
        Some(format!("{} ({count} times in {seconds} s)", self.last))
    }
}

/// The broker and the words, without what differs from one time to the next: the thread, the client's
/// name, numbers in the words, how long the connection had lasted.
fn kind_of(text: &str) -> String {
    let text = match text.strip_prefix("[thrd:") {
        Some(rest) => rest.split_once("]: ").map_or(rest, |(_, text)| text),
        None => text,
    };
    let text = match text.split_once(": ") {
        Some((client, rest)) if client.contains("#producer-") => rest,
        _ => text,
    };
    let text = text.split(" (after ").next().unwrap_or(text);
    let (broker, words) = text.split_once(": ").unwrap_or(("", text));
    // A broker is `host:port/bootstrap` until its number is known.
    let broker = match broker.rsplit_once('/') {
        Some((host, id)) if id == "bootstrap" || id.parse::<u32>().is_ok() => host,
        _ => broker,
    };
    let mut kind = format!("{broker}: ");
    for char in words.chars() {
        match char.is_ascii_digit() {
            true if kind.ends_with('0') => {}
            true => kind.push('0'),
            false => kind.push(char),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap: Connect to \
        ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
    const ERROR: &str = "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection \
        refused (after 3ms in state CONNECT, 30 identical error(s) suppressed)";

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn one_complaint_is_said_once_whichever_way_it_comes_and_then_counted() {
        let complaints = Complaints::default();
        assert_eq!(
            complaints.hear(at(0), Way::Log, LOG).as_deref(),
            Some(LOG),
            "at once"
        );
        // Nine times a second, each twice.
        for step in 1..270 {
            let now = at(step * 111);
            let log = complaints.hear(now, Way::Log, LOG);
            let error = complaints.hear(now, Way::Error, ERROR);
            assert_eq!((log, error), (None, None), "{now:?}");
        }
        let line = complaints.hear(at(30_000), Way::Error, ERROR).unwrap();
        assert_eq!(line, format!("{ERROR} (270 times in 30 s)"));
        assert_eq!(complaints.hear(at(30_001), Way::Log, LOG), None);
    }

    #[test]
    fn what_was_counted_is_said_also_when_it_has_ceased() {
        let complaints = Complaints::default();
        complaints.hear(at(0), Way::Log, LOG);
        complaints.hear(at(1_000), Way::Log, LOG);
        assert!(complaints.overdue(at(29_999)).is_empty());
        assert_eq!(
            complaints.overdue(at(31_000)),
            [format!("{LOG} (1 times in 31 s)")]
        );
        assert!(complaints.overdue(at(62_000)).is_empty());
        assert!(complaints.known().is_empty(), "old ones are forgotten");
        assert!(complaints.hear(at(62_001), Way::Log, LOG).is_some());
    }

    #[test]
    fn brokers_and_kinds_are_told_apart_and_numbers_are_not() {
        let same = [
            "h:9092/1: Timed out 3 in-flight, 0 retry-queued, 12 out-queue, 1 partially-sent requests",
            "[thrd:h:9092/1]: flumen#producer-3: h:9092/1: Timed out 41 in-flight, 2 retry-queued, 0 \
             out-queue, 0 partially-sent requests (after 60061ms in state UP)",
        ];
        assert_eq!(kind_of(same[0]), kind_of(same[1]));
        let others = [
            LOG,
            "h:9092/1: Disconnected (after 12ms in state UP)",
            "h:9093/2: Disconnected (after 12ms in state UP)",
            "other:9092/1: Disconnected (after 12ms in state UP)",
            "1/1 brokers are down",
        ];
        let kinds: std::collections::BTreeSet<_> = others.map(kind_of).into_iter().collect();
        assert_eq!(kinds.len(), others.len(), "{kinds:?}");
        assert_eq!(kind_of(LOG), kind_of(ERROR));
    }

    #[test]
    fn memory_for_kinds_is_bounded() {
        let complaints = Complaints::default();
        let letters = |number: usize| "x".repeat(number + 1);
        for number in 0..2 * KINDS_MAX {
            complaints.hear(at(0), Way::Log, &letters(number));
        }
        assert_eq!(complaints.known().len(), KINDS_MAX + 1);
    }
}
