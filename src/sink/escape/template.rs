//! A text with escapes, compiled once and rendered per event.
//!
//! The formatted time is kept while the events' clock stays inside one minute (one second, when the
//! text shows seconds), so rendering an event copies bytes and allocates nothing. Owned by one sink.
//!
//! | event                        | time that is used | counted as        |
//! |------------------------------|-------------------|-------------------|
//! | numeric `timestamp` header   | the header        |                   |
//! | no `timestamp` header        | its arrival       | `timestamp_missing` |
//! | any other `timestamp` header | its arrival       | `timestamp_missing` |
//! | `useLocalTimeStamp`          | now               |                   |

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::warn;

use super::clean::{Place, level_dots, push_header_value};
use super::clock_text::{is_time_escape, needs_seconds, write_escape};
use super::rounding::round_down;
use crate::config::Rounding;
use crate::event::EventView;

/// The header that carries an event's time, in milliseconds since the epoch.
pub const TIMESTAMP_HEADER: &[u8] = b"timestamp";
/// How often the same complaint about events is repeated.
const WARN_EVERY_MS: u64 = 60_000;

/// A text that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscapeError {
    /// `%[name]` of a name that is not local host data.
    #[error(
        "the static escape string '{0}' was provided but does not match any of (localhost,IP,FQDN)"
    )]
    UnknownStatic(String),
    /// The host's own name or address cannot be found.
    #[error("%[{name}] cannot be resolved: {reason}")]
    Host {
        /// `localhost`, `ip` or `fqdn`.
        name: String,
        /// What the system said.
        reason: String,
    },
}

/// How time escapes read the clock.
#[derive(Debug, Clone)]
pub struct TimeSettings {
    /// `timeZone`.
    pub zone: TimeZone,
    /// `round`, `roundValue`, `roundUnit`.
    pub rounding: Option<Rounding>,
    /// `useLocalTimeStamp`.
    pub use_local_timestamp: bool,
}

impl Default for TimeSettings {
    fn default() -> Self {
        Self {
            zone: TimeZone::system(),
            rounding: None,
            use_local_timestamp: false,
        }
    }
}

/// What rendering had to put right, since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EscapeCounters {
    /// Events without a usable `timestamp` header, rendered with their arrival time.
    pub timestamp_missing: u64,
    /// Events whose header values were changed to be harmless in a name.
    pub values_changed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Header(Vec<u8>),
    /// `%t`.
    RawTimestamp,
    /// Bytes of `formatted`, by index into `escapes`.
    Time(usize),
}

/// A compiled text.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    place: Place,
    pieces: Vec<Piece>,
    settings: TimeSettings,
    /// Letters of the time escapes, in order of appearance, and where their text ends in `formatted`.
    escapes: Vec<(u8, usize)>,
    formatted: String,
    /// Milliseconds per step in which `formatted` cannot change.
    step_ms: i64,
    /// The step `formatted` was made for.
    step: Option<i64>,
    counters: EscapeCounters,
    warned: [Option<(u64, u64)>; 2],
}

