//! Names of rolled files: `<prefix><start ms>-<n>[.ext]`, or with `pathManager = ROLLTIME`
//! `<prefix><yyyyMMddHHmmss>-<n>[.ext]`; n counts from 1 per sink.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::FileRollConfig;

/// Gives out the names of one sink.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    extension: String,
    roll_time: bool,
    start_ms: u64,
    file_count: u64,
    zone: TimeZone,
}

impl Names {
    /// Names for a sink that was made at `start_ms`.
    pub(super) fn new(config: &FileRollConfig, start_ms: u64, zone: TimeZone) -> Self {
        Self {
            prefix: config.prefix.clone(),
            extension: config.extension.clone(),
            roll_time: config.roll_time_names,
            start_ms,
            file_count: 0,
            zone,
        }
    }

    /// The next name; `now_ms` is the time of the roll.
    pub(super) fn next(&mut self, now_ms: u64) -> String {
        self.file_count += 1;
        let moment = if self.roll_time {
            let instant = Timestamp::from_millisecond(now_ms.cast_signed());
            let time = instant
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_zoned(self.zone.clone());
            time.strftime("%Y%m%d%H%M%S").to_string()
        } else {
            self.start_ms.to_string()
        };
        let dot = if self.extension.is_empty() { "" } else { "." };
        format!(
            "{}{moment}-{}{dot}{}",
            self.prefix, self.file_count, self.extension
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SerializerConfig;

    fn names(roll_time: bool, prefix: &str, extension: &str) -> Names {
        let config = FileRollConfig {
            directory: "/tmp".into(),
            roll_interval: None,
            serializer: SerializerConfig::Text {
                append_newline: true,
            },
            batch_size: 100,
            roll_time_names: roll_time,
            prefix: prefix.to_owned(),
            extension: extension.to_owned(),
        };
        Names::new(&config, 1_709_568_429_123, TimeZone::UTC)
    }

    #[test]
    fn default_names_carry_the_start_and_a_count() {
        let mut plain = names(false, "", "");
        assert_eq!(plain.next(1_709_568_500_000), "1709568429123-1");
        assert_eq!(plain.next(1_709_568_600_000), "1709568429123-2");
        assert_eq!(names(false, "a-", "log").next(0), "a-1709568429123-1.log");
    }

    #[test]
    fn rolltime_names_carry_the_time_of_the_roll() {
        let mut named = names(true, "p", "txt");
        assert_eq!(named.next(1_709_568_429_123), "p20240304160709-1.txt");
        assert_eq!(named.next(1_709_568_430_123), "p20240304160710-2.txt");
    }
}
