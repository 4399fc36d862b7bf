//! Sinks: channel, group, and the small kinds; `hdfs` and `kafka` have files of their own.

use std::path::PathBuf;
use std::time::Duration;

use super::serializer::serializer;
use super::source::unknown_channel;
use super::{Build, hdfs, kafka};
use crate::config::catalogue;
use crate::config::diagnostic::{Finding, Findings, Place};
use crate::config::model::{FileRollConfig, SinkConfig, SinkKind};
use crate::config::schema::Role;
use crate::config::section::Section;

/// A sink of any kind that runs.
pub(in crate::config) fn sink(
    build: &Build<'_>,
    name: &str,
    section: &Section,
    anchor: &Place,
    findings: &mut Findings,
) -> Option<SinkConfig> {
    let channel = section.string("channel");
    if let Some(value) = section
        .written("channel")
        .filter(|_| !build.channel_names.contains(&channel))
    {
        findings.add(
            unknown_channel(build, &channel, "sink")
                .at(&value.place)
                .key(&value.key),
        );
    }
    let component = catalogue::find(Role::Sink, section.text("type")?)?;
    let kind = match component.name() {
        "logger" => SinkKind::Logger {
            bytes_max: usize::try_from(section.integer("maxBytesToLog")?).ok(),
        },
        "null" => SinkKind::Null {
            batch_size: section.number("batchSize"),
            log_every_events: section.number("logEveryNEvents"),
        },
        "file_roll" => SinkKind::FileRoll(file_roll(section, findings)),
        "hdfs" => SinkKind::Hdfs(Box::new(hdfs::hdfs(build, section, anchor, findings))),
        "KafkaSink" => SinkKind::Kafka(kafka::kafka(section, findings)),
        other => unreachable!("the catalogue runs no sink {other}"),
    };
    Some(SinkConfig {
        name: name.to_owned(),
        channel,
        group: section.text("group").map(str::to_owned),
        kind,
    })
}

/// Seconds, none for 0.
pub(super) fn seconds(section: &Section, key: &str) -> Option<Duration> {
    let seconds: u64 = section.number(key);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn file_roll(section: &Section, findings: &mut Findings) -> FileRollConfig {
    let directory = PathBuf::from(section.string("sink.directory"));
    if let Some(value) = section
        .written("sink.directory")
        .filter(|_| !directory.is_dir())
    {
        findings.add(
            Finding::error(
                "no-such-directory",
                format!(
                    "`{}` is not a directory of this machine.",
                    directory.display()
                ),
            )
            .at(&value.place)
            .key(&value.key)
            .flume("fails each time it opens a file, and delivers nothing.")
            .remedy(format!("mkdir -p {}", directory.display())),
        );
    }
    FileRollConfig {
        directory,
        roll_interval: seconds(section, "sink.rollInterval"),
        serializer: serializer(section, "sink.serializer", findings),
        batch_size: section.number("sink.batchSize"),
        roll_time_names: section.text("sink.pathManager") == Some("ROLLTIME"),
        prefix: section.string("sink.pathManager.prefix"),
        extension: section.string("sink.pathManager.extension"),
    }
}
