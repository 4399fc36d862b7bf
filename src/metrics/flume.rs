//! Flume's counters, field for field what its JSON shows (`docs/COMPATIBILITY.md`, monitoring).

use super::counter::{Counter, Gauge};

/// `SOURCE.<name>`: one set a shard, summed when shown.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// `EventReceivedCount`: events in calls that were read whole.
    pub event_received: Counter,
    /// `EventAcceptedCount`: events committed to all required channels.
    pub event_accepted: Counter,
    /// `AppendReceivedCount`.
    pub append_received: Counter,
    /// `AppendAcceptedCount`.
    pub append_accepted: Counter,
    /// `AppendBatchReceivedCount`.
    pub append_batch_received: Counter,
    /// `AppendBatchAcceptedCount`.
    pub append_batch_accepted: Counter,
    /// `OpenConnectionCount`.
    pub open_connection: Gauge,
    /// `EventReadFail`: calls that did not parse.
    pub event_read_fail: Counter,
    /// `ChannelWriteFail`: calls a channel refused.
    pub channel_write_fail: Counter,
    /// `GenericProcessingFail`.
    pub generic_processing_fail: Counter,
    /// Connections refused by `ipFilter` or a connection limit.
    pub connection_refused: Counter,
    /// Connections closed for breaking a limit or a deadline.
    pub connection_aborted: Counter,
    /// Bytes read from sockets.
    pub received_bytes: Counter,
}

/// `CHANNEL.<name>`: one set a shard for puts, one a consumer group for takes, summed when shown.
#[derive(Debug, Default)]
pub struct ChannelCounters {
    /// `EventPutAttemptCount`.
    pub event_put_attempt: Counter,
    /// `EventPutSuccessCount`.
    pub event_put_success: Counter,
    /// `EventTakeAttemptCount`.
    pub event_take_attempt: Counter,
    /// `EventTakeSuccessCount`.
    pub event_take_success: Counter,
    /// `EventPutErrorCount`.
    pub event_put_error: Counter,
    /// `EventTakeErrorCount`.
    pub event_take_error: Counter,
    /// `CheckpointWriteErrorCount`.
    pub checkpoint_write_error: Counter,
}

/// `SINK.<name>`.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// `ConnectionCreatedCount`.
    pub connection_created: Counter,
    /// `ConnectionClosedCount`.
    pub connection_closed: Counter,
    /// `ConnectionFailedCount`.
    pub connection_failed: Counter,
    /// `BatchEmptyCount`: takes that found nothing.
    pub batch_empty: Counter,
    /// `BatchUnderflowCount`: takes below the batch size.
    pub batch_underflow: Counter,
    /// `BatchCompleteCount`: takes of the batch size.
    pub batch_complete: Counter,
    /// `EventDrainAttemptCount`.
    pub event_drain_attempt: Counter,
    /// `EventDrainSuccessCount`.
    pub event_drain_success: Counter,
    /// `EventWriteFail`.
    pub event_write_fail: Counter,
    /// `ChannelReadFail`.
    pub channel_read_fail: Counter,
    /// `RollbackCount` (Kafka).
    pub rollback: Counter,
    /// `KafkaEventSendTimer`, milliseconds.
    pub event_send_ms: Counter,
}
