//! A real HDFS 3.4: one NameNode with one DataNode, or an HA pair in one JVM that fails over on command.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::clock::{Deadline, pause};
use super::partners::Jvm;
use super::port::free_port;
use super::process::Process;
use super::scratch::Scratch;
use super::shell::{Shell, base64};

const START_LIMIT: Duration = Duration::from_secs(120);
const NAMENODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATANODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";

/// A client of any of the clusters here.
#[derive(Debug)]
pub struct HdfsClient {
    shell: Shell,
}

/// A file as the NameNode lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HdfsFile {
    /// Whole path, without the authority.
    pub path: String,
    /// Length, bytes. Of an open file: what the NameNode has heard so far.
    pub bytes: u64,
}

impl HdfsClient {
    fn start(scratch: &Scratch, conf: &Path) -> Self {
        let jvm = Jvm::of("hdfs").conf(conf).flag("-Xmx256m");
        let arguments = jvm.arguments("HdfsShell", &[]);
        Self {
            shell: Shell::start("hdfs-shell", scratch.path(), &arguments),
        }
    }

    /// Files at any depth below `path`, sorted; none when it does not exist.
    #[track_caller]
    pub fn list(&mut self, path: &str) -> Vec<HdfsFile> {
        let parse = |line: &String| {
            let (bytes, path) = line.split_once(' ').expect("bytes and path");
            HdfsFile {
                path: path.to_owned(),
                bytes: bytes.parse().expect("a length"),
            }
        };
        let mut files: Vec<_> = self
            .shell
            .must(&format!("ls {path}"))
            .iter()
            .map(parse)
            .collect();
        files.sort();
        files
    }

    /// A file's bytes.
    #[track_caller]
    pub fn read(&mut self, path: &str) -> Vec<u8> {
        joined(&self.shell.must(&format!("cat {path}")))
    }

    /// The bytes of every file below `path` that can be read now. One that is renamed between the look and
    /// the read, or whose lease is being recovered, is left out: its events count as not arrived.
    #[track_caller]
    pub fn read_all(&mut self, path: &str) -> Vec<Vec<u8>> {
        let files = self.list(path);
        let replies = files
            .iter()
            .map(|file| self.shell.run(&format!("cat {}", file.path)));
        replies.flatten().map(|reply| joined(&reply)).collect()
    }

    /// Closes every file below `path` that a writer left open. Takes the lease from a writer that is alive.
    #[track_caller]
    pub fn recover(&mut self, path: &str) {
        self.shell.must(&format!("recover {path}"));
    }

    /// A file's bytes after the codec its suffix names.
    #[track_caller]
    pub fn read_decoded(&mut self, path: &str) -> Vec<u8> {
        joined(&self.shell.must(&format!("text {path}")))
    }

    /// A sequence file: the line that describes it, and its keys and values.
    #[track_caller]
    pub fn read_sequence(&mut self, path: &str) -> (String, Vec<(String, Vec<u8>)>) {
        let mut lines = self.shell.must(&format!("seq {path}")).into_iter();
        let description = lines.next().expect("a description");
        let record = |line: String| {
            let (key, value) = line.split_once(' ').expect("key and value");
            (key.to_owned(), base64(value))
        };
        (description, lines.map(record).collect())
    }

    /// Deletes `path` with all below.
    #[track_caller]
    pub fn remove(&mut self, path: &str) {
        self.shell.must(&format!("rm {path}"));
    }

    /// Writes a small file, or says why not.
    pub fn put(&mut self, path: &str, text: &str) -> Result<(), String> {
        self.shell.run(&format!("put {path} {text}")).map(drop)
    }

    fn wait_writable(&mut self) {
        let deadline = Deadline::after(START_LIMIT);
        while let Err(reason) = self.put("/ready", "yes") {
            assert!(
                !deadline.passed(),
                "HDFS takes no file after {START_LIMIT:?}: {reason}"
            );
            pause(Duration::from_millis(300));
        }
    }
}

