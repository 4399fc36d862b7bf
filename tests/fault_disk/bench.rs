//! A flumen whose log lies on a fault disk: started, loaded, killed, started again over other images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{FileSystem, Image, Place};
use crate::support::clock::pause;
use crate::support::conf::{file_roll_sink, prefixed};
use crate::support::event::{Identity, TestEvent};
use crate::support::{
    Compression, Deadline, FlumenProcess, RpcClient, Status, file_roll, free_port,
};

/// From start to ready, and from an event sent to an event delivered.
const PATIENCE: Duration = Duration::from_secs(60);
/// The smallest segment there is: the log rolls often, and a start writes little in advance.
pub const SEGMENT_BYTES: u64 = 4 << 20;

/// What drains the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Nothing: what is acknowledged is in the log and nowhere else.
    Missing,
    /// `file_roll`, onto a disk that does not fail. Segments are released and used again.
    Files,
}

/// Where the checkpoint lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointOn {
    /// The first data disk.
    DataDisk,
    /// A disk of its own, the last of the bench's.
    OwnDisk,
    /// A file system in memory of so many bytes.
    Memory(u64),
}

/// What a bench is made of.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// Appears in folder names.
    pub name: &'a str,
    /// A file system for each data disk.
    pub data: &'a [FileSystem],
    /// Where the checkpoint lies.
    pub checkpoint: CheckpointOn,
    /// Bytes of the sink's own file system, in memory; none: the sink writes to a real disk.
    pub output_bytes: Option<u64>,
    /// Defences that flumen goes without.
    pub without: &'a str,
}

/// The collector, its disks, its ports and folders.
#[derive(Debug)]
pub struct Bench {
    // Dropped first: nothing may run in the mounts when they go.
    with_sink: FlumenProcess,
    without_sink: FlumenProcess,
    runs: Sink,
    /// The disks: those of the data directories, then the checkpoint's own.
    pub places: Vec<Place>,
    port: u16,
    output: PathBuf,
    output_inside: PathBuf,
    /// Where the checkpoint is, as flumen sees it.
    pub checkpoint: PathBuf,
    empty: Image,
    probes: u32,
}

impl Bench {
    /// Log and checkpoint on one fresh disk; nothing is started. None where there is no fault disk.
    pub fn new(name: &str, file_system: FileSystem, without: &str) -> Option<Self> {
        Self::with(Layout {
            name,
            data: &[file_system],
            checkpoint: CheckpointOn::DataDisk,
            output_bytes: None,
            without,
        })
    }

    /// Fresh disks as laid out; nothing is started. None where there is no fault disk.
    pub fn with(layout: Layout<'_>) -> Option<Self> {
        let first = Place::new(layout.name, layout.data[0])?;
        let mut places = vec![first];
        for file_system in &layout.data[1..] {
            places.push(places[0].beside(*file_system));
        }
        let checkpoint = match layout.checkpoint {
            CheckpointOn::DataDisk => places[0].mount_point().join("checkpoint"),
            CheckpointOn::OwnDisk => {
                places.push(places[0].beside(FileSystem::Ext4));
                places[places.len() - 1].mount_point().join("checkpoint")
            }
            CheckpointOn::Memory(bytes) => places[0].memory("checkpoint", bytes).0,
        };
        let folder = |place: &Place| format!("{}/data", place.mount_point().display());
        let data: Vec<String> = places[..layout.data.len()].iter().map(folder).collect();
        let (port, wrapper) = (free_port(), places[0].wrapper());
        let prepare = |sinks: &str| {
            let conf = conf(port, &data.join(","), &checkpoint, sinks);
            let one = [("flumen.shards", "1"), ("flumen.drainThreads", "1")];
            let mut collector = FlumenProcess::prepare(&conf, "a", &one, &[]);
            collector.surround(&wrapper, &[("FLUMEN_WITHOUT", layout.without)]);
            (conf, collector)
        };
        let (conf, with_sink) = prepare("k");
        let (inside, output) = match layout.output_bytes {
            Some(bytes) => places[0].memory("output", bytes),
            None => {
                let folder = with_sink.folder().join("out");
                std::fs::create_dir_all(&folder).expect("scratch is writable");
                (folder.clone(), folder)
            }
        };
        with_sink.configure(&(conf + &file_roll_sink("a", &inside)));
        places[0].disk().watch_output(Some(output.clone()));
        Some(Self {
            with_sink,
            without_sink: prepare("").1,
            runs: Sink::Files,
            empty: places[0].disk().take_log().base,
            places,
            port,
            output,
            output_inside: inside,
            checkpoint,
            probes: 0,
        })
    }