impl Template {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`EscapeError`]; all else that is not an escape is literal text.
    pub fn parse(text: &str, place: Place, settings: TimeSettings) -> Result<Self, EscapeError> {
        let mut pieces = Vec::new();
        let mut escapes = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let (escape, after) = read_escape(&rest[at..]);
            let piece = match escape {
                Escape::Literal(text) => {
                    literal.push_str(text);
                    None
                }
                Escape::Header(name) => Some(Piece::Header(name.as_bytes().to_vec())),
                Escape::Static(name) => {
                    literal.push_str(&host_text(name)?);
                    None
                }
                Escape::Letter(b't') => Some(Piece::RawTimestamp),
                Escape::Letter(letter) if is_time_escape(letter) => {
                    escapes.push((letter, 0));
                    Some(Piece::Time(escapes.len() - 1))
                }
                // Flume replaces other letters by nothing.
                Escape::Letter(letter) => {
                    let letter = char::from(letter);
                    warn!("Unrecognized escape in event format string: %{letter}");
                    None
                }
            };
            if let Some(piece) = piece {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(piece);
            }
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        let shows_seconds = escapes.iter().any(|(letter, _)| needs_seconds(*letter));
        Ok(Self {
            text: text.to_owned(),
            place,
            pieces,
            settings,
            escapes,
            formatted: String::new(),
            step_ms: if shows_seconds { 1_000 } else { 60_000 },
            step: None,
            counters: EscapeCounters::default(),
            warned: [None; 2],
        })
    }

    /// What was compiled.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, when no event can change it.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text before the first escape.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// What had to be put right so far.
    #[must_use]
    pub fn counters(&self) -> EscapeCounters {
        self.counters
    }

    /// Appends the text for `event`. `now_ms` is the wall clock.
    pub fn render(&mut self, event: &EventView<'_>, now_ms: u64, out: &mut String) {
        let mut time_is_known = true;
        let mut instant_ms = None;
        let mut changed = false;
        // Where the first header's text begins.
        let mut header_start = None;
        for index in 0..self.pieces.len() {
            match &self.pieces[index] {
                Piece::Text(text) => out.push_str(text),
                Piece::Header(name) => {
                    if let Some(value) = event.header(name) {
                        if !value.is_empty() {
                            header_start.get_or_insert(out.len());
                        }
                        changed |= push_header_value(out, value, self.place);
                    }
                }
                Piece::RawTimestamp => match header_timestamp(event) {
                    Some((text, _)) => out.push_str(text),
                    None if self.settings.use_local_timestamp => push_number(out, now_ms),
                    None => {
                        time_is_known = false;
                        push_number(out, event.arrival_ms());
                    }
                },
                Piece::Time(number) => {
                    let number = *number;
                    if instant_ms.is_none() {
                        let (found, known) = self.instant_ms(event, now_ms);
                        time_is_known &= known;
                        instant_ms = Some(found);
                        self.format(found);
                    }
                    let start = number
                        .checked_sub(1)
                        .map_or(0, |before| self.escapes[before].1);
                    out.push_str(&self.formatted[start..self.escapes[number].1]);
                }
            }
        }
        if let Some(start) = header_start
            && self.place == Place::Path
        {
            changed |= level_dots(out, start);
        }
        if !time_is_known {
            self.counters.timestamp_missing += 1;
            let count = self.counters.timestamp_missing;
            if let Some(count) = due(&mut self.warned[0], now_ms, count) {
                warn!(
                    "{count} events had no numeric header 'timestamp' for the time escapes of \
                     '{}': their arrival time was used. Add a timestamp interceptor or \
                     useLocalTimeStamp.",
                    self.text
                );
            }
        }
        if changed {
            self.counters.values_changed += 1;
            let count = self.counters.values_changed;
            if let Some(count) = due(&mut self.warned[1], now_ms, count) {
                warn!(
                    "{count} events had header values that cannot be part of a name ('{}'): \
                     control characters, ':' and dot components became '_', long values were cut",
                    self.text
                );
            }
        }
    }

    /// The instant whose time is shown, and whether the event said it.
    fn instant_ms(&self, event: &EventView<'_>, now_ms: u64) -> (i64, bool) {
        if self.settings.use_local_timestamp {
            return (now_ms.cast_signed(), true);
        }
        match header_timestamp(event) {
            Some((_, instant_ms)) => (instant_ms, true),
            None => (event.arrival_ms().cast_signed(), false),
        }
    }

    /// Makes `formatted` the texts of all time escapes at `instant_ms`.
    fn format(&mut self, instant_ms: i64) {
        let step = instant_ms.div_euclid(self.step_ms);
        if self.step == Some(step) {
            return;
        }
        let instant = Timestamp::from_millisecond(instant_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = instant.to_zoned(self.settings.zone.clone());
        let time = match self.settings.rounding {
            Some(rounding) => round_down(&time, rounding),
            None => time,
        };
        self.formatted.clear();
        for (letter, end) in &mut self.escapes {
            write_escape(&mut self.formatted, *letter, &time);
            *end = self.formatted.len();
        }
        // Zones whose offset has seconds (before 1972) shift the minutes: do not keep those.
        let keep = time.offset().seconds() % 60 == 0 || self.step_ms == 1_000;
        self.step = keep.then_some(step);
    }
}

