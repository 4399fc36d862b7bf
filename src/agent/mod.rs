//! Wiring, life cycle, supervision.

use std::path::Path;
use std::process::ExitCode;

use crate::config::AgentOptions;

/// Runs an agent until it is told to stop.
pub fn run(options: AgentOptions) -> ExitCode {
    eprintln!(
        "flumen: the agent `{}` cannot start: this build has no runtime",
        options.agent.name
    );
    ExitCode::from(70)
}

/// Runs the built-in configuration.
pub fn quickstart(port: u16, directory: &Path) -> ExitCode {
    eprintln!(
        "flumen: quickstart on port {port} into {} cannot start: this build has no runtime",
        directory.display()
    );
    ExitCode::from(70)
}
