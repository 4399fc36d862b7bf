//! The HDFS sink: paths, rolling, file types and codecs that must fit each other.

use std::path::PathBuf;
use std::time::Duration;

use super::Build;
use super::serializer::serializer;
use super::sink::seconds;
use crate::config::diagnostic::{Finding, Findings, Place};
use crate::config::model::{HdfsCodec, HdfsFileType, HdfsSinkConfig, Rounding};
use crate::config::section::{Section, Value};
use crate::config::surroundings::Surroundings;

/// `type = hdfs`.
pub(super) fn hdfs(
    build: &Build<'_>,
    section: &Section,
    anchor: &Place,
    findings: &mut Findings,
) -> HdfsSinkConfig {
    path(section, findings);
    rolling(section, anchor, findings);
    let (file_type, codec) = file_type(section, findings);
    let retry_seconds = section.integer("hdfs.retryInterval").unwrap_or_default();
    let tries: u32 = section.number("hdfs.closeTries");
    let in_use_suffix = if section.boolean("hdfs.emptyInUseSuffix") {
        String::new()
    } else {
        section.string("hdfs.inUseSuffix")
    };
    let optional = |key: &str| section.written(key).map(|value| value.text.clone());
    kerberos(section, findings);
    HdfsSinkConfig {
        path: section.string("hdfs.path"),
        file_prefix: section.string("hdfs.filePrefix"),
        file_suffix: suffix(section, findings),
        in_use_prefix: section.string("hdfs.inUsePrefix"),
        in_use_suffix,
        roll_interval: seconds(section, "hdfs.rollInterval"),
        roll_bytes: Some(section.number("hdfs.rollSize")).filter(|bytes| *bytes > 0),
        roll_events: Some(section.number("hdfs.rollCount")).filter(|events| *events > 0),
        idle_timeout: seconds(section, "hdfs.idleTimeout"),
        batch_size: section.number("hdfs.batchSize"),
        file_type,
        codec,
        serializer: serializer(section, "serializer", findings),
        open_files_max: section.number("hdfs.maxOpenFiles"),
        call_timeout: Some(section.number("hdfs.callTimeout"))
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        close_tries: if retry_seconds <= 0 {
            Some(1)
        } else {
            Some(tries).filter(|tries| *tries > 0)
        },
        retry_interval: Duration::from_secs(u64::try_from(retry_seconds).unwrap_or_default()),
        round: rounding(section, findings),
        time_zone: time_zone(section, findings),
        use_local_timestamp: section.boolean("hdfs.useLocalTimeStamp"),
        kerberos_principal: optional("hdfs.kerberosPrincipal"),
        kerberos_keytab: optional("hdfs.kerberosKeytab").map(PathBuf::from),
        proxy_user: optional("hdfs.proxyUser"),
        hadoop_conf_dir: hadoop_conf_dir(build.surroundings),
    }
}

fn bad(value: &Value, message: impl Into<String>) -> Finding {
    Finding::error("bad-value", message)
        .at(&value.place)
        .key(&value.key)
}

fn path(section: &Section, findings: &mut Findings) {
    let Some(value) = section.written("hdfs.path") else {
        return;
    };
    let scheme = value.text.split_once("://").map_or_else(
        || value.text.split_once(":/").map(|(scheme, _)| scheme),
        |(scheme, _)| Some(scheme),
    );
    match scheme {
        None | Some("hdfs" | "viewfs") => {}
        Some("file") => findings.add(
            bad(
                value,
                "The HDFS sink does not write to a local file system.",
            )
            .flume("writes there.")
            .remedy("Use type = file_roll."),
        ),
        Some(scheme) => findings.add(
            bad(
                value,
                format!("The HDFS sink writes to hdfs:// and viewfs://, not to {scheme}://."),
            )
            .flume("writes there, if the Hadoop libraries of that store are on its class path.")
            .remedy("Deliver to HDFS or Kafka and copy from there, or keep this sink on Flume."),
        ),
    }
}

fn suffix(section: &Section, findings: &mut Findings) -> String {
    let suffix = section.string("hdfs.fileSuffix");
    if let Some(value) = section
        .written("hdfs.fileSuffix")
        .filter(|value| value.text.contains('%'))
    {
        findings.add(
            Finding::warning(
                "no-escapes",
                "hdfs.fileSuffix holds no escapes: `%` stays in the file name as it is.",
            )
            .at(&value.place)
            .key(&value.key)
            .flume("does the same.")
            .remedy("Put the escape into hdfs.filePrefix or hdfs.path."),
        );
    }
    suffix
}

fn rolling(section: &Section, anchor: &Place, findings: &mut Findings) {
    if section.written("hdfs.rollCount").is_none() {
        findings.add(
            Finding::warning("small-files", "hdfs.rollCount is not set, and its default makes a new file every 10 events.")
                .at(anchor)
                .flume("does the same; it is the usual cause of many small files.")
                .remedy("Set hdfs.rollCount = 0, and hdfs.rollSize and hdfs.rollInterval to what a file should be."),
        );
    } else if section.written("hdfs.rollSize").is_none() {
        findings.add(
            Finding::warning(
                "small-files",
                "hdfs.rollSize is not set, and its default makes a new file every 1024 bytes.",
            )
            .at(anchor)
            .flume("does the same.")
            .remedy("Set hdfs.rollSize; 0 turns it off, 134217728 is a block of HDFS."),
        );
    }
}

