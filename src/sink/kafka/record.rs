//! Makes a Kafka record of an event.
//!
//! Owned by one sink; its buffers are reused from one event to the next, so an event costs no
//! allocation here unless `header.*` maps headers.
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
use super::topic::TopicName;
use crate::config::KafkaSinkConfig;
use crate::event::{EventView, write_bytes, write_long};

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
        let partition = self.partition(event)?;
        let timestamp = self.timestamp(event);
        let headers = self.headers(event);
        if self.flume_event_format && !event.overlay().is_empty() {
            self.datum.clear();
            write_datum(&mut self.datum, event);
        }
        let value = match (self.flume_event_format, event.overlay().is_empty()) {
            (false, _) => event.body(),
            (true, true) => event.encoded(),
            (true, false) => &self.datum,
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

/// The event in the encoding of `AvroFlumeEvent`, what interceptors added included.
fn write_datum(out: &mut Vec<u8>, event: &EventView<'_>) {
    let headers = event.headers();
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
