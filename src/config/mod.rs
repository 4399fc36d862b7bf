//! Flume properties, with file and line, become one checked [`AgentConfig`].
//!
//! In reading order: a file becomes `properties`, files are merged in [`files`], references are replaced by
//! `substitute`, [`load()`] sorts keys to components and checks each against its table in the
//! `catalogue` (`section`), `build` makes types of them, and `check` looks at how they fit together. What
//! is wrong or surprising on the way is a [`diagnostic::Finding`].

mod build;
mod catalogue;
mod check;
pub mod command_line;
mod comment;
mod component_type;
pub mod diagnostic;
pub mod files;
mod flume_env;
mod jaas;
mod kafka_producer;
mod load;
mod model;
mod names;
mod options;
pub mod properties;
pub mod reference;
mod schema;
mod section;
mod substitute;
mod surroundings;
mod system;
pub mod wal_command_line;

pub use load::{Loaded, load};
pub use model::*;
pub use options::AgentOptions;
pub use surroundings::Surroundings;