fn file_type(section: &Section, findings: &mut Findings) -> (HdfsFileType, Option<HdfsCodec>) {
    let codec = section.written("hdfs.codeC");
    match section.text("hdfs.fileType") {
        Some("DataStream") => {
            if let Some(value) = codec {
                findings.add(
                    bad(value, "A DataStream is not compressed, so it has no codec.")
                        .flume("removes the sink and starts without it.")
                        .remedy("Set hdfs.fileType = CompressedStream, or remove hdfs.codeC."),
                );
            }
            (HdfsFileType::DataStream, None)
        }
        Some("CompressedStream") => {
            if let (None, Some(value)) = (codec, section.written("hdfs.fileType")) {
                findings.add(
                    bad(value, "A CompressedStream needs hdfs.codeC.")
                        .flume("removes the sink and starts without it.")
                        .remedy("Add hdfs.codeC = gzip, bzip2, snappy, zstd or deflate."),
                );
            }
            (
                HdfsFileType::CompressedStream,
                codec.and_then(|value| codec_named(value, findings)),
            )
        }
        _ => {
            let kind = match section.text("hdfs.writeFormat") {
                Some(format)
                    if format.eq_ignore_ascii_case("Writable")
                        || format.ends_with("HDFSWritableSerializer$Builder") =>
                {
                    HdfsFileType::SequenceWritable
                }
                Some(format)
                    if format.eq_ignore_ascii_case("Text")
                        || format.ends_with("HDFSTextSerializer$Builder") =>
                {
                    HdfsFileType::SequenceText
                }
                format => {
                    if let Some(value) = section.written("hdfs.writeFormat") {
                        findings.add(
                            bad(
                                value,
                                format!(
                                    "`{}` is not Writable or Text.",
                                    format.unwrap_or_default()
                                ),
                            )
                            .flume("runs classes it finds, else the sink fails.")
                            .remedy("Write Writable or Text."),
                        );
                    }
                    HdfsFileType::SequenceWritable
                }
            };
            (kind, codec.and_then(|value| codec_named(value, findings)))
        }
    }
}

fn codec_named(value: &Value, findings: &mut Findings) -> Option<HdfsCodec> {
    let simple = value
        .text
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let codec = match simple.strip_suffix("codec").unwrap_or(&simple) {
        "gzip" => HdfsCodec::Gzip,
        "bzip2" => HdfsCodec::Bzip2,
        "snappy" => HdfsCodec::Snappy,
        "zstd" | "zstandard" => HdfsCodec::Zstd,
        "deflate" | "default" => HdfsCodec::Deflate,
        other => {
            let lz = matches!(other, "lzo" | "lzop" | "lz4");
            findings.add(
                bad(
                    value,
                    if lz {
                        format!("The codec {other} is not available.")
                    } else {
                        format!("`{}` is not a codec.", value.text)
                    },
                )
                .flume(
                    "uses it, if the Hadoop libraries are on its class path, else the sink fails.",
                )
                .remedy("Use gzip, bzip2, snappy, zstd or deflate."),
            );
            return None;
        }
    };
    Some(codec)
}

fn rounding(section: &Section, findings: &mut Findings) -> Option<Rounding> {
    if !section.boolean("hdfs.round") {
        if let Some(value) = section
            .written("hdfs.roundValue")
            .or_else(|| section.written("hdfs.roundUnit"))
        {
            findings.add(
                Finding::warning("no-effect", "It has no effect without `hdfs.round = true`.")
                    .at(&value.place)
                    .key(&value.key)
                    .flume("does not round, too.")
                    .remedy("Set hdfs.round = true, or remove the line."),
            );
        }
        return None;
    }
    let value = section.integer("hdfs.roundValue").unwrap_or_default();
    let (max, make): (u32, fn(u32) -> Rounding) = match section.text("hdfs.roundUnit") {
        Some("hour") => (24, Rounding::Hour),
        Some("minute") => (60, Rounding::Minute),
        _ => (60, Rounding::Second),
    };
    if let Some(value) = u32::try_from(value)
        .ok()
        .filter(|value| (1..=max).contains(value))
    {
        return Some(make(value));
    }
    let written = section.written("hdfs.roundValue")?;
    findings.add(
        Finding::warning(
            "out-of-range",
            format!("{value} is out of range, 1 to {max}; nothing is rounded."),
        )
        .at(&written.place)
        .key(&written.key)
        .flume("turns rounding off with a warning, too.")
        .remedy("Correct the value."),
    );
    None
}

fn time_zone(section: &Section, findings: &mut Findings) -> Option<String> {
    let value = section.written("hdfs.timeZone")?;
    if jiff::tz::TimeZone::get(&value.text).is_err() {
        findings.add(
            bad(
                value,
                format!("`{}` is not a time zone of this machine.", value.text),
            )
            .flume("takes GMT for a zone it does not know, without a word.")
            .remedy("Write a zone as Europe/Berlin or UTC; check that tzdata is installed."),
        );
    }
    Some(value.text.clone())
}

fn kerberos(section: &Section, findings: &mut Findings) {
    let pair = (
        section.written("hdfs.kerberosPrincipal"),
        section.written("hdfs.kerberosKeytab"),
    );
    if let (Some(value), None) | (None, Some(value)) = pair {
        findings.add(
            bad(
                value,
                "hdfs.kerberosPrincipal and hdfs.kerberosKeytab need each other.",
            )
            .flume("removes the sink and starts without it.")
            .remedy("Set both, or neither."),
        );
    }
}

/// `--conf` if Hadoop's files are there, else `HADOOP_CONF_DIR`.
fn hadoop_conf_dir(surroundings: &Surroundings) -> Option<PathBuf> {
    let has_site =
        |dir: &&PathBuf| dir.join("core-site.xml").is_file() || dir.join("hdfs-site.xml").is_file();
    let conf = surroundings.conf_dir.as_ref().filter(has_site).cloned();
    conf.or_else(|| {
        surroundings
            .environment
            .get("HADOOP_CONF_DIR")
            .map(PathBuf::from)
    })
}
