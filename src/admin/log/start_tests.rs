//! From a `tracing` macro to the line in the file.

use std::error::Error;

use tracing::level_filters::LevelFilter;
use tracing::{error, info};

use super::super::settings::{FileLog, Roll};
use super::*;

#[derive(Debug, thiserror::Error)]
#[error("flush of segment 3 failed")]
struct FlushFailed(#[source] io::Error);

/// What is in the log file after `log` ran, each line without its date.
fn logged(level: LevelFilter, filter: Option<&str>, log: impl Fn()) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flume.log");
    let settings = LogSettings {
        level,
        console: false,
        file: Some(FileLog {
            path: path.clone(),
            roll: Roll::Size,
        }),
        filter: filter.map(str::to_owned),
        warnings: Vec::new(),
    };
    let (subscriber, guard) = prepare(&settings, &Console::stderr()).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    guard.flush();
    let text = std::fs::read_to_string(&path).unwrap();
    drop(guard);
    assert_eq!(
        text,
        std::fs::read_to_string(&path).unwrap(),
        "flush wrote all"
    );
    let date_bytes = "13 Jun 2018 22:00:38,898 ".len();
    text.lines()
        .map(|line| match line.starts_with(['\t', 'C']) {
            true => line.to_owned(),
            false => line[date_bytes..].to_owned(),
        })
        .collect()
}

#[test]
fn fields_follow_the_message_and_thread_replaces_the_threads_name() {
    let lines = logged(LevelFilter::INFO, None, || {
        info!(
            target: "org.apache.flume.sink.LoggerSink.process(LoggerSink.java:94)",
            thread = "SinkRunner-PollingRunner-DefaultSinkProcessor",
            port = 4141,
            host = %"h1",
            "Event: {{ headers:{{}} body: }}"
        );
    });
    assert_eq!(
        lines,
        ["INFO  [SinkRunner-PollingRunner-DefaultSinkProcessor] \
             (org.apache.flume.sink.LoggerSink.process:94)  - \
             Event: { headers:{} body: } port=4141 host=h1"]
    );
}

#[test]
fn causes_stand_under_the_message() {
    let failed = FlushFailed(io::Error::other("Input/output error\nof the device"));
    let lines = logged(LevelFilter::INFO, None, || {
        error!(
            target: "t(x:1)",
            thread = "shard-0",
            error = &failed as &(dyn Error + 'static),
            "Channel c1 takes no batches"
        );
    });
    assert_eq!(
        lines,
        [
            "ERROR [shard-0] (t:1)  - Channel c1 takes no batches",
            "Caused by: flush of segment 3 failed",
            "Caused by: Input/output error",
            "\tof the device",
        ]
    );
}

#[test]
fn level_and_filter_decide_what_is_logged() {
    let log = || {
        info!(target: "a(x:1)", thread = "t", "info of a");
        info!(target: "b(x:1)", thread = "t", "info of b");
        warn!(target: "b(x:1)", thread = "t", "warning of b");
    };
    let of_level = logged(LevelFilter::WARN, None, log);
    assert_eq!(of_level, ["WARN  [t] (b:1)  - warning of b"]);
    let of_filter = logged(LevelFilter::WARN, Some("off,a=info"), log);
    assert_eq!(of_filter, ["INFO  [t] (a:1)  - info of a"]);
    assert!(logged(LevelFilter::OFF, None, log).is_empty());
}

#[test]
fn filter_that_does_not_parse_is_refused_by_name() {
    let settings = LogSettings {
        level: LevelFilter::INFO,
        console: false,
        file: None,
        filter: Some("flumen=loud".to_owned()),
        warnings: Vec::new(),
    };
    let refused = prepare(&settings, &Console::stderr()).err().unwrap();
    assert!(refused.to_string().contains("flumen=loud"));
}
