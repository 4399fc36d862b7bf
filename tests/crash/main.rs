//! Is every acknowledged event there after `kill -9`?

#[path = "../support/mod.rs"]
mod support;
