//! What the command line hands to the agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::diagnostic::Findings;
use super::model::AgentConfig;

/// A checked agent and what it starts with.
#[derive(Debug)]
pub struct AgentOptions {
    /// The agent.
    pub agent: AgentConfig,
    /// `--conf`.
    pub conf_dir: Option<PathBuf>,
    /// `--conf-file`, in order.
    pub files: Vec<PathBuf>,
    /// `-Dkey=value`, of `flume-env.sh` and of the command line.
    pub properties: BTreeMap<String, String>,
    /// What was found; already printed, here for the agent's metrics and log.
    pub findings: Findings,
}
