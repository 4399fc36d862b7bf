//! `flumen quickstart`: a collector one can see work within a minute, without any outside service.
//!
//! The configuration is `docs/examples/quickstart.conf` with this port and directory in it; it is
//! written into the directory, loaded as any other is, and run as any other is. Log lines go to a file
//! there, so that the terminal has room for what a new user wants to know. The thread that shows it
//! lives beside a running agent and holds up nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::run::run_and_tell;
use super::sample;
use super::stop_signals::StopSignals;
use crate::config::files::Files;
use crate::config::{AgentOptions, Loaded, Surroundings, load};
use crate::reactor::Clock;

const EXAMPLE: &str = include_str!("../../docs/examples/quickstart.conf");
/// What of the example is filled in.
const EXAMPLE_PORT: &str = "port = 4141\n";
const EXAMPLE_DIRECTORY: &str = "= ./flumen-quickstart/";
const NAME: &str = "quickstart";
const SAMPLE_COUNT: usize = 3;
/// From OK to the sink's file. Milliseconds as a rule.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);
/// Lines of the log that are shown when the start fails.
const LOG_LINES_SHOWN: usize = 5;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
enum QuickstartError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: choose a directory whose path is UTF-8 text", path.display())]
    NotText { path: PathBuf },
    #[error("the configuration is refused:\n{findings}")]
    Refused { findings: String },
}

/// Runs the collector until Ctrl-C.
#[must_use]
pub fn quickstart(port: u16, directory: &Path, signals: StopSignals) -> ExitCode {
    let place = Place {
        port,
        directory: directory.to_owned(),
    };
    let options = match place.prepare() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("flumen quickstart: {error}");
            return ExitCode::from(78);
        }
    };
    say(&format!(
        "Starting a collector in {} …\n",
        directory.display()
    ));
    let shown = place.clone();
    let code = run_and_tell(options, signals, move |admin| {
        let show = move || shown.show(admin);
        if let Err(error) = std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(show)
        {
            tracing::warn!("nothing can be shown on the terminal: {error}");
        }
    });
    if code == ExitCode::SUCCESS {
        say("\nStopped in order. The same command goes on where this ended.\n");
    } else {
        place.show_failure();
    }
    code
}

/// Where this quickstart lives.
#[derive(Debug, Clone)]
struct Place {
    port: u16,
    directory: PathBuf,
}

impl Place {
    fn output(&self) -> PathBuf {
        self.directory.join("out")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("flumen.log")
    }

