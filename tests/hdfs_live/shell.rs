//! Hadoop's `FsShell` as a process: the judge of what the sink wrote.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::Hdfs;
use crate::support::partners::Jvm;

const FS_SHELL: &str = "org.apache.hadoop.fs.FsShell";

/// One test's directory in HDFS, and the shell that looks into it.
pub struct Shell {
    url: String,
    conf: PathBuf,
    directory: String,
}

impl Shell {
    /// An empty directory for the test of this name, in the cluster that all tests share.
    pub fn start(name: &str) -> Self {
        let (url, conf) = {
            let hdfs = Hdfs::shared();
            (hdfs.uri(), hdfs.conf())
        };
        let shell = Self {
            url,
            conf,
            directory: format!("/flumen-live/{name}"),
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
        let jvm = Jvm::of("hdfs").conf(&self.conf).flag("-Xmx256m");
        let java = jvm.arguments(FS_SHELL, arguments);
        let mut child = Command::new("java")
            .args(java)
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
