//! The Kafka sink.

use crate::config::diagnostic::{Finding, Findings};
use crate::config::kafka_producer;
use crate::config::model::KafkaSinkConfig;
use crate::config::section::Section;

/// `type = org.apache.flume.sink.kafka.KafkaSink`.
pub(super) fn kafka(section: &Section, findings: &mut Findings) -> KafkaSinkConfig {
    let optional = |key: &str| section.written(key).map(|value| value.text.clone());
    KafkaSinkConfig {
        bootstrap_servers: servers(section, findings),
        topic: section.string("kafka.topic"),
        batch_size: section.number("flumeBatchSize"),
        flume_event_format: section.boolean("useFlumeEventFormat"),
        allow_topic_override: section.boolean("allowTopicOverride"),
        topic_header: section.string("topicHeader"),
        default_partition: section
            .written("defaultPartitionId")
            .map(|_| section.number("defaultPartitionId")),
        partition_header: optional("partitionIdHeader"),
        timestamp_header: optional("timestampHeader"),
        header_names: section
            .below("header.")
            .into_iter()
            .map(|(flume, value)| (flume, value.text))
            .collect(),
        producer: kafka_producer::settings(&section.below("kafka.producer."), findings),
    }
}

/// The brokers without blanks and empty entries; each must be `host:port`.
fn servers(section: &Section, findings: &mut Findings) -> String {
    let Some(value) = section.written("kafka.bootstrap.servers") else {
        return String::new();
    };
    let servers: Vec<&str> = value
        .text
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .collect();
    for server in &servers {
        let port = server
            .rsplit_once(':')
            .and_then(|(host, port)| (!host.is_empty()).then_some(port)?.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) || server.contains(char::is_whitespace) {
            findings.add(
                Finding::error("bad-value", format!("`{server}` is not `host:port`."))
                    .at(&value.place)
                    .key(&value.key)
                    .flume("fails to start the sink: Invalid url in bootstrap.servers.")
                    .remedy("Write host:port,host:port."),
            );
        }
    }
    if servers.is_empty() {
        findings.add(
            Finding::error("bad-value", "No broker is named.")
                .at(&value.place)
                .key(&value.key)
                .flume("fails to start the sink.")
                .remedy("Write host:port,host:port."),
        );
    }
    servers.join(",")
}
