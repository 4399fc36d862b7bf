//! The sinks that write local files: `file_roll`, and `hdfs` on `file://`. Real files, real ring.

#![allow(
    clippy::unwrap_used,
    clippy::single_range_in_vec_init,
    reason = "a test that cannot go on says where; the ranges are tables"
)]

#[path = "../hdfs_live/feed.rs"]
mod feed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use feed::{Log, body};
use flumen::channel::Consumer;
use flumen::config::{FileRollConfig, HdfsFileType, HdfsSinkConfig, SerializerConfig};
use flumen::metrics::SinkCounters;
use flumen::sink::file_roll::FileRollSink;
use flumen::sink::hdfs::HdfsSink;
use flumen::sink::{Outside, Sink, Status};

const NOW_MS: u64 = 1_709_568_429_123;

async fn drain(sink: &mut impl Sink, consumer: &Consumer) {
    while sink.process(consumer).await.unwrap() == Status::Ready {}
}

/// Names of files below `directory` and their contents, sorted.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).unwrap();
            let content = std::fs::read(&path).unwrap();
            found.push((
                name.to_str().unwrap().to_owned(),
                String::from_utf8_lossy(&content).into_owned(),
            ));
        }
    }
    found.sort();
    found
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| body(number) + "\n").collect()
}

fn outside() -> Outside {
    Outside::new(|| NOW_MS, || 7)
}

fn roll_config(directory: &Path, roll_interval: Option<Duration>) -> FileRollConfig {
    FileRollConfig {
        directory: directory.to_owned(),
        roll_interval,
        serializer: SerializerConfig::Text {
            append_newline: true,
        },
        batch_size: 100,
        roll_time_names: false,
        prefix: String::new(),
        extension: String::new(),
    }
}

#[test]
fn file_roll_opens_the_next_file_when_it_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(150, &[]);
        let consumer = log.consumer();
        let counters = Arc::new(SinkCounters::default());
        let interval = Duration::from_millis(400);
        let config = roll_config(directory.path(), Some(interval));
        let mut sink = FileRollSink::new(config, Arc::clone(&counters), outside());
        sink.start().await.unwrap();
        drain(&mut sink, &consumer).await;
        let wait = sink.tick().await.unwrap();
        tokio::time::sleep(wait).await;
        drain(&mut sink, &consumer).await;
        let wait = sink.tick().await.unwrap();
        tokio::time::sleep(wait).await;
        log.add_events(10);
        drain(&mut sink, &consumer).await;
        sink.stop().await;
        assert_eq!(
            files(directory.path()),
            [
                (format!("{NOW_MS}-1"), lines(0..150)),
                (format!("{NOW_MS}-2"), String::new()),
                (format!("{NOW_MS}-3"), lines(150..160)),
            ]
        );
        assert_eq!(log.delivered(), 160);
        assert_eq!(counters.connection_created.get(), 3);
        assert_eq!(counters.connection_closed.get(), 3);
        assert_eq!(counters.batch_complete.get(), 1);
        assert_eq!(counters.batch_underflow.get(), 2);
        assert_eq!(counters.event_drain_success.get(), 160);
    });
}

#[test]
fn file_roll_that_is_idle_leaves_an_empty_file_per_interval() {
    let directory = tempfile::tempdir().unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(10, &[]);
        let consumer = log.consumer();
        let counters = Arc::new(SinkCounters::default());
        let interval = Duration::from_millis(200);
        let config = roll_config(directory.path(), Some(interval));
        let mut sink = FileRollSink::new(config, Arc::clone(&counters), outside());
        sink.start().await.unwrap();
        drain(&mut sink, &consumer).await;
        // As an idle runner does: nothing but ticks.
        let mut ticks = 0;
        while counters.connection_created.get() < 4 {
            let wait = sink.tick().await.expect("there is a timer");
            tokio::time::sleep(wait).await;
            ticks += 1;
        }
        sink.stop().await;
        assert!(ticks <= 8, "{ticks} ticks for three intervals");
        let found = files(directory.path());
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[0].1, lines(0..10));
        assert!(
            found[1..].iter().all(|(_, text)| text.is_empty()),
            "{found:?}"
        );
    });
}

#[test]
fn file_roll_keeps_events_while_its_directory_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "not a directory").unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(5, &[]);
        let consumer = log.consumer();
        let config = roll_config(&blocked, None);
        let mut sink = FileRollSink::new(config, Arc::default(), outside());
        sink.process(&consumer).await.unwrap_err();
        assert_eq!(log.delivered(), 0);
        std::fs::remove_file(&blocked).unwrap();
        drain(&mut sink, &consumer).await;
        assert_eq!(log.delivered(), 5);
        sink.stop().await;
    });
    assert_eq!(files(&blocked), [(format!("{NOW_MS}-2"), lines(0..5))]);
}

