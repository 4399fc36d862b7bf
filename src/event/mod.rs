//! What flows through the collector: an event is headers and a body, a batch is many events as the
//! client sent them.
//!
//! Nothing here allocates per event. Events stay in the Avro encoding of `AvroFlumeEvent` from the
//! socket to the sink; [`EventView`] reads one in place. What interceptors add is kept once per batch
//! in an [`Overlay`] and laid over the event's own headers when it is read.

mod avro;
mod batch;
mod java_map;
mod overlay;
mod view;

pub use avro::{AvroError, Cursor, write_bytes, write_long};
pub use batch::{Batch, encode_event};
pub use java_map::java_hash_map_order;
pub use overlay::{Overlay, OverlayHeader};
pub use view::{EventView, Events};
