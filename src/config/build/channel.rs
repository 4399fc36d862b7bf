//! Channels: sizes that must fit each other, and directories.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Build;
use crate::config::diagnostic::{Finding, Findings, Place};
use crate::config::model::{ChannelConfig, ChannelKind, FileChannelConfig};
use crate::config::section::Section;
use crate::limits;

/// Flume counts bytes in slots of 100, as a Java int.
const BYTES_UNLIMITED: u64 = 2_147_483_647 * 100;
const CHECKPOINT_INTERVAL_MIN_MS: u64 = 1000;
const REQUIRED_SPACE_MIN_BYTES: u64 = 1_048_576;

/// A channel of type `memory` or `file`.
pub(in crate::config) fn channel(
    build: &Build<'_>,
    name: &str,
    section: &Section,
    anchor: &Place,
    findings: &mut Findings,
) -> Option<ChannelConfig> {
    let capacity_events: u64 = section.number("capacity");
    let transaction_capacity: usize = section.number("transactionCapacity");
    if transaction_capacity as u64 > capacity_events {
        let written = section
            .written("transactionCapacity")
            .or_else(|| section.written("capacity"));
        let finding = Finding::error(
            "transaction-over-capacity",
            format!("The channel's transactionCapacity, {transaction_capacity}, is greater than its capacity, {capacity_events}."),
        )
        .flume("removes the channel, and with it the sources and sinks on it.")
        .remedy(format!("Set transactionCapacity to {capacity_events} or less, or capacity to {transaction_capacity} or more."));
        findings.add(match written {
            Some(value) => finding.at(&value.place).key(&value.key),
            None => finding.at(anchor),
        });
    }
    let kind = if section
        .text("type")
        .is_some_and(|kind| kind.eq_ignore_ascii_case("memory") || kind.ends_with("MemoryChannel"))
    {
        ChannelKind::Memory {
            capacity_bytes: memory_bytes(section),
        }
    } else {
        ChannelKind::File(file(build, name, section, anchor, findings))
    };
    Some(ChannelConfig {
        name: name.to_owned(),
        capacity_events,
        transaction_capacity,
        keep_alive: Duration::from_secs(section.number("keep-alive")),
        kind,
    })
}

fn memory_bytes(section: &Section) -> u64 {
    let bytes: u64 = section.number("byteCapacity");
    let buffer: u64 = section.number("byteCapacityBufferPercentage");
    if bytes == 0 {
        BYTES_UNLIMITED
    } else {
        bytes / 100 * (100 - buffer) + bytes % 100 * (100 - buffer) / 100
    }
}

fn file(
    build: &Build<'_>,
    name: &str,
    section: &Section,
    anchor: &Place,
    findings: &mut Findings,
) -> FileChannelConfig {
    let home = &build.surroundings.home;
    let base = home.join(".flume/file-channel");
    let base = if build.default_directories > 1 {
        base.join(name)
    } else {
        base
    };
    let checkpoint = section.written("checkpointDir");
    let data = section.written("dataDirs");
    if build.default_directories > 1 && (checkpoint.is_none() || data.is_none()) {
        findings.add(
            Finding::warning(
                "default-directories",
                format!("Several file channels leave out checkpointDir or dataDirs; this one gets {}.", base.display()),
            )
            .at(anchor)
            .key(format!("{}.channels.{name}", build.agent))
            .flume("gives all of them the same directory; all but one fail: Cannot lock …. The directory is already locked.")
            .remedy("Give each channel its own checkpointDir and dataDirs."),
        );
    }
    let checkpoint_dir = checkpoint.map_or_else(
        || base.join("checkpoint"),
        |value| expand_home(home, &value.text),
    );
    let data_dirs: Vec<PathBuf> = match data {
        None => vec![base.join("data")],
        Some(value) => value
            .text
            .split(',')
            .map(str::trim)
            .filter(|dir| !dir.is_empty())
            .map(|dir| expand_home(home, dir))
            .collect(),
    };
    if let Some(value) = data {
        let mut sorted = data_dirs.clone();
        sorted.sort();
        sorted.dedup();
        if data_dirs.is_empty()
            || sorted.len() < data_dirs.len()
            || data_dirs.contains(&checkpoint_dir)
        {
            findings.add(
                Finding::error(
                    "same-directory",
                    "dataDirs must name at least one directory, none twice, and not checkpointDir.",
                )
                .at(&value.place)
                .key(&value.key)
                .flume("cannot lock the directory a second time, and the channel stays closed.")
                .remedy("Name different directories, best on different disks."),
            );
        }
    }
    FileChannelConfig {
        checkpoint_dir,
        data_dirs,
        checkpoint_interval: Duration::from_millis(at_least(
            section,
            "checkpointInterval",
            CHECKPOINT_INTERVAL_MIN_MS,
            findings,
        )),
        segment_bytes: segment_bytes(section, findings),
        minimum_required_space: at_least(
            section,
            "minimumRequiredSpace",
            REQUIRED_SPACE_MIN_BYTES,
            findings,
        ),
        capacity_bytes: section
            .written("capacityBytes")
            .map(|_| section.number("capacityBytes")),
    }
}

fn expand_home(home: &Path, directory: &str) -> PathBuf {
    match directory.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(directory),
    }
}

fn at_least(section: &Section, key: &str, min: u64, findings: &mut Findings) -> u64 {
    clamp(
        section,
        key,
        min,
        u64::MAX,
        "raises it to the least value as well.",
        findings,
    )
}

fn segment_bytes(section: &Section, findings: &mut Findings) -> u64 {
    let bytes = clamp(
        section,
        "maxFileSize",
        limits::SEGMENT_BYTES_MIN,
        limits::SEGMENT_BYTES_MAX,
        "has no least size, and caps at 1623195647.",
        findings,
    );
    bytes - bytes % limits::ALIGN_BYTES as u64
}

fn clamp(
    section: &Section,
    key: &str,
    min: u64,
    max: u64,
    flume: &str,
    findings: &mut Findings,
) -> u64 {
    let bytes: u64 = section.number(key);
    let clamped = bytes.clamp(min, max);
    if let Some(value) = section.written(key).filter(|_| clamped != bytes) {
        findings.add(
            Finding::warning(
                "out-of-range",
                format!("{bytes} is out of range; {clamped} counts."),
            )
            .at(&value.place)
            .key(&value.key)
            .flume(flume)
            .remedy(format!(
                "Write a value from {min}{}.",
                if max == u64::MAX {
                    String::from(" up")
                } else {
                    format!(" to {max}")
                }
            )),
        );
    }
    clamped
}
