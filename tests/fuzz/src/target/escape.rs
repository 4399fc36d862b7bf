//! Escapes: whatever an event's headers hold, what is rendered stays below its root and is a name that
//! a file system or a broker can take.
//!
//! ```text
//! offset  size  field
//!      0     1  flags              1: a name, not a path; 2: the local clock; 4: the other order of
//!                                  events; 16..: rounding
//!      1     1  time zone
//!      2     8  arrival
//!     10     8  now
//!     18     …  one byte of length and the text with escapes,
//!            …  then headers: one byte for the key, one byte of length, the value
//! ```

use flumen::config::Rounding;
use flumen::event::{Events, Overlay, write_bytes, write_long};
use flumen::sink::escape::{Place, Template, TimeSettings, java_time_zone};
use jiff::tz::TimeZone;

use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

/// The text of all time escapes, and a path twice while dots are taken out of it.
const RENDERED_BYTES_MIN: usize = 64 * 1024;
const HEADER_KEYS: [&str; 6] = ["a", "b", "host", "timestamp", "x-y", "A"];
const HEADERS_MAX: usize = 6;
/// What a header's value may become in a name.
const VALUE_BYTES_MAX: usize = 180;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let settings = TimeSettings {
        zone: zone(input.u8()),
        rounding: rounding(flags >> 4),
        use_local_timestamp: flags & 2 != 0,
    };
    let (arrival_ms, now_ms) = (input.u64(), input.u64());
    let text = String::from_utf8_lossy(input.short(80)).into_owned();
    let place = match flags & 1 {
        0 => Place::Path,
        _ => Place::Name,
    };
    // The defect: a path is not looked at for what climbs.
    let tested = if is_planted() { Place::Name } else { place };
    // The operator's own text is the operator's business, and the host's name the host's.
    if text.contains("%[") || text.chars().any(char::is_control) {
        return;
    }
    let template = held(RENDERED_BYTES_MIN, || {
        Template::parse(&text, tested, settings)
    });
    let mut template = template.expect("escape: without local host data every text compiles");

    let headers = headers(input);
    let overlay = Overlay::default();
    let event = |headers: &[(&str, &[u8])]| {
        let mut encoded = Vec::new();
        if !headers.is_empty() {
            write_long(&mut encoded, headers.len() as i64);
        }
        for (key, value) in headers {
            write_bytes(&mut encoded, key.as_bytes());
            write_bytes(&mut encoded, value);
        }
        encoded.extend_from_slice(&[0, 0]);
        encoded
    };
    let (with, without) = (event(&headers), event(&[]));
    let mut render = |encoded: &[u8]| {
        let mut events = Events::new(encoded, &overlay, arrival_ms);
        let view = events.next().expect("one event").expect("our own event");
        let mut out = String::new();
        let memory = RENDERED_BYTES_MIN + 8 * text.len();
        held(memory, || template.render(&view, now_ms, &mut out));
        out
    };
    let first = render(&with);
    let bare = render(&without);
    // What is kept of one event's time must not show in the next one's.
    assert_eq!(render(&with), first, "escape: another text the second time");
    assert_eq!(
        render(&without),
        bare,
        "escape: another text the second time"
    );

    let prefix = template.literal_prefix().to_owned();
    for rendered in [&first, &bare] {
        check(rendered, &prefix, &bare, place);
    }
    let escapes = text.matches('%').count();
    assert!(
        first.len() <= text.len() + escapes * (VALUE_BYTES_MAX + 80),
        "escape: {} bytes of {escapes} escapes",
        first.len()
    );
}

fn check(rendered: &str, prefix: &str, bare: &str, place: Place) {
    assert!(
        !rendered
            .chars()
            .any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
            || prefix.contains(char::REPLACEMENT_CHARACTER)
            || bare.contains(char::REPLACEMENT_CHARACTER),
        "escape: {rendered:?} cannot be a name"
    );
    if place == Place::Name {
        return;
    }
    // Whole components before the first escape are the root: no header moves it.
    let root = &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)];
    assert!(
        rendered.starts_with(root),
        "escape: {rendered:?} is not below {root:?}"
    );
    let climbs = |path: &str| path.split('/').any(|part| part == "." || part == "..");
    let below = &rendered[root.len()..];
    assert!(
        !climbs(below) || climbs(bare.get(root.len()..).unwrap_or(bare)),
        "escape: {rendered:?} climbs"
    );
}

fn headers<'a>(mut input: Input<'a>) -> Vec<(&'static str, &'a [u8])> {
    let mut headers = Vec::new();
    while !input.is_empty() && headers.len() < HEADERS_MAX {
        let key = HEADER_KEYS[usize::from(input.u8()) % HEADER_KEYS.len()];
        headers.push((key, input.short(255)));
    }
    headers
}

fn rounding(number: u8) -> Option<Rounding> {
    let number = u32::from(number);
    match number % 4 {
        0 => None,
        1 => Some(Rounding::Second(number * 4)),
        2 => Some(Rounding::Minute(number * 4)),
        _ => Some(Rounding::Hour(number)),
    }
}

/// Zones with and without daylight saving, one whose offset had seconds, one of Java's own form.
fn zone(number: u8) -> TimeZone {
    thread_local! {
        static ZONES: Vec<TimeZone> = ["UTC", "GMT+8", "Asia/Shanghai", "America/New_York",
            "Europe/Dublin", "Australia/Lord_Howe", "GMT-11:30", "Africa/Monrovia"]
            .map(|id| java_time_zone(Some(id)).expect("a zone that Java knows"))
            .into();
    }
    ZONES.with(|zones| zones[usize::from(number) % zones.len()].clone())
}
