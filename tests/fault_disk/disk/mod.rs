//! A disk that does what a test tells it, under a real kernel and a real file system.
//!
//! ```text
//! flumen ── ext4, XFS ── loop device (direct I/O) ── one FUSE file ── this process
//! ```
//!
//! Threads of the test binary serve the one file from memory ([`device`]), so every write and every
//! flush that the kernel sends passes through [`rules`] and is remembered ([`log`]). From the log
//! come the images that a power cut could have left. [`place`] keeps mounts and loop devices in a
//! mount namespace of their own, which the kernel takes down with its last process.
//!
//! The test process itself never opens anything on the mounted file system: it would wait for
//! itself.

pub mod device;
pub mod fuse;
pub mod image;
pub mod log;
pub mod place;
pub mod rules;

pub use image::Image;
pub use log::Log;
pub use place::{FileSystem, Place};
pub use rules::{Effect, Operation, Part, Rule};