/// The bytes of a file that came in pieces.
fn joined(pieces: &[String]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| base64(piece)).collect()
}

/// One NameNode, one DataNode.
#[derive(Debug)]
pub struct Hdfs {
    namenode: Process,
    datanode: Process,
    client: HdfsClient,
    port: u16,
    scratch: Scratch,
    starts: u32,
}

impl Hdfs {
    /// A cluster of one's own, to be stopped and started at will.
    pub fn start() -> Self {
        let scratch = Scratch::new("hdfs");
        let port = free_port();
        write_conf(&scratch, port);
        let jvm = Jvm::of("hdfs")
            .conf(&scratch.folder("conf"))
            .flag("-Xmx256m");
        let mut format = jvm.start(
            "format",
            scratch.path(),
            NAMENODE,
            &["-format", "-nonInteractive"],
        );
        let status = format.wait_end(START_LIMIT);
        assert!(
            status.success(),
            "formatting HDFS failed:\n{}",
            format.log()
        );
        let mut namenode = launch_namenode(&scratch, 1);
        namenode.wait_for("the NameNode to listen", START_LIMIT, |_| listens(port));
        let datanode = launch_datanode(&scratch, 1);
        let mut client = HdfsClient::start(&scratch, &scratch.folder("conf"));
        client.wait_writable();
        Self {
            namenode,
            datanode,
            client,
            port,
            scratch,
            starts: 1,
        }
    }

    /// The cluster that all tests of this binary share. Paths keep them apart.
    pub fn shared() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Mutex<Hdfs>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Mutex::new(Self::start()));
        shared.lock().unwrap_or_else(PoisonError::into_inner) // a failed test leaves it usable
    }

    /// `hdfs://127.0.0.1:port`.
    pub fn uri(&self) -> String {
        format!("hdfs://127.0.0.1:{}", self.port)
    }

    /// `hdfs-site.xml` for the conf folder of whoever writes here. Without it Flume wants three replicas
    /// of each block and, not seeing them, rolls files early.
    pub const SITE: (&str, &str) = (
        "hdfs-site.xml",
        "<configuration><property><name>dfs.replication</name><value>1</value></property></configuration>\n",
    );

    /// The folder with `core-site.xml` and `hdfs-site.xml` for clients.
    pub fn conf(&self) -> PathBuf {
        self.scratch.folder("conf")
    }

    /// A client that reads it back.
    pub fn client(&mut self) -> &mut HdfsClient {
        &mut self.client
    }

    /// Kills NameNode and DataNode; the data stays.
    pub fn kill(&mut self) {
        self.kill_namenode();
        self.kill_datanode();
    }

    /// Kills the NameNode alone.
    pub fn kill_namenode(&mut self) {
        self.namenode.kill();
    }

    /// Kills the DataNode alone.
    pub fn kill_datanode(&mut self) {
        self.datanode.kill();
    }

    /// Starts whichever of both was killed and returns at once.
    pub fn launch_unready(&mut self) {
        self.starts += 1;
        if !self.namenode.running() {
            self.namenode = launch_namenode(&self.scratch, self.starts);
        }
        if !self.datanode.running() {
            self.datanode = launch_datanode(&self.scratch, self.starts);
        }
    }

    /// Whether the NameNode listens.
    pub fn listens(&self) -> bool {
        listens(self.port)
    }

    /// Waits until files can be written.
    pub fn wait_writable(&mut self) {
        self.client.wait_writable();
    }

    /// Starts both again and waits until files can be written.
    pub fn restart(&mut self) {
        self.kill();
        self.launch_unready();
        let port = self.port;
        self.namenode
            .wait_for("the NameNode to listen", START_LIMIT, |_| listens(port));
        self.wait_writable();
    }
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn launch_namenode(scratch: &Scratch, number: u32) -> Process {
    let jvm = Jvm::of("hdfs")
        .conf(&scratch.folder("conf"))
        .flag("-Xmx384m");
    jvm.start(&format!("namenode-{number}"), scratch.path(), NAMENODE, &[])
}

