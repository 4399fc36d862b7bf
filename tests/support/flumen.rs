//! flumen itself, as an operator starts it: a process, a conf folder, system properties.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::http;
use super::port::free_port;
use super::process::Process;
use super::scratch::Scratch;

/// From start to ready: segments are written once before the first event.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The program under test. `FLUMEN_TESTS_PROGRAM` puts another build in its place: a release build, or one
/// that stays while the tests are built again.
pub fn program() -> String {
    std::env::var("FLUMEN_TESTS_PROGRAM")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_flumen").to_owned())
}

/// One flumen agent. Killed on drop; can be killed and started again over the same folders.
#[derive(Debug)]
pub struct FlumenProcess {
    process: Option<Process>,
    scratch: Scratch,
    name: String,
    conf: PathBuf,
    properties: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    monitoring_port: u16,
    admin_port: u16,
    starts: u32,
}

impl FlumenProcess {
    /// Starts agent `name` of the properties text `conf` and waits until it is ready.
    pub fn start(conf: &str, name: &str) -> Self {
        Self::start_with(conf, name, &[], &[])
    }

    /// The same with system properties (`-Dkey=value`) and with more files for the conf folder.
    pub fn start_with(
        conf: &str,
        name: &str,
        properties: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Self {
        let mut flumen = Self::prepare(conf, name, properties, files);
        flumen.launch();
        flumen
    }

    /// Lays out the folders without starting anything.
    pub fn prepare(
        conf: &str,
        name: &str,
        properties: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Self {
        let scratch = Scratch::new(&format!("flumen-{name}"));
        let folder = scratch.folder("conf");
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("scratch is writable");
        }
        let conf_path = folder.join("flume.properties");
        std::fs::write(&conf_path, conf).expect("scratch is writable");
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Self {
            process: None,
            scratch,
            name: name.to_owned(),
            conf: conf_path,
            properties: properties.iter().map(own).collect(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            monitoring_port: free_port(),
            admin_port: free_port(),
            starts: 0,
        }
    }

    /// From its next start on: `wrapper` before its command line, and these environment variables.
    /// The wrapper has to become flumen by `exec`, so that signals reach it.
    pub fn surround(&mut self, wrapper: &[String], environment: &[(&str, &str)]) {
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        self.wrapper = wrapper.to_vec();
        self.environment = environment.iter().map(own).collect();
    }

    /// From its next start on: this properties text.
    pub fn configure(&self, conf: &str) {
        std::fs::write(&self.conf, conf).expect("scratch is writable");
    }

    /// Its folder, gone with it.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The port of Flume's own JSON metrics.
    pub fn monitoring_port(&self) -> u16 {
        self.monitoring_port
    }

    /// The port of health and Prometheus metrics.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// The log of its present start.
    pub fn log(&self) -> String {
        self.process.as_ref().expect("it was started").log()
    }

    /// Whether `/readyz` says 200.
    pub fn ready(&self) -> bool {
        http::get(self.admin_port, "/readyz").is_some_and(|(code, _)| code == 200)
    }

    /// A Flume counter of one component, from the JSON page.
    pub fn counter(&self, component: &str, counter: &str) -> Option<u64> {
        let (_, body) = http::get(self.monitoring_port, "/metrics")?;
        let page: serde_json::Value = serde_json::from_str(&body).ok()?;
        let value = page.get(component)?.get(counter)?;
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .or_else(|| value.as_u64())
    }

    /// A counter of the Prometheus page, summed over its series.
    pub fn prometheus(&self, name: &str) -> Option<u64> {
        let (_, page) = http::get(self.admin_port, "/metrics")?;
        let series = page.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            labels.starts_with('{').then_some(value)
        });
        series
            .map(|value| value.parse::<u64>().ok())
            .reduce(|sum, value| Some(sum? + value?))?
    }

    /// SIGKILL; gone when this returns.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// SIGTERM, and returns at once.
    pub fn begin_stop(&mut self) {
        self.process().begin_terminate();
    }

    /// The same, also when it was never started.
    pub fn kill_if_started(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// SIGTERM; the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.process().terminate(Duration::from_secs(60))
    }

    /// Kills it if it runs, then starts it again over the same folders and waits until it is ready.
    pub fn restart(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.launch();
    }

    /// Starts it and waits until it is ready.
    pub fn launch(&mut self) {
        self.launch_unready();
        let port = self.admin_port;
        self.process()
            .wait_for("/readyz to say 200", START_LIMIT, |_| {
                http::get(port, "/readyz").is_some_and(|(code, _)| code == 200)
            });
    }

    /// Starts it and returns at once.
    pub fn launch_unready(&mut self) {
        self.starts += 1;
        let conf_folder = self
            .conf
            .parent()
            .expect("it is in a folder")
            .display()
            .to_string();
        let mut arguments = vec!["agent".to_owned(), "--conf".to_owned(), conf_folder];
        arguments.extend(["--conf-file".to_owned(), self.conf.display().to_string()]);
        arguments.extend(["--name".to_owned(), self.name.clone()]);
        arguments.push("-Dflume.monitoring.type=http".to_owned());
        arguments.push(format!("-Dflume.monitoring.port={}", self.monitoring_port));
        arguments.push(format!(
            "-Dflumen.admin.address=127.0.0.1:{}",
            self.admin_port
        ));
        arguments.extend(
            self.properties
                .iter()
                .map(|(key, value)| format!("-D{key}={value}")),
        );
        let log = format!("{}-{}", self.name, self.starts);
        let mut command = self.wrapper.clone();
        command.push(program());
        command.extend(arguments);
        let environment = self.environment.iter();
        let environment: Vec<_> = environment
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        self.process = Some(Process::start_with(
            &log,
            self.scratch.path(),
            &command[0],
            &command[1..],
            false,
            &environment,
        ));
    }
}
