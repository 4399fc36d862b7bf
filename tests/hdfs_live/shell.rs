//! Hadoop's `FsShell` as a process: the judge of what the sink wrote.

use std::io::Write;
use std::process::{Command, Stdio};

/// One test's directory in HDFS, and the shell that looks into it.
pub struct Shell {
    url: String,
    directory: String,
    class_path: String,
}

impl Shell {
    /// An empty directory for the test of this name.
    ///
    /// # Panics
    /// When the environment names no HDFS.
    pub fn from_environment(name: &str) -> Self {
        let variable = |key: &str| {
            std::env::var(key).unwrap_or_else(|_| panic!("{key} is not set: no HDFS to test with"))
        };
        let shell = Self {
            url: variable("FLUMEN_TEST_HDFS"),
            directory: format!("/flumen-live/{}-{name}", std::process::id()),
            class_path: variable("FLUMEN_TEST_HADOOP_CLASSPATH"),
        };
        shell.run(&["-mkdir", "-p", &shell.directory], None);
        shell
    }

    /// The directory, with scheme and authority.
    pub fn root(&self) -> String {
        format!("{}{}", self.url, self.directory)
    }

    /// Names of all files below the directory, sorted.
    pub fn list(&self) -> Vec<String> {
        let listing = self.run(&["-ls", "-R", "-C", &self.directory], None);
        let status = self.run(&["-ls", "-R", &self.directory], None);
        let directories: Vec<&str> = status
            .lines()
            .filter(|line| line.starts_with('d'))
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        let mut names: Vec<String> = listing
            .lines()
            .filter(|path| !directories.contains(path))
            .filter_map(|path| path.strip_prefix(&format!("{}/", self.directory)))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// What `-text` prints of files that match `name`.
    pub fn text(&self, name: &str) -> String {
        self.run(&["-text", &format!("{}/{name}", self.directory)], None)
    }

    /// Writes a file.
    pub fn put(&self, name: &str, content: &str) {
        let path = format!("{}/{name}", self.directory);
        self.run(&["-put", "-", &path], Some(content));
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        let path = format!("{}/{name}", self.directory);
        self.run(&["-rm", "-skipTrash", &path], None);
    }

    fn run(&self, arguments: &[&str], input: Option<&str>) -> String {
        let mut child = Command::new("java")
            .args(["-Xmx256m", "-cp", &self.class_path])
            .args(["org.apache.hadoop.fs.FsShell", "-fs", &self.url])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("java runs");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .expect("FsShell reads its input");
        drop(stdin);
        let output = child.wait_with_output().expect("FsShell ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "FsShell {arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("FsShell prints UTF-8")
    }
}
