//! What is logged, and where to, from the system properties.
//!
//! | property                 | meaning                                                            |
//! |--------------------------|--------------------------------------------------------------------|
//! | `flume.root.logger`      | `LEVEL,APPENDER…`, in any case: `INFO,console`, `DEBUG,LOGFILE`, `INFO,DAILY` |
//! | `flume.log.dir`          | directory of the file, `./logs` when not given                     |
//! | `flume.log.file`         | name of the file, `flume.log` when not given                       |
//! | `flumen.log.filter`      | levels by target, as in `info,flumen::sink=debug`; wins over the level |
//!
//! Without `flume.root.logger`: the console at INFO, or `LOGFILE` when a file or directory is named.

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;

/// When a log file makes room for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roll {
    /// `LOGFILE`: at 100 MiB; ten older files are kept.
    Size,
    /// `DAILY`: at local midnight; older files carry their date.
    Daily,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLog {
    /// Where it is.
    pub path: PathBuf,
    /// When it makes room for the next.
    pub roll: Roll,
}

/// What is logged, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The least level that is logged.
    pub level: LevelFilter,
    /// Whether lines go to standard error.
    pub console: bool,
    /// The file lines go to.
    pub file: Option<FileLog>,
    /// `flumen.log.filter`.
    pub filter: Option<String>,
    /// What in the properties could not be meant, to be logged once the log runs.
    pub warnings: Vec<String>,
}

impl LogSettings {
    /// Reads the settings; `property` looks up a system property.
    pub fn from_properties<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Self {
        let directory = property("flume.log.dir");
        let name = property("flume.log.file");
        let path = Path::new(directory.unwrap_or("./logs")).join(name.unwrap_or("flume.log"));
        let mut settings = Self {
            level: LevelFilter::INFO,
            console: false,
            file: None,
            filter: property("flumen.log.filter").map(str::to_owned),
            warnings: Vec::new(),
        };
        let root = property("flume.root.logger").unwrap_or("");
        let mut words = root.split(',').map(str::trim);
        let level = words.next().unwrap_or("");
        match log4j_level(level) {
            Some(level) => settings.level = level,
            None if level.is_empty() => {}
            None => settings.warnings.push(format!(
                "-Dflume.root.logger={root}: {level} is not a level (TRACE, DEBUG, INFO, WARN, \
                 ERROR, OFF); using INFO"
            )),
        }
        for appender in words.filter(|word| !word.is_empty()) {
            settings.add_appender(appender, root, &path);
        }
        if !settings.console && settings.file.is_none() {
            match root.is_empty() && (directory.is_some() || name.is_some()) {
                true => settings.add_appender("LOGFILE", root, &path),
                false => settings.console = true,
            }
        }
        settings
    }

    fn add_appender(&mut self, appender: &str, root: &str, path: &Path) {
        let roll = match appender.to_ascii_lowercase().as_str() {
            "console" => {
                self.console = true;
                return;
            }
            "logfile" => Roll::Size,
            "daily" => Roll::Daily,
            _ => {
                self.warnings.push(format!(
                    "-Dflume.root.logger={root}: {appender} is not an appender (console, \
                     LOGFILE, DAILY); ignored"
                ));
                return;
            }
        };
        self.file = Some(FileLog {
            path: path.to_owned(),
            roll,
        });
    }
}

fn log4j_level(word: &str) -> Option<LevelFilter> {
    Some(match word.to_ascii_uppercase().as_str() {
        "ALL" | "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        // Nothing of ours is FATAL: what would be is an ERROR.
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        "OFF" => LevelFilter::OFF,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &[(&str, &'static str)]) -> LogSettings {
        LogSettings::from_properties(|key| {
            let found = properties.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn root_logger_is_read_in_any_case() {
        for (root, level, console, roll, warning_count) in [
            ("INFO,console", LevelFilter::INFO, true, None, 0),
            ("INFO,CONSOLE", LevelFilter::INFO, true, None, 0),
            ("debug, Console", LevelFilter::DEBUG, true, None, 0),
            (
                "DEBUG,LOGFILE",
                LevelFilter::DEBUG,
                false,
                Some(Roll::Size),
                0,
            ),
            ("warn,daily", LevelFilter::WARN, false, Some(Roll::Daily), 0),
            (
                "INFO,console,LOGFILE",
                LevelFilter::INFO,
                true,
                Some(Roll::Size),
                0,
            ),
            ("ALL,console", LevelFilter::TRACE, true, None, 0),
            ("FATAL,console", LevelFilter::ERROR, true, None, 0),
            ("OFF,console", LevelFilter::OFF, true, None, 0),
            ("ERROR", LevelFilter::ERROR, true, None, 0),
            (",console", LevelFilter::INFO, true, None, 0),
            ("", LevelFilter::INFO, true, None, 0),
            ("LOUD,console", LevelFilter::INFO, true, None, 1),
            ("INFO,syslog", LevelFilter::INFO, true, None, 1),
        ] {
            let settings = read(&[("flume.root.logger", root)]);
            assert_eq!(settings.level, level, "{root}");
            assert_eq!(settings.console, console, "{root}");
            assert_eq!(settings.file.as_ref().map(|file| file.roll), roll, "{root}");
            assert_eq!(settings.warnings.len(), warning_count, "{root}");
        }
    }

    #[test]
    fn file_has_flumes_place_unless_named() {
        let default = read(&[("flume.root.logger", "INFO,LOGFILE")]);
        assert_eq!(default.file.unwrap().path, Path::new("./logs/flume.log"));
        let named = read(&[
            ("flume.root.logger", "INFO,DAILY"),
            ("flume.log.dir", "/var/log/flume"),
            ("flume.log.file", "a1.log"),
        ]);
        assert_eq!(named.file.unwrap().path, Path::new("/var/log/flume/a1.log"));
    }

    #[test]
    fn named_file_without_a_root_logger_is_written() {
        let settings = read(&[("flume.log.file", "a1.log")]);
        assert!(!settings.console);
        assert_eq!(settings.file.unwrap().roll, Roll::Size);
    }
}
