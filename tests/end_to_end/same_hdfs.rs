//! flumen's HDFS files beside those of a real Flume collector given the same events and the same
//! configuration: folder for folder, name for name (but for the millisecond counter), event for event.

use std::time::Duration;

use crate::support::conf::{avro_to_file_channel, prefixed};
use crate::support::hdfs::HdfsClient;
use crate::support::{
    Collector, Compression, Hdfs, RpcClient, Scratch, Status, TestEvent, free_port, wait_until,
};

const EVENTS: usize = 230;

/// Events of two kinds over two hours.
fn events() -> Vec<TestEvent> {
    (0..EVENTS)
        .map(|number| {
            let kind = if number % 2 == 0 { "access" } else { "error" };
            let stamp = (1_700_000_000_000usize + number / 115 * 3_600_000).to_string();
            TestEvent::new(
                &[("kind", kind), ("timestamp", &stamp)],
                format!("event {number}").as_bytes(),
            )
        })
        .collect()
}

/// What a file holds, event by event.
#[derive(Debug, Clone, Copy)]
enum Content {
    Lines,
    DecodedLines,
    Sequence,
}

/// How a collector of one kind starts.
type Start = fn(&str, &str, &[(&str, &str)]) -> Collector;

/// A file's name without its counter, and what it holds.
type File = (String, Vec<String>);

/// Runs one collector below `root`; all its files after an orderly stop, in the order of their counters.
fn collect(start: Start, root: &str, lines: &str, content: Content) -> Vec<File> {
    let scratch = Scratch::new("same-hdfs");
    let port = free_port();
    let uri = Hdfs::shared().uri();
    let sink = format!(
        "sinks.k.type = hdfs\n\
         sinks.k.channel = c\n\
         sinks.k.hdfs.path = {uri}{root}/%{{kind}}/%Y-%m-%d/%H\n\
         sinks.k.hdfs.timeZone = UTC\n\
         {lines}"
    );
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k") + &prefixed("a", &sink);
    let mut collector = start(&conf, "a", &[Hdfs::SITE]);
    let mut client = RpcClient::connect(port, Compression::None).expect("listens");
    for batch in events().chunks(50) {
        assert_eq!(client.append_batch(batch).expect("a reply"), Status::Ok);
    }
    let mut hdfs = Hdfs::shared();
    let wanted = expected_files(lines);
    wait_until(
        &format!("{wanted} files below {root}"),
        Duration::from_secs(60),
        || hdfs.client().list(root).len() >= wanted,
    );
    drop(hdfs);
    crate::support::clock::pause(Duration::from_secs(2)); // the last transaction into the open files
    collector.stop();
    let mut hdfs = Hdfs::shared();
    read(hdfs.client(), root, content)
}

/// Four buckets of 57 or 58 events, in files of `rollCount` events.
fn expected_files(lines: &str) -> usize {
    let count = lines
        .lines()
        .find_map(|line| line.strip_prefix("sinks.k.hdfs.rollCount = "));
    let count: usize = count
        .expect("each configuration rolls by count")
        .parse()
        .expect("a number");
    let per_bucket = [58, 57, 57, 58]; // 230 events, halves of 115 by hour, alternating kinds
    per_bucket
        .iter()
        .map(|events: &usize| events.div_ceil(count))
        .sum()
}

fn read(hdfs: &mut HdfsClient, root: &str, content: Content) -> Vec<File> {
    let mut files: Vec<_> = hdfs
        .list(root)
        .into_iter()
        .map(|file| (split_name(root, &file.path), file.path))
        .collect();
    files.sort();
    let mut read = Vec::new();
    for ((name, _), path) in files {
        let events = match content {
            Content::Lines => lines(&hdfs.read(&path)),
            Content::DecodedLines => lines(&hdfs.read_decoded(&path)),
            Content::Sequence => {
                let (description, records) = hdfs.read_sequence(&path);
                let values = records
                    .into_iter()
                    .map(|(_, value)| String::from_utf8_lossy(&value).into_owned());
                std::iter::once(description).chain(values).collect()
            }
        };
        read.push((name, events));
    }
    read
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// `/root/error/2023-11-14/22/pre.1700000000123.log` → (`/error/2023-11-14/22/pre.N.log`, 1700000000123).
fn split_name(root: &str, path: &str) -> (String, u64) {
    let path = path.strip_prefix(root).expect("below the root");
    let (folder, file) = path.rsplit_once('/').expect("a folder");
    let mut counter = 0;
    let parts = file.split('.').map(|part| match part.parse::<u64>() {
        Ok(number) if part.len() == 13 => {
            counter = number;
            "N"
        }
        _ => part,
    });
    let file = parts.collect::<Vec<_>>().join(".");
    (format!("{folder}/{file}"), counter)
}

#[track_caller]
fn check(name: &str, lines: &str, content: Content) {
    let flume = collect(
        Collector::flume_with,
        &format!("/{name}-flume"),
        lines,
        content,
    );
    let subject = collect(
        Collector::subject_with,
        &format!("/{name}-subject"),
        lines,
        content,
    );
    assert_eq!(
        flume.len(),
        expected_files(lines),
        "Flume's own files: {flume:#?}"
    );
    let names = |files: &[File]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&subject),
        names(&flume),
        "left is ours, right is Flume's"
    );
    assert_eq!(subject, flume, "left is ours, right is Flume's");
}

#[test]
fn text_files_are_the_same() {
    let lines = "sinks.k.hdfs.fileType = DataStream\n\
                 sinks.k.hdfs.filePrefix = pre\n\
                 sinks.k.hdfs.fileSuffix = .log\n\
                 sinks.k.hdfs.rollInterval = 0\n\
                 sinks.k.hdfs.rollSize = 0\n\
                 sinks.k.hdfs.rollCount = 20\n";
    check("text", lines, Content::Lines);
}

#[test]
fn default_sequence_files_are_the_same() {
    check(
        "sequence",
        "sinks.k.hdfs.rollCount = 10\nsinks.k.hdfs.rollInterval = 0\n",
        Content::Sequence,
    );
}

#[test]
fn text_sequence_files_are_the_same() {
    let lines = "sinks.k.hdfs.writeFormat = Text\n\
                 sinks.k.hdfs.rollInterval = 0\n\
                 sinks.k.hdfs.rollSize = 0\n\
                 sinks.k.hdfs.rollCount = 40\n";
    check("sequence-text", lines, Content::Sequence);
}

#[test]
fn gzip_files_are_the_same() {
    let lines = "sinks.k.hdfs.fileType = CompressedStream\n\
                 sinks.k.hdfs.codeC = gzip\n\
                 sinks.k.hdfs.rollInterval = 0\n\
                 sinks.k.hdfs.rollSize = 0\n\
                 sinks.k.hdfs.rollCount = 30\n";
    check("gzip", lines, Content::DecodedLines);
}

#[test]
fn headers_in_text_are_the_same() {
    let lines = "sinks.k.hdfs.fileType = DataStream\n\
                 sinks.k.hdfs.inUsePrefix = _\n\
                 sinks.k.hdfs.rollInterval = 0\n\
                 sinks.k.hdfs.rollSize = 0\n\
                 sinks.k.hdfs.rollCount = 58\n\
                 sinks.k.serializer = HEADER_AND_TEXT\n";
    check("headers", lines, Content::Lines);
}
