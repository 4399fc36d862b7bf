//! A real Flume 1.11 agent.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::partners::Jvm;
use super::port::free_port;
use super::process::Process;
use super::scratch::Scratch;

/// From start to all components started. A JVM alone takes 4 s; the box may be busy.
const START_LIMIT: Duration = Duration::from_secs(90);

/// One running agent, with its configuration in a folder of its own.
#[derive(Debug)]
pub struct FlumeAgent {
    process: Option<Process>,
    scratch: Scratch,
    name: String,
    conf: PathBuf,
    started_marks: Vec<String>,
    monitoring_port: u16,
    starts: u32,
}

impl FlumeAgent {
    /// Starts agent `name` of the properties text `conf` and waits until Flume says that each of its
    /// sources, channels and sinks has started.
    pub fn start(conf: &str, name: &str) -> Self {
        Self::start_with(conf, name, &[])
    }

    /// The same, with more files for the conf folder: name and text.
    pub fn start_with(conf: &str, name: &str, files: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(&format!("flume-{name}"));
        let folder = scratch.folder("conf");
        std::fs::write(folder.join("log4j2.xml"), LOG4J2).expect("scratch is writable");
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("scratch is writable");
        }
        let conf_path = folder.join("flume.properties");
        std::fs::write(&conf_path, conf).expect("scratch is writable");
        let mut agent = Self {
            process: None,
            scratch,
            name: name.to_owned(),
            conf: conf_path,
            started_marks: started_marks(conf, name),
            monitoring_port: 0,
            starts: 0,
        };
        agent.launch();
        agent
    }

    /// Its folder, gone with it.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// All its log.
    pub fn log(&self) -> String {
        self.process.as_ref().expect("it was started").log()
    }

    /// Flume's metrics as JSON text.
    pub fn metrics(&self) -> String {
        super::http::get(self.monitoring_port, "/metrics")
            .map(|(_, body)| body)
            .unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Orderly stop.
    pub fn stop(&mut self) -> ExitStatus {
        self.process().terminate(Duration::from_secs(60))
    }

    /// Starts it again with the same configuration and folders.
    pub fn restart(&mut self) {
        self.process().kill();
        self.launch();
    }

    fn launch(&mut self) {
        self.monitoring_port = free_port();
        self.starts += 1;
        let jvm = Jvm::of("flume-1.11")
            .conf(self.conf.parent().expect("it is in a folder"))
            .flag("-Xmx512m")
            .flag("-Dflume.monitoring.type=http")
            .flag(&format!("-Dflume.monitoring.port={}", self.monitoring_port));
        let file = self.conf.display().to_string();
        let arguments = ["-n", &self.name, "-f", &file, "--no-reload-conf"];
        let log = format!("{}-{}", self.name, self.starts);
        let class = "org.apache.flume.node.Application";
        let mut process = jvm.start(&log, self.scratch.path(), class, &arguments);
        let marks = &self.started_marks;
        process.wait_for_log("every component started", START_LIMIT, |log| {
            marks.iter().all(|mark| log.contains(mark.as_str()))
        });
        self.process = Some(process);
    }
}

/// The log lines that say that all components of agent `name` run.
fn started_marks(conf: &str, name: &str) -> Vec<String> {
    let mut marks = Vec::new();
    for (key, kind) in [
        ("sources", "SOURCE"),
        ("channels", "CHANNEL"),
        ("sinks", "SINK"),
    ] {
        let wanted = format!("{name}.{key}");
        for line in conf.lines() {
            let Some((left, right)) = line.split_once('=') else {
                continue;
            };
            if left.trim() != wanted {
                continue;
            }
            for component in right.split_whitespace() {
                let type_key = format!("{name}.{key}.{component}.type");
                let silent = ["null", "logger"]; // these two register no counter before their first event
                let quiet = conf
                    .lines()
                    .filter_map(|line| line.split_once('='))
                    .any(|(left, right)| left.trim() == type_key && silent.contains(&right.trim()));
                if !quiet {
                    marks.push(format!("Component type: {kind}, name: {component} started"));
                }
            }
        }
    }
    assert!(
        !marks.is_empty(),
        "agent {name} has no components in:\n{conf}"
    );
    marks
}

const LOG4J2: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <Console name="console" target="SYSTEM_ERR">
      <PatternLayout pattern="%d{yyyy-MM-dd HH:mm:ss,SSS} (%t) [%p - %l] %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"#;
