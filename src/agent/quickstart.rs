//! `flumen quickstart`: a collector one can see work within a minute, without any outside service.

use std::path::Path;
use std::process::ExitCode;

/// x
pub fn quickstart(_port: u16, _directory: &Path) -> ExitCode {
    ExitCode::SUCCESS
}
