//! `serializer` and its properties, shared by the sinks that write files.

use crate::config::diagnostic::{Finding, Findings};
use crate::config::model::SerializerConfig;
use crate::config::section::Section;

const PACKAGE: &str = "org.apache.flume.serialization.";
const CODECS: [&str; 5] = ["null", "deflate", "snappy", "bzip2", "zstandard"];

/// The serializer below `key`.
pub(super) fn serializer(
    section: &Section,
    key: &str,
    findings: &mut Findings,
) -> SerializerConfig {
    let text = section.string(key);
    let name = text.strip_prefix(PACKAGE).unwrap_or(&text);
    let name = name.strip_suffix("$Builder").unwrap_or(name);
    let append_newline = section.boolean(&format!("{key}.appendNewline"));
    if name.eq_ignore_ascii_case("TEXT") || name == "BodyTextEventSerializer" {
        return SerializerConfig::Text { append_newline };
    }
    if name.eq_ignore_ascii_case("HEADER_AND_TEXT") || name == "HeaderAndBodyTextEventSerializer" {
        return SerializerConfig::HeaderAndText { append_newline };
    }
    if name.eq_ignore_ascii_case("AVRO_EVENT") || name == "FlumeEventAvroEventSerializer" {
        return SerializerConfig::AvroEvent {
            sync_interval_bytes: section.number(&format!("{key}.syncIntervalBytes")),
            codec: codec(section, key, findings),
        };
    }
    if let Some(value) = section.written(key) {
        let (rule, message, remedy) = if text
            == "org.apache.flume.sink.hdfs.AvroEventSerializer$Builder"
        {
            (
                "not-yet",
                "The serializer that takes the schema from a header is not built yet.".to_owned(),
                "Use AVRO_EVENT, or keep this agent on Flume.",
            )
        } else {
            (
                "unknown-type",
                format!("`{text}` is not a serializer."),
                "Use TEXT, HEADER_AND_TEXT or AVRO_EVENT.",
            )
        };
        findings.add(
            Finding::error(rule, message)
                .at(&value.place)
                .key(&value.key)
                .flume("runs classes it finds, else the sink fails.")
                .remedy(remedy),
        );
    }
    SerializerConfig::Text { append_newline }
}

fn codec(section: &Section, key: &str, findings: &mut Findings) -> String {
    let key = format!("{key}.compressionCodec");
    let codec = section.string(&key);
    if let Some(value) = section
        .written(&key)
        .filter(|_| !CODECS.contains(&codec.as_str()))
    {
        findings.add(
            Finding::error(
                "bad-value",
                format!("`{codec}` is not one of {}.", CODECS.join(", ")),
            )
            .at(&value.place)
            .key(&value.key)
            .flume("warns and writes without compression.")
            .remedy("Correct the value."),
        );
    }
    codec
}
