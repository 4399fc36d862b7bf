//! Makes a Kafka record of an event.
//!
//! Owned by one sink; its buffers are reused from one event to the next, so an event costs no
//! allocation here unless `header.*` maps headers or `useFlumeEventFormat` puts them in order.
//!
//! | record    | from                                                                         |
//! |-----------|------------------------------------------------------------------------------|
//! | topic     | [`TopicName`]                                                                |
//! | partition | `partitionIdHeader` of the event, else `defaultPartitionId`, else Kafka's choice |
//! | key       | header `key`                                                                 |
//! | timestamp | `timestampHeader` of the event, else now                                     |
//! | headers   | `header.<flume header> = <kafka header>`                                      |
//! | value     | the body, or with `useFlumeEventFormat` the event as a bare Avro datum       |

use rdkafka::message::{Header, OwnedHeaders};

use super::client::SlotRecord;
use super::error::KafkaSinkError;
use super::topic::{TopicName, is_topic, shown};
use crate::config::KafkaSinkConfig;
use crate::event::{EventView, java_hash_map_order, write_bytes, write_long};

/// Flume's header for the record's key.
const KEY_HEADER: &[u8] = b"key";

/// Builds the records of one sink.
#[derive(Debug)]
pub struct RecordWriter {
    topic_name: TopicName,
    partition_header: Option<String>,
    default_partition: Option<i32>,
    timestamp_header: Option<String>,
    header_names: Vec<(String, String)>,
    flume_event_format: bool,
    topic: String,
    /// The last topic that was looked at and found to be one.
    good_topic: String,
    datum: Vec<u8>,
    bad_timestamps: u64,
}

impl RecordWriter {
    /// Rules of one sink.
    #[must_use]
    pub fn new(config: &KafkaSinkConfig, topic_name: TopicName) -> Self {
        Self {
            topic_name,
            partition_header: config.partition_header.clone(),
            default_partition: config.default_partition,
            timestamp_header: config.timestamp_header.clone(),
            header_names: config.header_names.clone().into_iter().collect(),
            flume_event_format: config.flume_event_format,
            topic: String::new(),
            good_topic: String::new(),
            datum: Vec::new(),
            bad_timestamps: 0,
        }
    }

    /// The record of `event`, to be counted under `slot`.
    pub(super) fn write<'a>(
        &'a mut self,
        event: &EventView<'a>,
        slot: usize,
    ) -> Result<SlotRecord<'a>, KafkaSinkError> {
        self.topic_name
            .resolve(event, &mut self.topic)
            .map_err(|source| KafkaSinkError::Topic {
                topic: self.topic_name.text().to_owned(),
                source,
            })?;
        if self.topic.is_empty() || self.topic != self.good_topic {
            if !is_topic(&self.topic) {
                return Err(KafkaSinkError::InvalidTopic {
                    topic: shown(&self.topic),
                });
            }
            self.good_topic.clone_from(&self.topic);
        }
        let partition = self.partition(event)?;
        let timestamp = self.timestamp(event);
        let headers = self.headers(event);
        let value = if self.flume_event_format {
            self.datum.clear();
            write_datum(&mut self.datum, event);
            &self.datum
        } else {
            event.body()
        };
        let mut record = SlotRecord::with_opaque_to(&self.topic, slot).payload(value);
        record.partition = partition;
        record.timestamp = timestamp;
        record.headers = headers;
        record.key = event.header(KEY_HEADER);
        Ok(record)
    }

    /// The topic of the last record.
    pub(super) fn last_topic(&self) -> &str {
        &self.topic
    }

    /// Events since the last call whose `timestampHeader` was no number.
    pub(super) fn take_bad_timestamps(&mut self) -> u64 {
        std::mem::take(&mut self.bad_timestamps)
    }

    fn partition(&self, event: &EventView<'_>) -> Result<Option<i32>, KafkaSinkError> {
        let Some(header) = &self.partition_header else {
            return Ok(self.default_partition);
        };
        let Some(value) = event.header(header.as_bytes()) else {
            return Ok(self.default_partition);
        };
        let number = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i32>().ok())
            .filter(|number| *number >= 0);
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(KafkaSinkError::Partition {
                header: header.clone(),
                value: String::from_utf8_lossy(value).into_owned(),
            }),
        }
    }

    fn timestamp(&mut self, event: &EventView<'_>) -> Option<i64> {
        let value = event.header(self.timestamp_header.as_ref()?.as_bytes())?;
        let number = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .filter(|number| *number >= 0);
        self.bad_timestamps += u64::from(number.is_none());
        number
    }

    fn headers(&self, event: &EventView<'_>) -> Option<OwnedHeaders> {
        let mut headers: Option<OwnedHeaders> = None;
        for (flume_name, kafka_name) in &self.header_names {
            let Some(value) = event.header(flume_name.as_bytes()) else {
                continue;
            };
            let others =
                headers.unwrap_or_else(|| OwnedHeaders::new_with_capacity(self.header_names.len()));
            headers = Some(others.insert(Header {
                key: kafka_name,
                value: Some(value),
            }));
        }
        headers
    }
}

