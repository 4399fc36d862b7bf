//! The two servers under test, started once, on one configuration text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::{Collector, Scratch, file_roll, free_port, wait_until};

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The real one.
    Flume,
    /// Ours.
    Flumen,
}

/// A running collector.
#[derive(Debug)]
pub struct Server {
    /// Which program.
    pub kind: Kind,
    /// A plain Avro source into `bodies` and `headers`.
    pub plain: u16,
    /// A deflate Avro source into the same.
    pub packed: u16,
    /// A plain source into a channel of ten events that nobody drains.
    pub full: u16,
    bodies: PathBuf,
    headers: PathBuf,
    _scratch: Scratch,
    _collector: Collector,
}

/// Flume, started at the first call.
pub fn flume() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Kind::Flume))
}

/// flumen, started at the first call.
pub fn flumen() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Kind::Flumen))
}

/// First the real one, which proves the test, then ours.
pub fn both() -> [&'static Server; 2] {
    [flume(), flumen()]
}

impl Server {
    fn start(kind: Kind) -> Self {
        let scratch = Scratch::new(&format!("conformance-{kind:?}"));
        let ports = [free_port(), free_port(), free_port()];
        let (bodies, headers) = (scratch.folder("bodies"), scratch.folder("headers"));
        let conf = configuration(ports, &bodies, &headers);
        Self {
            kind,
            plain: ports[0],
            packed: ports[1],
            full: ports[2],
            bodies,
            headers,
            _scratch: scratch,
            _collector: match kind {
                Kind::Flume => Collector::flume(&conf, "a"),
                Kind::Flumen => Collector::subject(&conf, "a"),
            },
        }
    }

    /// Where bodies land, one a line.
    pub fn bodies(&self) -> &Path {
        &self.bodies
    }

    /// Waits until every one of these bodies has come out of the sink.
    #[track_caller]
    pub fn wait_bodies(&self, bodies: &[&str]) {
        self.wait_lines(&self.bodies, bodies);
    }

    /// Waits until every one of these lines, `{header=value} body`, has come out of the other sink.
    #[track_caller]
    pub fn wait_headers_and_bodies(&self, lines: &[&str]) {
        self.wait_lines(&self.headers, lines);
    }

    #[track_caller]
    fn wait_lines(&self, folder: &Path, wanted: &[&str]) {
        let what = format!("{wanted:?} in {:?}'s {}", self.kind, folder.display());
        wait_until(&what, Duration::from_secs(20), || {
            let (lines, _) = file_roll::lines(folder);
            let lines: BTreeSet<_> = lines.iter().map(Vec::as_slice).collect();
            wanted.iter().all(|line| lines.contains(line.as_bytes()))
        });
    }
}

fn configuration([plain, packed, full]: [u16; 3], bodies: &Path, headers: &Path) -> String {
    format!(
        "a.sources = plain packed full\n\
         a.channels = bodies headers tiny\n\
         a.sinks = text both\n\
         \n\
         a.sources.plain.type = avro\n\
         a.sources.plain.bind = 127.0.0.1\n\
         a.sources.plain.port = {plain}\n\
         a.sources.plain.channels = bodies headers\n\
         \n\
         a.sources.packed.type = avro\n\
         a.sources.packed.bind = 127.0.0.1\n\
         a.sources.packed.port = {packed}\n\
         a.sources.packed.compression-type = deflate\n\
         a.sources.packed.channels = bodies headers\n\
         \n\
         a.sources.full.type = avro\n\
         a.sources.full.bind = 127.0.0.1\n\
         a.sources.full.port = {full}\n\
         a.sources.full.channels = tiny\n\
         \n\
         a.channels.bodies.type = memory\n\
         a.channels.bodies.capacity = 100000\n\
         a.channels.bodies.transactionCapacity = 10000\n\
         a.channels.headers.type = memory\n\
         a.channels.headers.capacity = 100000\n\
         a.channels.headers.transactionCapacity = 10000\n\
         a.channels.tiny.type = memory\n\
         a.channels.tiny.capacity = 10\n\
         a.channels.tiny.transactionCapacity = 10\n\
         a.channels.tiny.keep-alive = 1\n\
         \n\
         a.sinks.text.type = file_roll\n\
         a.sinks.text.channel = bodies\n\
         a.sinks.text.sink.directory = {}\n\
         a.sinks.text.sink.rollInterval = 0\n\
         \n\
         a.sinks.both.type = file_roll\n\
         a.sinks.both.channel = headers\n\
         a.sinks.both.sink.directory = {}\n\
         a.sinks.both.sink.rollInterval = 0\n\
         a.sinks.both.sink.serializer = HEADER_AND_TEXT\n",
        bodies.display(),
        headers.display()
    )
}
