//! Flume properties, with file and line, become one checked [`AgentConfig`].

mod model;

pub use model::*;