    /// Makes the directory, writes the configuration into it, loads it.
    fn prepare(&self) -> Result<AgentOptions, QuickstartError> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| QuickstartError::File { path, source }
        };
        fs::create_dir_all(self.output()).map_err(file_error(&self.output()))?;
        let Some(directory) = self.directory.to_str() else {
            return Err(QuickstartError::NotText {
                path: self.directory.clone(),
            });
        };
        let text = configuration(self.port, directory);
        let file = self.directory.join("quickstart.conf");
        fs::write(&file, &text).map_err(file_error(&file))?;

        let log = [
            ("flume.root.logger", "INFO,LOGFILE"),
            ("flume.log.dir", directory),
            ("flume.log.file", "flumen.log"),
        ];
        let properties: BTreeMap<String, String> = log
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut files = Files::default();
        files.add(text.as_bytes(), &Arc::from(file.to_string_lossy()), 0);
        let surroundings = Surroundings::of_process(properties.clone(), None);
        let Loaded { agent, findings } = load(&files, NAME, &surroundings);
        let Some(agent) = agent else {
            return Err(QuickstartError::Refused {
                findings: findings.render(),
            });
        };
        Ok(AgentOptions {
            agent,
            conf_dir: None,
            files: vec![file],
            properties,
            findings,
        })
    }

    /// Sends samples, shows them delivered, says what to do next.
    fn show(&self, admin: SocketAddr) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let bodies: Vec<String> = (1..=SAMPLE_COUNT)
            .map(|number| {
                format!("Hello from flumen, event {number} of {SAMPLE_COUNT}, sent {now}")
            })
            .collect();
        let mut text = String::from("\nThe collector runs.\n\n");
        match sample::send(self.port, &bodies) {
            Ok(()) => {
                text.push_str(&format!(
                    "It has just been sent {SAMPLE_COUNT} events over Avro RPC and answered OK: they \
                     are on disk.\n"
                ));
                text.push_str(&self.delivered(&bodies));
            }
            Err(error) => text.push_str(&format!("The sample events were not taken: {error}\n")),
        }
        text.push_str(&self.guide(admin));
        say(&text);
    }

    /// The sample's lines as the sink wrote them, waited for.
    fn delivered(&self, bodies: &[String]) -> String {
        let clock = Clock::new();
        loop {
            if let Some(file) = file_with(&self.output(), bodies) {
                let lines: String = bodies.iter().map(|body| format!("    {body}\n")).collect();
                return format!("Delivered to {}:\n\n{lines}", file.display());
            }
            if clock.now() > DELIVERY_DEADLINE {
                return format!(
                    "They have not arrived in {} yet; {} says why.\n",
                    self.output().display(),
                    self.log().display()
                );
            }
            #[expect(clippy::disallowed_methods, reason = "this thread is no core's")]
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn guide(&self, admin: SocketAddr) -> String {
        let (port, directory) = (self.port, self.directory.display());
        let looks = [
            (format!("tail -F {directory}/out/*"), "what was delivered"),
            (format!("curl http://{admin}/metrics"), "counters"),
            (
                format!("curl http://{admin}/readyz"),
                "whether it is ready, and why not",
            ),
            (format!("less {directory}/flumen.log"), "what it said"),
            (
                format!("less {directory}/quickstart.conf"),
                "its configuration, to copy from",
            ),
        ];
        let width = looks
            .iter()
            .map(|(command, _)| command.chars().count())
            .max()
            .unwrap_or(0);
        let looks: String = looks
            .iter()
            .map(|(command, what)| format!("    {command:width$}   # {what}\n"))
            .collect();
        format!(
            "
Send to it from this machine, with Flume's own client:

    flume-ng avro-client -H 127.0.0.1 -p {port} -F /etc/services

or from an agent, with the sink you have:

    agent.sinks.k1.type = avro
    agent.sinks.k1.hostname = 127.0.0.1
    agent.sinks.k1.port = {port}

See it:

{looks}
Ctrl-C stops it in order.
"
        )
    }

    fn show_failure(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!(
            "flumen quickstart: it did not start. {} ends with:\n\n{}\n\n--port and --directory name \
             another port and place.",
            self.log().display(),
            last.join("\n")
        );
    }
}

/// The example, for this port and directory.
fn configuration(port: u16, directory: &str) -> String {
    // In a properties file a backslash has to be written twice.
    let directory = directory.trim_end_matches('/').replace('\\', "\\\\");
    EXAMPLE
        .replace(EXAMPLE_PORT, &format!("port = {port}\n"))
        .replace(EXAMPLE_DIRECTORY, &format!("= {directory}/"))
}

/// The file below `output` that holds all of `lines`.
fn file_with(output: &Path, lines: &[String]) -> Option<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(output)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // The newest is the likeliest: names begin with the sink's start time.
    files.sort();
    files.into_iter().rev().find(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        lines.iter().all(|line| text.contains(line))
    })
}

fn say(text: &str) {
    // A terminal that is gone is no reason to stop collecting.
    io::stdout().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_takes_port_and_directory() {
        let text = configuration(5151, "/var/lib/a\\b/");
        assert_eq!(text.matches("port = 5151").count(), 1);
        assert_eq!(text.matches("= /var/lib/a\\\\b/").count(), 3);
        let settings = text.lines().filter(|line| !line.starts_with('#'));
        assert!(
            settings
                .clone()
                .all(|line| !line.contains("4141") && !line.contains("= ./"))
        );
    }

    #[test]
    fn example_is_a_configuration_without_findings() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place {
            port: 4141,
            directory: directory.path().join("new"),
        };
        let options = place.prepare().unwrap();
        assert_eq!(
            options.findings.iter().count(),
            0,
            "{}",
            options.findings.render()
        );
        assert_eq!(options.agent.sinks.len(), 1);
        assert!(place.output().is_dir());
    }
}