fn launch_datanode(scratch: &Scratch, number: u32) -> Process {
    let jvm = Jvm::of("hdfs")
        .conf(&scratch.folder("conf"))
        .flag("-Xmx384m");
    jvm.start(&format!("datanode-{number}"), scratch.path(), DATANODE, &[])
}

fn write_conf(scratch: &Scratch, port: u16) {
    let folder = scratch.folder("conf");
    let data = scratch.folder("data").display().to_string();
    let core = [
        ("fs.defaultFS", format!("hdfs://127.0.0.1:{port}")),
        ("hadoop.tmp.dir", format!("{data}/tmp")),
    ];
    let address = || format!("127.0.0.1:{}", free_port());
    let hdfs = [
        ("dfs.replication", "1".to_owned()),
        ("dfs.namenode.name.dir", format!("{data}/name")),
        ("dfs.datanode.data.dir", format!("{data}/data")),
        ("dfs.namenode.rpc-address", format!("127.0.0.1:{port}")),
        ("dfs.namenode.http-address", address()),
        ("dfs.namenode.https-address", address()),
        ("dfs.datanode.address", address()),
        ("dfs.datanode.ipc.address", address()),
        ("dfs.datanode.http.address", address()),
        ("dfs.datanode.https.address", address()),
        ("dfs.datanode.hostname", "127.0.0.1".to_owned()),
        // A restarted NameNode would otherwise wait 30 s before it takes writes again.
        ("dfs.namenode.safemode.extension", "0".to_owned()),
        ("dfs.heartbeat.interval", "1".to_owned()),
    ];
    std::fs::write(folder.join("core-site.xml"), xml(&core)).expect("scratch is writable");
    std::fs::write(folder.join("hdfs-site.xml"), xml(&hdfs)).expect("scratch is writable");
    std::fs::write(folder.join("log4j.properties"), LOG4J).expect("scratch is writable");
}

fn xml(pairs: &[(&str, String)]) -> String {
    let mut text = String::from("<configuration>\n");
    for (name, value) in pairs {
        text.push_str(&format!(
            "<property><name>{name}</name><value>{value}</value></property>\n"
        ));
    }
    text + "</configuration>\n"
}

const LOG4J: &str = "log4j.rootLogger=INFO,console\n\
    log4j.appender.console=org.apache.log4j.ConsoleAppender\n\
    log4j.appender.console.target=System.err\n\
    log4j.appender.console.layout=org.apache.log4j.PatternLayout\n\
    log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n\n";

/// Name service `mycluster`: two NameNodes, two DataNodes.
#[derive(Debug)]
pub struct HdfsHaPair {
    cluster: Shell,
    client: HdfsClient,
    conf: PathBuf,
    scratch: Scratch,
}

impl HdfsHaPair {
    /// Starts it; NameNode 0 is active.
    pub fn start() -> Self {
        let scratch = Scratch::new("hdfs-ha");
        let (conf, data) = (scratch.folder("conf"), scratch.folder("data"));
        let jvm = Jvm::of("minicluster")
            .conf(&scratch.folder("log"))
            .flag("-Xmx768m");
        let log4j = scratch.folder("log").join("log4j.properties");
        std::fs::write(log4j, LOG4J).expect("scratch is writable");
        let paths = [data.display().to_string(), conf.display().to_string()];
        let arguments = jvm.arguments("HaCluster", &[&paths[0], &paths[1]]);
        let cluster = Shell::start("ha-cluster", scratch.path(), &arguments);
        let mut client = HdfsClient::start(&scratch, &conf);
        client.wait_writable();
        Self {
            cluster,
            client,
            conf,
            scratch,
        }
    }

    /// The folder with `core-site.xml` and `hdfs-site.xml` for clients.
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// A client that reads it back.
    pub fn client(&mut self) -> &mut HdfsClient {
        &mut self.client
    }

    /// `activate N`, `standby N`, `crash N`, `restart N` or `stopDataNode N`.
    #[track_caller]
    pub fn command(&mut self, command: &str) {
        self.cluster.must(command);
    }
}