fn hdfs_config(directory: &Path) -> HdfsSinkConfig {
    HdfsSinkConfig {
        path: format!("file://{}", directory.display()),
        file_prefix: "FlumeData".to_owned(),
        file_suffix: String::new(),
        in_use_prefix: String::new(),
        in_use_suffix: ".tmp".to_owned(),
        roll_interval: None,
        roll_bytes: None,
        roll_events: None,
        idle_timeout: None,
        batch_size: 10,
        file_type: HdfsFileType::DataStream,
        codec: None,
        serializer: SerializerConfig::Text {
            append_newline: true,
        },
        open_files_max: 5000,
        call_timeout: Some(Duration::from_secs(30)),
        close_tries: None,
        retry_interval: Duration::from_secs(1),
        round: None,
        time_zone: Some("UTC".to_owned()),
        use_local_timestamp: false,
        kerberos_principal: None,
        kerberos_keytab: None,
        proxy_user: None,
        hadoop_conf_dir: None,
    }
}

fn hdfs(config: HdfsSinkConfig, state: Option<&Path>) -> HdfsSink {
    let state = state.map(Path::to_owned);
    HdfsSink::new(config, state, Arc::default(), outside()).unwrap()
}

#[test]
fn roll_rules_look_before_an_append() {
    // Bodies of events 0 to 9 have 7 bytes.
    let check = |bytes: Option<u64>, events: Option<u64>, wanted: &[std::ops::Range<u64>]| {
        let directory = tempfile::tempdir().unwrap();
        tokio_uring::start(async {
            let log = Log::with_events(10, &[]);
            let mut config = hdfs_config(directory.path());
            config.roll_bytes = bytes;
            config.roll_events = events;
            let mut sink = hdfs(config, None);
            drain(&mut sink, &log.consumer()).await;
            sink.stop().await;
        });
        let contents: Vec<String> = files(directory.path())
            .into_iter()
            .map(|(_, content)| content)
            .collect();
        let wanted: Vec<String> = wanted.iter().cloned().map(lines).collect();
        assert_eq!(contents, wanted, "{bytes:?} {events:?}");
    };
    check(None, None, &[0..10]);
    check(None, Some(5), &[0..5, 5..10]);
    check(None, Some(4), &[0..4, 4..8, 8..10]);
    check(Some(28), None, &[0..4, 4..8, 8..10]);
    check(Some(29), None, &[0..5, 5..10]);
    check(
        Some(1),
        None,
        &[0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7, 7..8, 8..9, 9..10],
    );
    check(Some(29), Some(3), &[0..3, 3..6, 6..9, 9..10]);
}

#[test]
fn affixes_stand_where_flume_puts_them() {
    let directory = tempfile::tempdir().unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(1, &[("basename", "nginx.log-1"), ("host", "10.0.0.1")]);
        let mut config = hdfs_config(directory.path());
        config.path += "/%{host}/";
        config.file_prefix = "%{basename}.[%{host}]".to_owned();
        config.file_suffix = ".log".to_owned();
        config.in_use_prefix = "_".to_owned();
        let mut sink = hdfs(config, None);
        drain(&mut sink, &log.consumer()).await;
        let name = format!("nginx.log-1.[10.0.0.1].{}.log", NOW_MS + 1);
        let names = |directory: &Path| files(directory).remove(0).0;
        assert_eq!(names(directory.path()), format!("10.0.0.1/_{name}.tmp"));
        sink.stop().await;
        assert_eq!(names(directory.path()), format!("10.0.0.1/{name}"));
    });
}

#[test]
fn names_that_are_taken_are_passed_over_and_nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory
        .path()
        .join(format!("FlumeData.{}.tmp", NOW_MS + 1));
    std::fs::write(taken, "theirs").unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(1, &[]);
        let mut sink = hdfs(hdfs_config(directory.path()), None);
        drain(&mut sink, &log.consumer()).await;
        sink.stop().await;
    });
    assert_eq!(
        files(directory.path()),
        [
            (format!("FlumeData.{}.tmp", NOW_MS + 1), "theirs".to_owned()),
            (format!("FlumeData.{}", NOW_MS + 2), lines(0..1)),
        ]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn what_a_crash_left_open_is_renamed_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    tokio_uring::start(async {
        let log = Log::with_events(3, &[]);
        let mut sink = hdfs(hdfs_config(directory.path()), Some(state.path()));
        drain(&mut sink, &log.consumer()).await;
    });
    tokio_uring::start(async {
        let mut sink = hdfs(hdfs_config(directory.path()), Some(state.path()));
        sink.start().await.unwrap();
        sink.stop().await;
    });
    let name = format!("FlumeData.{}", NOW_MS + 1);
    assert_eq!(files(directory.path()), [(name, lines(0..3))]);
    assert!(files(state.path()).is_empty());
}

#[test]
fn other_file_systems_are_refused_by_name() {
    tokio_uring::start(async {
        let mut config = hdfs_config(Path::new("/x"));
        config.path = "s3a://bucket/x".to_owned();
        let error = hdfs(config, None).start().await.unwrap_err();
        assert!(error.to_string().contains("scheme 's3a'"), "{error}");
    });
}
