//! For operators: HTTP with metrics and health, the log, the progress of long work.
//!
//! One thread, a tokio runtime of its own, never on a data core's path: it reads what the other
//! threads count and publish, and none of them waits for it. [`log`] has a writer thread beside it,
//! so that a slow terminal holds up nobody.

pub mod clock;
mod flume_server;
mod health;
mod health_pages;
pub mod log;
mod progress;
mod server;
mod settings;

pub use health::{Health, Heartbeat, Phase};
pub use progress::{Console, Progress, ProgressBoard, Unit};
pub use server::{AdminHandle, start};
pub use settings::{AdminSettings, AdminSettingsError};
