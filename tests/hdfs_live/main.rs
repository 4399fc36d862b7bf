//! The hdfs sink against a real HDFS, judged by Hadoop's own shell.
//!
//! One cluster for the whole binary; each test has a directory of its own in it.

#![allow(
    clippy::unwrap_used,
    clippy::single_range_in_vec_init,
    reason = "a test that cannot go on says where; the ranges are tables"
)]

mod feed;
mod shell;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use feed::{Log, body};
use flumen::channel::Consumer;
use flumen::config::{HdfsCodec, HdfsFileType, HdfsSinkConfig, SerializerConfig};
use flumen::metrics::SinkCounters;
use flumen::sink::hdfs::HdfsSink;
use flumen::sink::{Outside, Sink, Status};
use shell::Shell;

const NOW_MS: u64 = 1_709_568_429_123;

fn config(path: &str) -> HdfsSinkConfig {
    HdfsSinkConfig {
        path: path.to_owned(),
        file_prefix: "FlumeData".to_owned(),
        file_suffix: String::new(),
        in_use_prefix: String::new(),
        in_use_suffix: ".tmp".to_owned(),
        roll_interval: None,
        roll_bytes: None,
        roll_events: None,
        idle_timeout: None,
        batch_size: 100,
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

fn sink(config: HdfsSinkConfig, state: Option<PathBuf>) -> (HdfsSink, Arc<SinkCounters>) {
    let counters = Arc::new(SinkCounters::default());
    let outside = Outside::new(|| NOW_MS, || 7);
    let sink = HdfsSink::new(config, state, Arc::clone(&counters), outside).unwrap();
    (sink, counters)
}

/// Runs the sink until the channel is empty.
async fn drain(sink: &mut HdfsSink, consumer: &Consumer) {
    while sink.process(consumer).await.unwrap() == Status::Ready {}
}

fn lines(count: u64) -> String {
    (0..count).map(|number| body(number) + "\n").collect()
}

#[test]
fn files_are_named_rolled_and_renamed_as_flume_does() {
    let shell = Shell::start("naming");
    tokio_uring::start(async {
        let log = Log::with_events(25, &[("timestamp", "1709568429123")]);
        let mut config = config(&format!("{}/%Y-%m-%d", shell.root()));
        config.roll_events = Some(10);
        let (mut sink, counters) = sink(config, None);
        sink.start().await.unwrap();
        drain(&mut sink, &log.consumer()).await;
        sink.stop().await;

        let names: Vec<String> = (1..=3)
            .map(|number| format!("2024-03-04/FlumeData.{}", NOW_MS + number))
            .collect();
        assert_eq!(shell.list(), names);
        let content: String = names.iter().map(|name| shell.text(name)).collect();
        assert_eq!(content, lines(25));
        assert_eq!(log.delivered(), 25);
        assert_eq!(counters.connection_created.get(), 3);
        assert_eq!(counters.connection_closed.get(), 3);
        assert_eq!(counters.event_drain_success.get(), 25);
        assert_eq!(counters.batch_underflow.get(), 1);
        assert_eq!(counters.batch_empty.get(), 1);
    });
}

#[test]
fn committed_events_can_be_read_while_the_file_is_open() {
    let shell = Shell::start("open");
    tokio_uring::start(async {
        let log = Log::with_events(1000, &[]);
        let (mut sink, _) = sink(config(&shell.root()), None);
        drain(&mut sink, &log.consumer()).await;
        let open = format!("FlumeData.{}.tmp", NOW_MS + 1);
        assert_eq!(shell.text(&open), lines(1000));
        sink.stop().await;
    });
}

#[test]
fn hadoop_reads_every_codec_and_format() {
    let shell = Shell::start("formats");
    tokio_uring::start(async {
        // Hadoop needs its native library for zstd; codec.rs reads that one back itself.
        let codecs = [
            (HdfsCodec::Gzip, ".gz"),
            (HdfsCodec::Bzip2, ".bz2"),
            (HdfsCodec::Snappy, ".snappy"),
            (HdfsCodec::Deflate, ".deflate"),
        ];
        for (codec, extension) in codecs {
            let log = Log::with_events(2500, &[]);
            let mut config = config(&format!("{}/stream", shell.root()));
            config.file_type = HdfsFileType::CompressedStream;
            config.codec = Some(codec);
            let (mut sink, _) = sink(config, None);
            drain(&mut sink, &log.consumer()).await;
            sink.stop().await;
            let name = format!("stream/FlumeData.{}{extension}", NOW_MS + 1);
            assert_eq!(shell.text(&name), lines(2500), "{codec:?}");
        }
        for codec in [None, Some(HdfsCodec::Gzip), Some(HdfsCodec::Snappy)] {
            let log = Log::with_events(2500, &[("timestamp", "5")]);
            let mut config = config(&format!("{}/sequence{codec:?}", shell.root()));
            config.file_type = HdfsFileType::SequenceText;
            config.codec = codec;
            let (mut sink, _) = sink(config, None);
            drain(&mut sink, &log.consumer()).await;
            sink.stop().await;
            let name = format!("sequence{codec:?}/FlumeData.{}", NOW_MS + 1);
            let wanted: String = (0..2500).map(|n| format!("5\t{}\n", body(n))).collect();
            assert_eq!(shell.text(&name), wanted, "{codec:?}");
        }
        let log = Log::with_events(3, &[("timestamp", "5")]);
        let mut config = config(&format!("{}/writable", shell.root()));
        config.file_type = HdfsFileType::SequenceWritable;
        let (mut sink, _) = sink(config, None);
        drain(&mut sink, &log.consumer()).await;
        sink.stop().await;
        let text = shell.text(&format!("writable/FlumeData.{}", NOW_MS + 1));
        assert!(text.starts_with("5\t65 76 65 6e 74 20 30"), "{text}");
        assert_eq!(text.lines().count(), 3);
    });
}

#[test]
fn files_of_a_crashed_run_are_renamed_and_others_left_alone() {
    let shell = Shell::start("orphan");
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_owned();
    let first_log = Log::with_events(50, &[]);
    tokio_uring::start(async {
        let (mut sink, _) = sink(config(&shell.root()), Some(state.clone()));
        drain(&mut sink, &first_log.consumer()).await;
        // The crash: nothing is closed.
    });
    shell.put("FlumeData.1.tmp", "of another agent\n");
    let mine = format!("FlumeData.{}", NOW_MS + 1);
    assert!(shell.list().contains(&format!("{mine}.tmp")));
    tokio_uring::start(async {
        let (mut sink, _) = sink(config(&shell.root()), Some(state.clone()));
        sink.start().await.unwrap();
        for _ in 0..40 {
            sink.tick().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            if std::fs::read_dir(&state).unwrap().count() == 0 {
                break;
            }
        }
        sink.stop().await;
    });
    assert_eq!(shell.list(), ["FlumeData.1.tmp".to_owned(), mine.clone()]);
    assert_eq!(shell.text(&mine), lines(50));
}

#[test]
fn events_of_a_failed_file_go_to_a_new_one() {
    let shell = Shell::start("failure");
    tokio_uring::start(async {
        let log = Log::with_events(100, &[]);
        let consumer = log.consumer();
        let (mut sink, counters) = sink(config(&shell.root()), None);
        drain(&mut sink, &consumer).await;
        shell.remove(&format!("FlumeData.{}.tmp", NOW_MS + 1));
        log.add_events(100);
        assert_eq!(sink.process(&consumer).await.unwrap(), Status::Failed);
        assert_eq!(log.delivered(), 100);
        assert_eq!(counters.event_write_fail.get(), 1);
        drain(&mut sink, &consumer).await;
        assert_eq!(log.delivered(), 200);
        sink.stop().await;
        let names = shell.list();
        assert_eq!(names.len(), 1, "{names:?}");
        let wanted: String = (100..200).map(|number| body(number) + "\n").collect();
        assert_eq!(shell.text(&names[0]), wanted);
    });
}

#[test]
fn timers_close_and_rename() {
    let shell = Shell::start("timers");
    tokio_uring::start(async {
        let log = Log::with_events(10, &[]);
        let mut config = config(&shell.root());
        config.idle_timeout = Some(Duration::from_millis(300));
        let (mut sink, counters) = sink(config, None);
        drain(&mut sink, &log.consumer()).await;
        let wait = sink.tick().await.unwrap();
        assert!(wait <= Duration::from_millis(300));
        tokio::time::sleep(wait + Duration::from_millis(10)).await;
        assert_eq!(sink.tick().await, None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        sink.tick().await;
        assert_eq!(counters.connection_closed.get(), 1);
        assert_eq!(shell.list(), [format!("FlumeData.{}", NOW_MS + 1)]);
        sink.stop().await;
    });
}

#[test]
fn many_buckets_share_one_round_and_the_eldest_is_closed() {
    let shell = Shell::start("buckets");
    tokio_uring::start(async {
        let log = Log::with_events(60, &[]);
        let mut config = config(&format!("{}/%{{number}}", shell.root()));
        config.open_files_max = 3;
        let (mut sink, _) = sink(config, None);
        drain(&mut sink, &log.consumer()).await;
        sink.stop().await;
        let names = shell.list();
        // The header `number` is the event's number modulo 6.
        assert!(
            names.iter().all(|name| !name.ends_with(".tmp")),
            "{names:?}"
        );
        let content = shell.text("*/*");
        let mut all: Vec<String> = content.lines().map(str::to_owned).collect();
        all.sort();
        let mut wanted: Vec<String> = (0..60).map(body).collect();
        wanted.sort();
        assert_eq!(all, wanted);
        assert_eq!(log.delivered(), 60);
    });
}

#[test]
fn many_small_batches_share_a_flush() {
    let shell = Shell::start("speed");
    tokio_uring::start(async {
        let log = Log::default();
        log.add(200_000, |number| format!("{number:0512}"));
        let consumer = log.consumer();
        let (mut sink, counters) = sink(config(&shell.root()), None);
        sink.start().await.unwrap();
        let start = tokio::time::Instant::now();
        let mut calls = 0;
        while sink.process(&consumer).await.unwrap() == Status::Ready {
            calls += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{:.0} events of 512 B per second, {calls} flushes",
            200_000.0 / seconds
        );
        assert_eq!(log.delivered(), 200_000);
        assert_eq!(counters.batch_complete.get(), 2000);
        assert!(calls < 100, "{calls}");
        sink.stop().await;
    });
}
