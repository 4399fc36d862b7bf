//! Where the real partners are, and how their JVMs start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::process::Process;

/// The folder `tests/partners/install` filled; runs it when it is not there yet.
pub fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/partners/install");
        let output = Command::new(&install)
            .output()
            .expect("tests/partners/install can run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "tests/partners/install failed:\n{errors}"
        );
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

/// A JVM about to start: class path of one partner, flags for small and quickly started processes.
#[derive(Debug)]
pub struct Jvm {
    partner: &'static str,
    class_path: Vec<String>,
    flags: Vec<String>,
}

impl Jvm {
    /// With the jars and helper classes of `partner`.
    pub fn of(partner: &'static str) -> Self {
        let flags = [
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.net.preferIPv4Stack=true",
        ];
        let flags = flags.map(str::to_owned).to_vec();
        Self {
            partner,
            class_path: Vec::new(),
            flags,
        }
    }

    /// A folder in front of the jars, for configuration files.
    pub fn conf(mut self, folder: &Path) -> Self {
        self.class_path.push(folder.display().to_string());
        self
    }

    /// One more JVM flag, `-Xmx256m` or `-Dkey=value`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// The arguments of `java` that run `class` with `arguments`.
    pub fn arguments(mut self, class: &str, arguments: &[&str]) -> Vec<String> {
        let home = home().join(self.partner);
        self.class_path
            .push(home.join("classes").display().to_string());
        self.class_path
            .push(home.join("lib").join("*").display().to_string());
        let mut all = self.flags;
        all.extend([
            "-cp".to_owned(),
            self.class_path.join(":"),
            class.to_owned(),
        ]);
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        all
    }

    /// Starts `class` as a server that logs to `folder/NAME.log`.
    pub fn start(self, name: &str, folder: &Path, class: &str, arguments: &[&str]) -> Process {
        Process::start(
            name,
            folder,
            "java",
            &self.arguments(class, arguments),
            false,
        )
    }
}