/// The event in the encoding of `AvroFlumeEvent`, what interceptors added included. Flume has read the
/// headers into a Java map by then, so they stand in that map's order, each key once, in one block.
fn write_datum(out: &mut Vec<u8>, event: &EventView<'_>) {
    let mut headers = event.headers();
    java_hash_map_order(&mut headers);
    if !headers.is_empty() {
        write_long(out, headers.len() as i64);
        for (key, value) in headers {
            write_bytes(out, key);
            write_bytes(out, value);
        }
    }
    write_long(out, 0);
    write_bytes(out, event.body());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::message::Headers;

    use super::*;
    use crate::event::{Events, Overlay, OverlayHeader, encode_event};

    fn config() -> KafkaSinkConfig {
        KafkaSinkConfig {
            bootstrap_servers: String::new(),
            topic: "t".to_owned(),
            batch_size: 100,
            flume_event_format: false,
            allow_topic_override: true,
            topic_header: "topic".to_owned(),
            default_partition: None,
            partition_header: None,
            timestamp_header: None,
            header_names: BTreeMap::new(),
            producer: BTreeMap::new(),
        }
    }

    /// Gives the record of an event with `headers` and body `hello` to `see`.
    fn check(
        config: &KafkaSinkConfig,
        headers: &[(&str, &str)],
        overlay: &Overlay,
        see: impl FnOnce(Result<SlotRecord<'_>, KafkaSinkError>),
    ) -> RecordWriter {
        let topic_name = TopicName::new(config, |text| {
            let text = text.to_owned();
            Box::new(move |event, topic| {
                topic.push_str(text.trim_end_matches('%'));
                topic.push_str(&String::from_utf8_lossy(event.body()));
                Ok(())
            })
        });
        let mut writer = RecordWriter::new(config, topic_name);
        let headers = headers
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut encoded = Vec::new();
        encode_event(&mut encoded, &headers, b"hello");
        let event = Events::new(&encoded, overlay, 0).next().unwrap().unwrap();
        see(writer.write(&event, 7));
        writer
    }

    fn none() -> Overlay {
        Overlay::default()
    }

    #[test]
    fn topic_header_wins_unless_the_override_is_off() {
        let mut config = config();
        let headers = [("topic", "other")];
        check(&config, &headers, &none(), |record| {
            assert_eq!(record.unwrap().topic, "other");
        });
        check(&config, &[], &none(), |record| {
            assert_eq!(record.unwrap().topic, "t")
        });
        config.allow_topic_override = false;
        check(&config, &headers, &none(), |record| {
            assert_eq!(record.unwrap().topic, "t");
        });
    }

    #[test]
    fn escapes_are_expanded_only_while_the_override_is_on() {
        let mut config = config();
        config.topic = "x%".to_owned();
        check(&config, &[], &none(), |record| {
            assert_eq!(record.unwrap().topic, "xhello");
        });
        config.allow_topic_override = false;
        check(&config, &[], &none(), |record| {
            let error = record.err().unwrap().to_string();
            assert!(error.starts_with("`x%` cannot be the name"), "{error}");
        });
    }

    #[test]
    fn topic_that_kafka_cannot_have_is_named() {
        for (name, shown) in [("a\0b", "a\\0b"), ("a b", "a b"), ("", ""), ("..", "..")] {
            check(&config(), &[("topic", name)], &none(), |record| {
                let error = record.err().unwrap();
                let KafkaSinkError::InvalidTopic { topic } = &error else {
                    panic!("{error}");
                };
                assert_eq!(topic, shown);
                assert!(error.to_string().contains("topicHeader"), "{error}");
            });
        }
    }

    #[test]
    fn partition_header_beats_the_default_and_must_be_a_whole_number() {
        let mut config = config();
        config.default_partition = Some(2);
        config.partition_header = Some("p".to_owned());
        check(&config, &[], &none(), |record| {
            assert_eq!(record.unwrap().partition, Some(2));
        });
        check(&config, &[("p", "5")], &none(), |record| {
            assert_eq!(record.unwrap().partition, Some(5));
        });
        for wrong in ["-1", "x", "", "1.5", "99999999999"] {
            check(&config, &[("p", wrong)], &none(), |record| {
                let error = record.err().unwrap().to_string();
                assert!(
                    error.contains(&format!("header p of an event is `{wrong}`")),
                    "{error}"
                );
            });
        }
    }

    #[test]
    fn key_and_body_become_key_and_value() {
        check(&config(), &[("key", "k1")], &none(), |record| {
            let record = record.unwrap();
            assert_eq!(record.key, Some(&b"k1"[..]));
            assert_eq!(record.payload, Some(&b"hello"[..]));
            assert_eq!(record.delivery_opaque, 7);
            assert!(record.headers.is_none());
        });
        check(&config(), &[], &none(), |record| {
            assert_eq!(record.unwrap().key, None)
        });
    }

    #[test]
    fn timestamp_that_is_no_number_is_counted_and_left_out() {
        let mut config = config();
        config.timestamp_header = Some("ts".to_owned());
        check(&config, &[("ts", "1600000000000")], &none(), |record| {
            assert_eq!(record.unwrap().timestamp, Some(1_600_000_000_000));
        });
        let mut writer = check(&config, &[("ts", "soon")], &none(), |record| {
            assert_eq!(record.unwrap().timestamp, None);
        });
        assert_eq!(writer.take_bad_timestamps(), 1);
        assert_eq!(writer.take_bad_timestamps(), 0);
    }

    #[test]
    fn mapped_headers_keep_their_values_under_the_new_names() {
        let mut config = config();
        config.header_names = BTreeMap::from([
            ("a".to_owned(), "kafka-a".to_owned()),
            ("absent".to_owned(), "x".to_owned()),
        ]);
        check(&config, &[("a", "1"), ("b", "2")], &none(), |record| {
            let headers = record.unwrap().headers.unwrap();
            assert_eq!(headers.count(), 1);
            let header = headers.get(0);
            assert_eq!((header.key, header.value), ("kafka-a", Some(&b"1"[..])));
        });
    }

    #[test]
    fn flume_event_format_is_the_bare_datum_with_the_overlay_laid_over() {
        let mut config = config();
        config.flume_event_format = true;
        check(&config, &[("k", "v")], &none(), |record| {
            assert_eq!(
                record.unwrap().payload,
                Some(&b"\x02\x02k\x02v\x00\x0ahello"[..])
            );
        });
        let mut overlay = Overlay::default();
        overlay.push(OverlayHeader {
            key: b"k".to_vec(),
            value: b"w".to_vec(),
            preserve_existing: false,
        });
        check(&config, &[("k", "v")], &overlay, |record| {
            assert_eq!(
                record.unwrap().payload,
                Some(&b"\x02\x02k\x02w\x00\x0ahello"[..])
            );
        });
    }

    #[test]
    fn flume_event_format_has_the_headers_in_the_order_of_flumes_map() {
        let mut config = config();
        config.flume_event_format = true;
        let sent = [("zone", ""), ("number", ""), ("timestamp", ""), ("key", "")];
        check(&config, &sent, &none(), |record| {
            // Flume 1.11 with OpenJDK 17 wrote this.
            assert_eq!(
                record.unwrap().payload,
                Some(
                    &b"\x08\x0cnumber\x00\x08zone\x00\x06key\x00\x12timestamp\x00\x00\x0ahello"[..]
                )
            );
        });
    }
}
