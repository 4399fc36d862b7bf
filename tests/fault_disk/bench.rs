//! A flumen whose log lies on a fault disk: started, loaded, killed, started again over other images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{FileSystem, Image, Place};
use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::event::{Identity, TestEvent};
use crate::support::{
    Compression, Deadline, FlumenProcess, RpcClient, Status, file_roll, free_port,
};

/// From start to ready, and from an event sent to an event delivered.
const PATIENCE: Duration = Duration::from_secs(60);
/// The smallest segment there is: the log rolls often, and a start writes little in advance.
const SEGMENT_BYTES: &str = "4194304";

/// What drains the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Nothing: what is acknowledged is in the log and nowhere else.
    Missing,
    /// `file_roll`, onto a disk that does not fail. Segments are released and used again.
    Files,
}

/// The collector, its disk, its ports and folders.
#[derive(Debug)]
pub struct Bench {
    // Dropped first: nothing may run in the mounts when they go.
    with_sink: FlumenProcess,
    without_sink: FlumenProcess,
    runs: Sink,
    /// The disk under the log and the checkpoint.
    pub place: Place,
    port: u16,
    output: PathBuf,
    empty: Image,
    starts: u32,
}

impl Bench {
    /// A fresh disk; nothing is started. None where there is no fault disk.
    pub fn new(name: &str, file_system: FileSystem, without: &str) -> Option<Self> {
        let place = Place::new(name, file_system)?;
        let empty = place.disk().take_log().base;
        let port = free_port();
        let prepare = |sink: Sink| {
            let log = place.mount_point();
            let sinks = if sink == Sink::Files { "k" } else { "" };
            let conf = avro_to_file_channel("a", port, &log, sinks);
            let conf = conf.replace("16777216", SEGMENT_BYTES);
            let one = [("flumen.shards", "1"), ("flumen.drainThreads", "1")];
            let mut collector = FlumenProcess::prepare(&conf, "a", &one, &[]);
            collector.surround(&place.wrapper(), &[("FLUMEN_WITHOUT", without)]);
            let output = collector.folder().join("out");
            std::fs::create_dir_all(&output).expect("scratch is writable");
            let conf = conf + &file_roll_sink("a", &output);
            if sink == Sink::Files {
                collector.configure(&conf);
            }
            (collector, output)
        };
        let (with_sink, output) = prepare(Sink::Files);
        let (without_sink, _) = prepare(Sink::Missing);
        place.disk().watch_output(Some(output.clone()));
        Some(Self {
            with_sink,
            without_sink,
            runs: Sink::Files,
            place,
            port,
            output,
            empty,
            starts: 0,
        })
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

    /// What the sink has put out since it was last cleared.
    pub fn output(&self) -> Vec<u8> {
        let files = file_roll::files(&self.output);
        let read = |path: &PathBuf| std::fs::read(path).expect("the sink's file can be read");
        files.iter().flat_map(read).collect()
    }

    /// The sink's folder.
    pub fn output_folder(&self) -> &Path {
        &self.output
    }

    /// Mounts `image`, clears the output and starts flumen over it; why it is not ready, if it is not.
    pub fn start_over(&mut self, image: Image, sink: Sink) -> Result<(), String> {
        self.collector().kill_if_started();
        self.place.exchange(image);
        self.start(sink)
    }

    /// Starts flumen over what is mounted.
    pub fn start(&mut self, sink: Sink) -> Result<(), String> {
        for file in file_roll::files(&self.output) {
            std::fs::remove_file(file).expect("our own file");
        }
        self.runs = sink;
        self.starts += 1;
        let collector = self.collector();
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
        let identity = Identity {
            prefix: format!("after{}", self.starts),
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
        let deadline = Deadline::after(limit);
        while !contains(&self.output(), &event.body) {
            if deadline.passed() {
                return Err(format!("{identity} did not arrive within {limit:?}"));
            }
            if !self.collector().process().running() {
                return Err(format!("flumen ended: {}", self.collector().log()));
            }
            pause(Duration::from_millis(20));
        }
        Ok(identity)
    }
}

fn contains(text: &[u8], line: &[u8]) -> bool {
    let mut lines = text.rsplit(|&byte| byte == b'\n');
    lines.any(|found| found == line)
}