    /// The first disk.
    pub fn place(&self) -> &Place {
        &self.places[0]
    }

    /// Where clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file system as `mkfs` made it.
    pub fn empty(&self) -> Image {
        self.empty.clone()
    }

    /// The process that runs.
    pub fn collector(&mut self) -> &mut FlumenProcess {
        match self.runs {
            Sink::Missing => &mut self.without_sink,
            Sink::Files => &mut self.with_sink,
        }
    }

    /// What the sink has put out since it was last cleared. A line that a file ends in the middle of
    /// was not put out: the sink begins a new file after an error.
    pub fn output(&self) -> Vec<u8> {
        let mut output: Vec<u8> = Vec::new();
        for file in file_roll::files(&self.output) {
            let whole = output.iter().rposition(|&byte| byte == b'\n');
            output.truncate(whole.map_or(0, |at| at + 1));
            output.extend(std::fs::read(file).expect("the sink's file can be read"));
        }
        output
    }

    /// The sink's folder, as flumen sees it.
    pub fn output_inside(&self) -> &Path {
        &self.output_inside
    }

    /// Mounts `image`, clears the output and starts flumen over it; why it is not ready, if it is not.
    pub fn start_over(&mut self, image: Image, sink: Sink) -> Result<(), String> {
        self.collector().kill_if_started();
        self.places[0].exchange(image);
        self.start(sink)
    }

    /// Clears the output; the process that will run from now on.
    pub fn runs_with(&mut self, sink: Sink) -> &mut FlumenProcess {
        for file in file_roll::files(&self.output) {
            std::fs::remove_file(file).expect("our own file");
        }
        self.runs = sink;
        self.collector()
    }

    /// Starts flumen over what is mounted.
    pub fn start(&mut self, sink: Sink) -> Result<(), String> {
        let collector = self.runs_with(sink);
        collector.launch_unready();
        let deadline = Deadline::after(PATIENCE);
        while !collector.ready() {
            let running = collector.process().running();
            if !running || deadline.passed() {
                let state = if running { "is not ready" } else { "ended" };
                let log = collector.log();
                let tail: Vec<&str> = log.lines().rev().take(12).collect();
                return Err(format!("flumen {state}: {tail:#?}"));
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends one event of its own and waits until the sink has put it out. The log is one, and its
    /// order is kept, so everything before it has been put out then, too. Returns who it was.
    pub fn serves(&mut self, limit: Duration) -> Result<Identity, String> {
        self.probes += 1;
        let identity = Identity {
            prefix: format!("after{}", self.probes),
            connection: 0,
            number: 0,
        };
        let event = TestEvent::with_identity(&identity, 60);
        let mut client = RpcClient::connect(self.port, Compression::None)
            .map_err(|error| format!("no connection after the start: {error}"))?;
        match client.append(&event) {
            Ok(Status::Ok) => {}
            other => return Err(format!("an event after the start: {other:?}")),
        }
        let (mut deadline, mut before) = (Deadline::after(limit), 0);
        loop {
            let output = self.output();
            if contains(&output, &event.body) {
                break;
            }
            // A busy machine drains slowly; one that drains is not stuck.
            if output.len() > before {
                (deadline, before) = (Deadline::after(limit), output.len());
            }
            if deadline.passed() {
                return Err(format!(
                    "nothing was delivered for {limit:?}, {identity} was not"
                ));
            }
            if !self.collector().process().running() {
                return Err(format!("flumen ended: {}", self.collector().log()));
            }
            pause(Duration::from_millis(20));
        }
        Ok(identity)
    }
}

fn conf(port: u16, data: &str, checkpoint: &Path, sinks: &str) -> String {
    let text = format!(
        "sources = r\n\
         channels = c\n\
         sinks = {sinks}\n\
         sources.r.type = avro\n\
         sources.r.bind = 127.0.0.1\n\
         sources.r.port = {port}\n\
         sources.r.channels = c\n\
         channels.c.type = file\n\
         channels.c.checkpointDir = {}\n\
         channels.c.dataDirs = {data}\n\
         channels.c.capacity = 1000000\n\
         channels.c.keep-alive = 1\n\
         channels.c.transactionCapacity = 10000\n\
         channels.c.maxFileSize = {SEGMENT_BYTES}\n\
         channels.c.minimumRequiredSpace = 1048576\n",
        checkpoint.display()
    );
    prefixed("a", &text)
}

fn contains(text: &[u8], line: &[u8]) -> bool {
    let mut lines = text.rsplit(|&byte| byte == b'\n');
    lines.any(|found| found == line)
}
