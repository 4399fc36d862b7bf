//! `hdfs.round*`: a civil time moved down to a multiple of seconds, minutes or hours.
//!
//! Flume rounds the field of the unit by its remainder and clears what is below it, in the configured
//! time zone. The result may name a civil time that a daylight saving gap skipped; the zone decides.

use jiff::Zoned;

use crate::config::Rounding;

/// `time` moved down. Values of 0 leave the field alone (the configuration refuses them).
pub(super) fn round_down(time: &Zoned, rounding: Rounding) -> Zoned {
    let civil = time.datetime();
    let floor = |value: i8, by: u32| -> i8 {
        let by = i8::try_from(by).unwrap_or(i8::MAX).max(1);
        value - value % by
    };
    let builder = civil.with().subsec_nanosecond(0);
    let builder = match rounding {
        Rounding::Second(by) => builder.second(floor(civil.second(), by)),
        Rounding::Minute(by) => builder.second(0).minute(floor(civil.minute(), by)),
        Rounding::Hour(by) => builder.second(0).minute(0).hour(floor(civil.hour(), by)),
    };
    let rounded = builder
        .build()
        .ok()
        .and_then(|civil| civil.to_zoned(time.time_zone().clone()).ok());
    // Within an hour the offset stands still, so a repeated hour keeps its side.
    match rounded {
        Some(rounded) if rounded.timestamp() <= time.timestamp() => {
            same_side(time, rounded, rounding)
        }
        _ => time.clone(),
    }
}

/// In the hour that a clock change repeats, a civil time names two instants. Rounding keeps the one
/// with the event's own offset.
fn same_side(time: &Zoned, rounded: Zoned, rounding: Rounding) -> Zoned {
    if rounded.offset() == time.offset() || matches!(rounding, Rounding::Hour(_)) {
        return rounded;
    }
    time.offset()
        .to_timestamp(rounded.datetime())
        .map_or(rounded, |instant| {
            instant.to_zoned(time.time_zone().clone())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, rounding: Rounding, wanted: &str) {
        let time: Zoned = text.parse().unwrap();
        let wanted: Zoned = wanted.parse().unwrap();
        assert_eq!(round_down(&time, rounding), wanted, "{text} {rounding:?}");
    }

    #[test]
    fn each_unit_goes_down_to_a_multiple_and_clears_what_is_below() {
        let zone = "[Asia/Shanghai]";
        let time = format!("2024-03-05T17:47:38.123+08:00{zone}");
        for (rounding, wanted) in [
            (Rounding::Second(1), "17:47:38"),
            (Rounding::Second(10), "17:47:30"),
            (Rounding::Second(60), "17:47:00"),
            (Rounding::Minute(1), "17:47:00"),
            (Rounding::Minute(10), "17:40:00"),
            (Rounding::Minute(60), "17:00:00"),
            (Rounding::Hour(1), "17:00:00"),
            (Rounding::Hour(6), "12:00:00"),
            (Rounding::Hour(24), "00:00:00"),
        ] {
            check(&time, rounding, &format!("2024-03-05T{wanted}+08:00{zone}"));
        }
    }

    #[test]
    fn a_repeated_hour_keeps_its_side() {
        check(
            "2024-11-03T01:47:00-05:00[America/New_York]",
            Rounding::Minute(10),
            "2024-11-03T01:40:00-05:00[America/New_York]",
        );
    }
}
