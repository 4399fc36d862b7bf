//! Why events were not published, in words an operator can act on.

use rdkafka::error::KafkaError;

use super::topic::{EscapeError, TOPIC_BYTES_MAX};

/// Why a transaction was rolled back. The sink tries the same events again, for ever, as Flume does.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSinkError {
    /// The producer could not be made: a setting is refused by librdkafka.
    #[error("librdkafka refuses the settings of the producer")]
    Settings(#[source] KafkaError),
    /// `partitionIdHeader` names a header that is no partition.
    #[error(
        "Non integer partition id specified: header {header} of an event is `{value}`, a whole number \
         of 0 or more is needed; this event blocks the sink until partitionIdHeader is changed"
    )]
    Partition {
        /// `partitionIdHeader`.
        header: String,
        /// What the event says.
        value: String,
    },
    /// The escapes of `kafka.topic` could not be expanded.
    #[error("the escapes of kafka.topic `{topic}` could not be expanded for an event")]
    Topic {
        /// `kafka.topic`.
        topic: String,
        /// What the escape engine says.
        #[source]
        source: EscapeError,
    },
    /// Kafka has no such topics: broker after broker would refuse it, and librdkafka cannot even be asked
    /// for one with a NUL.
    #[error(
        "`{topic}` cannot be the name of a Kafka topic: that is 1 to {TOPIC_BYTES_MAX} of the characters \
         a to z, A to Z, 0 to 9, `.`, `_` and `-`, and neither `.` nor `..`; this event blocks the sink \
         until kafka.topic, topicHeader or allowTopicOverride is changed"
    )]
    InvalidTopic {
        /// Its beginning, readable.
        topic: String,
    },
    /// Larger than the producer or the broker allows.
    #[error(
        "a record of {record_bytes} bytes for topic {topic} is too large: the producer sends up to \
         {producer_bytes_max} bytes (kafka.producer.max.request.size) and the broker may allow less \
         (max.message.bytes of the topic); this event blocks the sink until they are raised"
    )]
    TooLarge {
        /// Where it should go.
        topic: String,
        /// Key and value.
        record_bytes: usize,
        /// `message.max.bytes` of the producer.
        producer_bytes_max: String,
        /// What Kafka said.
        #[source]
        source: Box<KafkaError>,
    },
    /// librdkafka or the broker refused a record, or it was not confirmed in time.
    #[error("topic {topic}, {partition}: {source}{hint}")]
    Record {
        /// Where it should go.
        topic: String,
        /// `partition N`, or that none was chosen.
        partition: String,
        /// The broker's last complaint about a connection, if any.
        hint: String,
        /// What Kafka said.
        source: Box<KafkaError>,
    },
    /// An event in the channel does not parse.
    #[error("an event in the channel is not readable")]
    Event(#[from] crate::event::AvroError),
}
