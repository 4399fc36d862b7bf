//! What happens to a batch between source and channel, beside a real Flume given the same events and the
//! same configuration: interceptors, optional channels.

use std::path::Path;
use std::time::Duration;

use crate::support::conf::prefixed;
use crate::support::{
    Collector, Compression, RpcClient, Scratch, Status, TestEvent, file_roll, free_port, wait_until,
};

const BOTH: [fn(&str, &str) -> Collector; 2] = [Collector::flume, Collector::subject];

const MEMORY: &str = "channels.c.type = memory\n\
     channels.c.capacity = 10000\n\
     channels.c.transactionCapacity = 1000\n";

/// Agent `a`: avro source `r` → channel `c` → file_roll `k` with headers in the text; `more` lines.
fn collector(port: u16, output: &Path, more: &str) -> String {
    let output = output.display();
    prefixed(
        "a",
        &format!(
            "sources = r\n\
             sources.r.type = avro\n\
             sources.r.bind = 127.0.0.1\n\
             sources.r.port = {port}\n\
             sinks.k.type = file_roll\n\
             sinks.k.channel = c\n\
             sinks.k.sink.directory = {output}\n\
             sinks.k.sink.rollInterval = 0\n\
             sinks.k.sink.serializer = HEADER_AND_TEXT\n\
             {more}"
        ),
    )
}

/// Sends `events` as one batch, which must be taken, and returns the lines that arrive.
fn lines_of(
    start: fn(&str, &str) -> Collector,
    name: &str,
    more: &str,
    events: &[TestEvent],
) -> Vec<String> {
    let scratch = Scratch::new(name);
    let (port, output) = (free_port(), scratch.folder("out"));
    let more = more.replace("FOLDER", &scratch.folder("wal").display().to_string());
    let _collector = start(&collector(port, &output, &more), "a");
    let mut client = RpcClient::connect(port, Compression::None).expect("listens");
    let status = client.append_batch(events).expect("a reply");
    assert_eq!(status, Status::Ok);
    wait_until("all events in the file", Duration::from_secs(30), || {
        file_roll::lines(&output).0.len() >= events.len()
    });
    let (lines, _) = file_roll::lines(&output);
    let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
    lines.iter().map(text).collect()
}

/// The line with the value of header `arrival`, which must be milliseconds, taken out.
fn without_arrival(line: &str) -> String {
    let (before, after) = line.split_once("arrival=").expect("the header is there");
    let digits = after.chars().take_while(char::is_ascii_digit).count();
    assert_eq!(digits, 13, "{line}");
    format!("{before}arrival={}", &after[digits..])
}

#[test]
fn interceptors_add_the_same_headers() {
    let more = "channels = c\n\
         sinks = k\n\
         sources.r.channels = c\n\
         sources.r.interceptors = keep set where default always\n\
         sources.r.interceptors.keep.type = timestamp\n\
         sources.r.interceptors.keep.preserveExisting = true\n\
         sources.r.interceptors.set.type = timestamp\n\
         sources.r.interceptors.set.headerName = arrival\n\
         sources.r.interceptors.where.type = host\n\
         sources.r.interceptors.where.hostHeader = where\n\
         sources.r.interceptors.default.type = static\n\
         sources.r.interceptors.default.key = dc\n\
         sources.r.interceptors.default.value = ams\n\
         sources.r.interceptors.always.type = static\n\
         sources.r.interceptors.always.key = tier\n\
         sources.r.interceptors.always.value = one\n\
         sources.r.interceptors.always.preserveExisting = false\n";
    let own = [("timestamp", "17"), ("dc", "ber"), ("tier", "nine")];
    let events: Vec<TestEvent> = [&own[..1], &own[..2], &own[..]]
        .iter()
        .enumerate()
        .map(|(number, headers)| TestEvent::new(headers, format!("event {number}").as_bytes()))
        .collect();
    let [flume, flumen] = BOTH.map(|start| {
        let lines = lines_of(start, "interceptors", &(MEMORY.to_owned() + more), &events);
        lines
            .iter()
            .map(|line| without_arrival(line))
            .collect::<Vec<_>>()
    });
    assert_eq!(flume, flumen);
    assert!(
        flumen[0].contains("dc=ams") && flumen[1].contains("dc=ber"),
        "{flumen:?}"
    );
    assert!(flumen[2].contains("tier=one"), "{flumen:?}");
    assert!(
        flumen.iter().all(|line| line.contains("timestamp=17")),
        "{flumen:?}"
    );
}

#[test]
fn an_optional_channel_that_refuses_does_not_refuse_the_batch() {
    let more = "channels = c o\n\
         sinks = k n\n\
         sources.r.channels = c o\n\
         sources.r.selector.optional = o\n\
         channels.o.type = memory\n\
         channels.o.capacity = 5\n\
         channels.o.transactionCapacity = 5\n\
         sinks.n.type = null\n\
         sinks.n.channel = o\n\
         sinks.n.batchSize = 5\n";
    let event = |number: u32| TestEvent::new(&[], format!("event {number}").as_bytes());
    let events: Vec<TestEvent> = (0..20).map(event).collect();
    let [flume, flumen] =
        BOTH.map(|start| lines_of(start, "optional", &(MEMORY.to_owned() + more), &events));
    assert_eq!(flume, flumen);
}

/// Every count of headers has its own order; so has each channel, because the file channel makes the map anew.
#[test]
fn headers_come_in_flumes_order() {
    const FILE: &str = "channels.c.type = file\n\
         channels.c.checkpointDir = FOLDER/checkpoint\n\
         channels.c.dataDirs = FOLDER/data\n\
         channels.c.minimumRequiredSpace = 1048576\n";
    const JOINED: &str = "channels = c\nsinks = k\nsources.r.channels = c\n";
    const ADDED: &str = "sources.r.interceptors = a b\n\
         sources.r.interceptors.a.type = static\n\
         sources.r.interceptors.a.key = datacenter\n\
         sources.r.interceptors.b.type = static\n\
         sources.r.interceptors.b.key = host\n";
    const NAMES: [&str; 13] = [
        "timestamp",
        "where",
        "tier",
        "arrival",
        "dc",
        "file",
        "basename",
        "app",
        "category",
        "id",
        "topic",
        "zone",
        "key",
    ];
    let event = |count: usize| {
        let headers: Vec<(&str, &str)> = NAMES[..count].iter().map(|name| (*name, "v")).collect();
        TestEvent::new(&headers, b"body")
    };
    for (channel, added) in [(MEMORY, ""), (FILE, ""), (MEMORY, ADDED), (FILE, ADDED)] {
        let counts = 0..=NAMES.len();
        let events: Vec<TestEvent> = counts.map(event).collect();
        let conf = format!("{JOINED}{channel}{added}");
        let [flume, flumen] = BOTH.map(|start| lines_of(start, "order", &conf, &events));
        assert_eq!(flume, flumen, "{conf}");
    }
}
