//! Third stop: a batch learns its channels.

mod replicating;

pub use replicating::{Receipt, Replicating};