/// The number in the timestamp header, if it is one a calendar can show.
fn header_timestamp<'a>(event: &EventView<'a>) -> Option<(&'a str, i64)> {
    let text = std::str::from_utf8(event.header(TIMESTAMP_HEADER)?).ok()?;
    let instant_ms: i64 = text.parse().ok()?;
    Timestamp::from_millisecond(instant_ms).ok()?;
    Some((text, instant_ms))
}

fn push_number(out: &mut String, number: u64) {
    use std::fmt::Write;
    write!(out, "{number}").expect("writing to a String cannot fail");
}

/// How many more there are since the last complaint, if one is due now.
fn due(last: &mut Option<(u64, u64)>, now_ms: u64, count: u64) -> Option<u64> {
    let (last_ms, last_count) = last.unwrap_or((0, 0));
    if last.is_some() && now_ms.saturating_sub(last_ms) < WARN_EVERY_MS {
        return None;
    }
    *last = Some((now_ms, count));
    Some(count - last_count)
}

enum Escape<'a> {
    Literal(&'a str),
    Header(&'a str),
    Static(&'a str),
    Letter(u8),
}

/// Reads what follows a `%` at the start of `text`; returns the rest too.
fn read_escape(text: &str) -> (Escape<'_>, &str) {
    let after = &text[1..];
    let name_until = |open: &str, close: char, allowed: fn(char) -> bool| {
        let inner = after.strip_prefix(open)?;
        let (name, rest) = inner.split_once(close)?;
        (!name.is_empty() && name.chars().all(allowed)).then_some((name, rest))
    };
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let header =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
    if let Some((name, rest)) = name_until("{", '}', header) {
        return (Escape::Header(name), rest);
    }
    if let Some((name, rest)) = name_until("[", ']', word) {
        return (Escape::Static(name), rest);
    }
    match after.chars().next() {
        Some('%') => (Escape::Literal("%"), &after[1..]),
        Some(letter) if word(letter) => (Escape::Letter(after.as_bytes()[0]), &after[1..]),
        _ => (Escape::Literal("%"), after),
    }
}

/// The text of `%[name]`, found once.
fn host_text(name: &str) -> Result<String, EscapeError> {
    let lower = name.to_ascii_lowercase();
    let fail = |reason: &dyn std::fmt::Display| EscapeError::Host {
        name: lower.clone(),
        reason: reason.to_string(),
    };
    match lower.as_str() {
        "localhost" => Ok(super::host_name()),
        "fqdn" => Ok(super::host_fqdn()),
        "ip" => {
            use std::net::ToSocketAddrs;
            let host = super::host_name();
            let found = (host.as_str(), 0)
                .to_socket_addrs()
                .map_err(|error| fail(&error))?
                .map(|address| address.ip())
                .next();
            found
                .map(|address| address.to_string().replace(':', "_"))
                .ok_or_else(|| fail(&"the host name has no address"))
        }
        _ => Err(EscapeError::UnknownStatic(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{Events, Overlay, encode_event};

    const NOW_MS: u64 = 1_700_000_000_000;
    const ARRIVAL_MS: u64 = 1_600_000_000_000;

    fn settings(zone: &str) -> TimeSettings {
        TimeSettings {
            zone: super::super::java_time_zone(Some(zone)).unwrap(),
            ..TimeSettings::default()
        }
    }

    fn render(template: &mut Template, headers: &[(&str, &str)]) -> String {
        let headers: BTreeMap<String, String> = headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut encoded = Vec::new();
        encode_event(&mut encoded, &headers, b"body");
        let overlay = Overlay::default();
        let event = Events::new(&encoded, &overlay, ARRIVAL_MS)
            .next()
            .unwrap()
            .unwrap();
        let mut out = String::new();
        template.render(&event, NOW_MS, &mut out);
        out
    }

    fn check(text: &str, headers: &[(&str, &str)], wanted: &str) {
        let mut template = Template::parse(text, Place::Path, settings("GMT+8")).unwrap();
        assert_eq!(render(&mut template, headers), wanted, "{text}");
    }

    #[test]
    fn grammar_is_that_of_flume() {
        let headers = &[("timestamp", "1709568429123"), ("a.b-c_1", "x"), ("e", "")];
        for (text, wanted) in [
            ("/plain", "/plain"),
            ("%{a.b-c_1}/%%d", "x/%d"),
            ("[%{e}]%{missing}", "[]"),
            ("%{a b}%", "%{a b}%"),
            ("%{}%{", "%{}%{"),
            ("%-%{a.b-c_1}", "%-x"),
            ("%q%_%1", ""),
            ("%Y-%m-%d/%H%M/%S", "2024-03-05/0007/09"),
            ("%t.%s", "1709568429123.1709568429"),
            ("nginx.[%{a.b-c_1}]", "nginx.[x]"),
            ("日志%d", "日志05"),
            ("%日", "%日"),
        ] {
            check(text, headers, wanted);
        }
    }

    #[test]
    fn host_escapes_ignore_case_and_others_are_refused() {
        for text in ["%[localhost]", "%[LOCALHOST]", "%[FQDN]"] {
            let template = Template::parse(text, Place::Path, TimeSettings::default()).unwrap();
            assert!(template.constant().is_some_and(|text| !text.is_empty()));
        }
        let error = Template::parse("%[host]", Place::Path, TimeSettings::default()).unwrap_err();
        assert_eq!(error, EscapeError::UnknownStatic("host".to_owned()));
    }

    #[test]
    fn events_without_a_numeric_timestamp_use_their_arrival() {
        let mut template = Template::parse("%Y/%t", Place::Path, settings("UTC")).unwrap();
        for (headers, wanted) in [
            (&[][..], "2020/1600000000000"),
            (&[("timestamp", "yesterday")][..], "2020/1600000000000"),
            (
                &[("timestamp", "99999999999999999")][..],
                "2020/1600000000000",
            ),
            (&[("timestamp", "0")][..], "1970/0"),
        ] {
            assert_eq!(render(&mut template, headers), wanted);
        }
        assert_eq!(template.counters().timestamp_missing, 3);
    }

    #[test]
    fn texts_without_time_do_not_miss_it() {
        let mut template = Template::parse("/a/%{x}", Place::Path, settings("UTC")).unwrap();
        assert_eq!(render(&mut template, &[("x", "1")]), "/a/1");
        assert_eq!(template.counters(), EscapeCounters::default());
    }

    #[test]
    fn local_timestamp_ignores_the_header() {
        let mut local = settings("UTC");
        local.use_local_timestamp = true;
        let mut template = Template::parse("%Y", Place::Path, local).unwrap();
        assert_eq!(render(&mut template, &[("timestamp", "0")]), "2023");
    }

    #[test]
    fn rounding_moves_every_escape_but_the_raw_one() {
        let mut rounded = settings("GMT+8");
        rounded.rounding = Some(Rounding::Minute(5));
        let mut template = Template::parse("%H%M%S %s %t", Place::Path, rounded).unwrap();
        assert_eq!(
            render(&mut template, &[("timestamp", "1709568429123")]),
            "000500 1709568300 1709568429123"
        );
    }

    #[test]
    fn the_kept_time_follows_the_event() {
        let mut template = Template::parse("%H%M", Place::Path, settings("UTC")).unwrap();
        for (timestamp, wanted) in [
            ("1709568479999", "1607"),
            ("1709568480000", "1608"),
            ("1709568479999", "1607"),
            ("-1", "2359"),
        ] {
            assert_eq!(render(&mut template, &[("timestamp", timestamp)]), wanted);
        }
    }

    /// Found by fuzzing: `./data/%{x}` became `_/data/…` for events that have the header.
    #[test]
    fn the_dots_before_the_first_header_are_the_operators() {
        let headers = &[("x", ".."), ("e", "")];
        check("./data/../%{e}%{x}", headers, "./data/../__");
        check("./a.%{e}/../%{x}", headers, "./a./../__");
        check(".%{x}/./b", headers, ".../_/b");
        check("./.%{missing}", headers, "./.");
    }

    #[test]
    fn hostile_values_are_counted() {
        let mut template = Template::parse("/d/%{x}/f", Place::Path, settings("UTC")).unwrap();
        assert_eq!(render(&mut template, &[("x", "../..")]), "/d/__/__/f");
        assert_eq!(render(&mut template, &[("x", "a\0")]), "/d/a_/f");
        assert_eq!(template.counters().values_changed, 2);
        let mut template = Template::parse("%{x}%{y}", Place::Path, settings("UTC")).unwrap();
        assert_eq!(render(&mut template, &[("x", "."), ("y", ".")]), "__");
    }
}
