//! `type = org.apache.flume.sink.kafka.KafkaSink`.
//!
//! The sink takes transactions from its channel, makes a record of each event ([`RecordWriter`]) and
//! gives it to librdkafka ([`Client`](client::Client)). librdkafka reports each record's fate to
//! [`Deliveries`](deliveries::Deliveries), which counts per transaction; a transaction is committed
//! when all its records are confirmed and all transactions before it are committed.

mod client;
mod complaints;
mod deliveries;
mod error;
mod record;
mod settings;
mod sink;
mod topic;

pub use error::KafkaSinkError;
pub use record::RecordWriter;
pub use sink::KafkaSink;
pub use topic::{Escape, TopicName};
