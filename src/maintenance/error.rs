//! Why a tool cannot do what it is asked to, and the exit code that says so to a script.

use std::io;
use std::path::PathBuf;

use crate::channel::wal::{FileError, LockError, ReadError};

/// Damage was found (EX_DATAERR).
pub const EXIT_DAMAGED: u8 = 65;

/// Why a tool ends without its result.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The options do not go together.
    #[error("{0}")]
    Usage(String),
    /// The configuration does not load.
    #[error(
        "{0}flumen: the configuration does not load, so it cannot tell where the log is; name the \
         directories with --data-dir and --checkpoint-dir instead"
    )]
    Configuration(String),
    /// What was asked for is not in the log.
    #[error("{0}")]
    NotThere(String),
    /// A file or directory of the log cannot be read, and that says nothing about what it holds.
    #[error("{}: {}", .0, .0.source)]
    File(#[from] FileError),
    /// A segment cannot be read.
    #[error("{}: {}", .0, .0.source)]
    Read(#[from] ReadError),
    /// An agent runs, or starts, on these directories.
    #[error("{0}")]
    Held(#[from] LockError),
    /// The output cannot be written.
    #[error("{path}: cannot be written: {source}")]
    Output {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The other collector did not take a batch.
    #[error("{address}: {reason}, after {attempts} attempts")]
    Collector {
        /// Where it was tried.
        address: String,
        /// What it said last.
        reason: String,
        /// How often.
        attempts: u32,
    },
    /// Setting a file aside failed.
    #[error("{path}: setting it aside failed: {source}")]
    Aside {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl MaintenanceError {
    /// The process's exit code, after `sysexits.h`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::NotThere(_) | Self::File(_) | Self::Read(_) => 66,
            Self::Collector { .. } => 69,
            Self::Output { .. } | Self::Aside { .. } => 74,
            Self::Held(_) => 75,
            Self::Configuration(_) => 78,
        }
    }
}
