//! The text of each time escape, as Java's `SimpleDateFormat` prints it in an English locale.
//!
//! Pure: a time and a letter in, text out. Names are English whatever the machine's locale; Flume
//! takes the JVM's.

use std::fmt::Write;

use jiff::Zoned;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Whether the escape's text depends on the time.
pub(super) fn is_time_escape(letter: u8) -> bool {
    b"aAbBcdeDHIjklmnMpsSyYz".contains(&letter)
}

/// Whether the escape's text changes within a minute.
pub(super) fn needs_seconds(letter: u8) -> bool {
    b"csS".contains(&letter)
}

/// Appends the text of `%letter` at `time`.
pub(super) fn write_escape(out: &mut String, letter: u8, time: &Zoned) {
    let date = time.date();
    let clock = time.time();
    let month_name = MONTHS[usize::from(date.month().unsigned_abs()) - 1];
    let hour_12 = match clock.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let written = match letter {
        b'a' => write!(out, "{}", &weekday(time)[..3]),
        b'A' => write!(out, "{}", weekday(time)),
        b'b' => write!(out, "{}", &month_name[..3]),
        b'B' => write!(out, "{month_name}"),
        b'c' => write!(
            out,
            "{} {} {} {:02}:{:02}:{:02} {:04}",
            &weekday(time)[..3],
            &month_name[..3],
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            date.year()
        ),
        b'd' => write!(out, "{:02}", date.day()),
        b'e' => write!(out, "{}", date.day()),
        b'D' => write!(
            out,
            "{:02}/{:02}/{:02}",
            date.month(),
            date.day(),
            date.year().rem_euclid(100)
        ),
        b'H' => write!(out, "{:02}", clock.hour()),
        b'I' => write!(out, "{hour_12:02}"),
        b'j' => write!(out, "{:03}", date.day_of_year()),
        b'k' => write!(out, "{}", clock.hour()),
        b'l' => write!(out, "{hour_12}"),
        b'm' => write!(out, "{:02}", date.month()),
        b'n' => write!(out, "{}", date.month()),
        b'M' => write!(out, "{:02}", clock.minute()),
        b'p' => write!(out, "{}", if clock.hour() < 12 { "AM" } else { "PM" }),
        b's' => write!(out, "{}", time.timestamp().as_millisecond() / 1000),
        b'S' => write!(out, "{:02}", clock.second()),
        b'y' => write!(out, "{:02}", date.year().rem_euclid(100)),
        b'Y' => write!(out, "{:04}", date.year()),
        b'z' => write_offset(out, time.offset().seconds()),
        _ => unreachable!("only the letters of is_time_escape are compiled"),
    };
    written.expect("writing to a String cannot fail");
}

fn weekday(time: &Zoned) -> &'static str {
    use jiff::civil::Weekday;
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn write_offset(out: &mut String, seconds: i32) -> std::fmt::Result {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time: &str, wanted: &[(u8, &str)]) {
        let time: Zoned = time.parse().unwrap();
        for (letter, text) in wanted {
            let mut out = String::new();
            write_escape(&mut out, *letter, &time);
            assert_eq!(out, *text, "%{}", char::from(*letter));
        }
    }

    #[test]
    fn every_escape_prints_what_java_prints() {
        check(
            "2024-03-05T00:07:09.987+08:00[Asia/Shanghai]",
            &[
                (b'a', "Tue"),
                (b'A', "Tuesday"),
                (b'b', "Mar"),
                (b'B', "March"),
                (b'c', "Tue Mar 5 00:07:09 2024"),
                (b'd', "05"),
                (b'e', "5"),
                (b'D', "03/05/24"),
                (b'H', "00"),
                (b'I', "12"),
                (b'j', "065"),
                (b'k', "0"),
                (b'l', "12"),
                (b'm', "03"),
                (b'n', "3"),
                (b'M', "07"),
                (b'p', "AM"),
                (b's', "1709568429"),
                (b'S', "09"),
                (b'y', "24"),
                (b'Y', "2024"),
                (b'z', "+0800"),
            ],
        );
        check(
            "2009-12-31T13:59:59-03:30[America/St_Johns]",
            &[
                (b'I', "01"),
                (b'l', "1"),
                (b'k', "13"),
                (b'p', "PM"),
                (b'j', "365"),
                (b'y', "09"),
                (b'z', "-0330"),
            ],
        );
    }
}
