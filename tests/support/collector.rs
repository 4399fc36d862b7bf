//! The collector under test: flumen, or a real Flume in its place.
//!
//! `FLUMEN_TESTS_SUBJECT=flume` runs the end-to-end tests with real Flume collectors, which proves that
//! what the tests demand is what Flume does.

use std::time::Duration;

use super::flume::FlumeAgent;
use super::flumen::FlumenProcess;
use super::process::Process;

/// A running collector of either kind, on the same configuration text.
#[derive(Debug)]
pub enum Collector {
    /// The real one.
    Flume(FlumeAgent),
    /// Ours.
    Flumen(FlumenProcess),
}

impl Collector {
    /// What is under test.
    pub fn subject(conf: &str, name: &str) -> Self {
        Self::subject_with(conf, name, &[])
    }

    /// What is under test, with more files in its conf folder.
    pub fn subject_with(conf: &str, name: &str, files: &[(&str, &str)]) -> Self {
        if std::env::var("FLUMEN_TESTS_SUBJECT").is_ok_and(|subject| subject == "flume") {
            return Self::Flume(FlumeAgent::start_with(conf, name, files));
        }
        let console = [("flume.root.logger", "INFO,console")];
        Self::Flumen(FlumenProcess::start_with(conf, name, &console, files))
    }

    /// The real one, to compare with.
    pub fn flume(conf: &str, name: &str) -> Self {
        Self::flume_with(conf, name, &[])
    }

    /// The real one, with more files in its conf folder.
    pub fn flume_with(conf: &str, name: &str, files: &[(&str, &str)]) -> Self {
        Self::Flume(FlumeAgent::start_with(conf, name, files))
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        match self {
            Self::Flume(agent) => agent.process(),
            Self::Flumen(flumen) => flumen.process(),
        }
    }

    /// The log of its present start.
    pub fn log(&mut self) -> String {
        self.process().log()
    }

    /// SIGKILL; gone when this returns.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// SIGTERM; panics unless it ends by itself.
    pub fn stop(&mut self) {
        self.process().terminate(Duration::from_secs(60));
    }

    /// Kills it if it runs and starts it again over the same folders.
    pub fn restart(&mut self) {
        match self {
            Self::Flume(agent) => agent.restart(),
            Self::Flumen(flumen) => flumen.restart(),
        }
    }
}
