//! Java's names of time zones (`hdfs.timeZone`) as zones of ours.
//!
//! `java.util.TimeZone.getTimeZone` knows the names of the time zone database, custom ids
//! `GMT[+-]h[h][[:]mm]`, and some three-letter ids that stand for a region. A name it does not know
//! silently means GMT there; here it is refused.

use jiff::tz::{Offset, TimeZone};

/// A `timeZone` that Java would have read as GMT without a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "time zone {0:?} is not known; write a name such as America/Los_Angeles, UTC or GMT+8 (Flume would have used GMT)"
)]
pub struct ZoneError(pub String);

/// Three-letter ids of Java, with what `java.time.ZoneId.SHORT_IDS` and `TimeZone` make of them.
const SHORT_IDS: &[(&str, &str)] = &[
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

/// The zone that Java means by `id`; none is the system's.
///
/// # Errors
/// [`ZoneError`] for a name Java does not know either.
pub fn java_time_zone(id: Option<&str>) -> Result<TimeZone, ZoneError> {
    let Some(id) = id.map(str::trim) else {
        return Ok(TimeZone::system());
    };
    if let Some((_, name)) = SHORT_IDS.iter().find(|(short, _)| *short == id) {
        return TimeZone::get(name).map_err(|_| ZoneError(id.to_owned()));
    }
    if let Some(offset) = custom_offset(id) {
        return Ok(TimeZone::fixed(offset));
    }
    if matches!(id, "GMT" | "UTC" | "UT" | "Z" | "Zulu") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(id).map_err(|_| ZoneError(id.to_owned()))
}

/// `GMT+8`, `GMT-03:30`, `GMT+0530`.
fn custom_offset(id: &str) -> Option<Offset> {
    let rest = id.strip_prefix("GMT")?;
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if !digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b':')
    {
        return None;
    }
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() > 2 => digits.split_at(digits.len() - 2),
        None => (digits, "0"),
    };
    let hours: i32 = hours.parse().ok().filter(|hours| *hours <= 23)?;
    let minutes: i32 = minutes.parse().ok().filter(|minutes| *minutes <= 59)?;
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_seconds(id: &str) -> i32 {
        let zone = java_time_zone(Some(id)).unwrap();
        let instant = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        zone.to_offset(instant).seconds()
    }

    #[test]
    fn java_ids_have_the_offsets_java_gives_them() {
        for (id, seconds) in [
            ("GMT+8", 28_800),
            ("GMT+08:00", 28_800),
            ("GMT-0330", -12_600),
            ("GMT", 0),
            ("UTC", 0),
            ("Asia/Shanghai", 28_800),
            ("America/Los_Angeles", -28_800),
            ("PST", -28_800),
            ("CTT", 28_800),
            ("IST", 19_800),
            ("EST", -18_000),
            ("Etc/GMT-3", 10_800),
        ] {
            assert_eq!(offset_seconds(id), seconds, "{id}");
        }
    }

    #[test]
    fn unknown_ids_are_refused() {
        for id in ["Mars/Olympus", "GMT+25", "GMT+", "beijing"] {
            assert_eq!(
                java_time_zone(Some(id)).unwrap_err(),
                ZoneError(id.to_owned())
            );
        }
    }
}
