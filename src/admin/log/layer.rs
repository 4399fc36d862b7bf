//! Between `tracing` and the queue: every event that passed the filter becomes a record.
//! Called on the thread that logs.

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Sender;
use super::record::Record;
use crate::admin::clock::wall_ms;

/// Hands what is logged to the writer thread.
#[derive(Debug)]
pub(super) struct QueueLayer(pub(super) Sender);

impl<S: Subscriber> Layer<S> for QueueLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.0.send(Record::of(event, wall_ms()));
    }
}
