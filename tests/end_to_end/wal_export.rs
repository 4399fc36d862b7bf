//! `flumen wal export` and `repair`: what comes out is what went in, whoever reads it, and a log that an
//! agent refuses, or would skip events of, is served again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::wal_site::{
    Dirs, ONE_SHARD, backlog_conf, copy_folder, fingerprints, flip, overwrite, send_blocks,
    small_segments, start, stopped_log, wait_for_all, wal,
};
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::{FlumeAgent, FlumenProcess, Oracle, Scratch, file_roll, free_port};

/// A collector `b` that writes what it gets to `output`; deflated connections when `deflate`.
fn taker_conf(port: u16, output: &Path, deflate: bool) -> String {
    let compression = match deflate {
        true => "b.sources.r.compression-type = deflate\n",
        false => "",
    };
    format!(
        "b.sources = r\nb.channels = c\nb.sinks = k\n\
         b.sources.r.type = avro\nb.sources.r.bind = 127.0.0.1\nb.sources.r.port = {port}\n\
         b.sources.r.channels = c\n{compression}\
         b.channels.c.type = memory\nb.channels.c.capacity = 200000\n\
         b.channels.c.transactionCapacity = 10000\n\
         b.sinks.k.type = file_roll\nb.sinks.k.channel = c\n\
         b.sinks.k.sink.directory = {}\nb.sinks.k.sink.rollInterval = 0\n",
        output.display()
    )
}

fn show(output: &Path, oracle: &mut Oracle) {
    file_roll::show(output, oracle);
}

/// The words that an export prints to go on from where it ended.
fn continue_words(answer: &Value) -> Vec<String> {
    let shards = answer["shards"].as_array().unwrap().iter();
    shards
        .flat_map(|shard| {
            [
                "--from".to_owned(),
                format!("{}:{}", shard["shard"], shard["next"]),
            ]
        })
        .collect()
}

#[test]
fn files_hold_what_was_sent_in_each_form() {
    let (scratch, dirs, mut oracle) = stopped_log("wal-export", 120, 100);
    let before = fingerprints(&dirs.data);
    let raw = dirs.wal("export", &["--backlog", "--format", "raw"]);
    assert_eq!(raw.code, 0, "{}", raw.error);
    assert!(raw.error.contains("12000 events exported"), "{}", raw.error);
    assert!(raw.error.contains("--from 0:12000"), "{}", raw.error);
    for line in raw.text().lines() {
        oracle.arrived(line.as_bytes());
    }
    oracle.assert_nothing_lost();
    oracle.assert_in_order();

    let path = scratch.path().join("events.json").display().to_string();
    let json = dirs.wal(
        "export",
        &["--all", "--format", "json", "-o", &path, "--json"],
    );
    assert_eq!(json.code, 0, "{}", json.error);
    assert_eq!(json.json()["events"], 12_000);
    oracle.forget_arrivals();
    for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["event"], number as u64);
        assert_eq!(line["headers"]["host"], "sender");
        oracle.arrived(line["body"].as_str().unwrap().as_bytes());
    }
    oracle.assert_nothing_lost();
    let again = dirs.wal("export", &["--all", "-o", &path]);
    assert_eq!(
        again.code, 74,
        "a file that is there is not overwritten: {again:?}"
    );

    let path = scratch.path().join("events.avro").display().to_string();
    let part = ["--from", "0:150", "--until", "0:250", "-o", &path];
    assert_eq!(dirs.wal("export", &part).code, 0);
    let reader = apache_avro::Reader::new(fs::File::open(&path).unwrap()).unwrap();
    let bodies: Vec<Vec<u8>> = reader.map(|value| body(value.unwrap())).collect();
    assert_eq!(bodies.len(), 100);
    for (body, number) in bodies.iter().zip(150..) {
        let text = String::from_utf8_lossy(body);
        assert!(text.starts_with(&format!("log-0-{number}|")), "{text}");
    }
    assert_eq!(before, fingerprints(&dirs.data), "an export changed a file");
}

fn body(value: apache_avro::types::Value) -> Vec<u8> {
    let apache_avro::types::Value::Record(fields) = value else {
        panic!("no record");
    };
    let body = fields.into_iter().find(|(name, _)| name == "body");
    match body {
        Some((_, apache_avro::types::Value::Bytes(body))) => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_export_passes_over_damage_and_says_what_it_cost() {
    let (_scratch, dirs, _) = stopped_log("wal-export-damage", 30, 100);
    let place = dirs.wal("inspect", &["--block", "11", "--json"]).json();
    let file = place["file"].as_str().unwrap();
    flip(Path::new(file), place["offset"].as_u64().unwrap() + 2_000);
    let answer = dirs.wal("export", &["--backlog", "--format", "raw"]);
    assert_eq!(answer.code, 65, "{}", answer.error);
    assert_eq!(answer.text().lines().count(), 2_900);
    assert!(
        answer.error.contains("100 events are lost to damage"),
        "{}",
        answer.error
    );
    assert!(answer.error.contains("--from 0:3000"), "{}", answer.error);
    let unknown = dirs.wal("export", &["--backlog", "nobody"]);
    assert_eq!(unknown.code, 66, "{}", unknown.error);
    assert_eq!(dirs.wal("export", &[]).code, 64);
}

#[test]
fn a_real_flume_takes_a_backlog_and_the_next_collector_goes_on() {
    let (scratch, dirs, mut oracle) = stopped_log("wal-export-flume", 100, 100);
    for deflate in [false, true] {
        let (port, output) = (free_port(), scratch.folder(&format!("out-{deflate}")));
        let to = format!("127.0.0.1:{port}");
        let down = dirs.wal(
            "export",
            &["--backlog", "--to", &to, "--attempts", "2", "--json"],
        );
        assert_eq!(down.code, 69, "{}", down.error);
        assert_eq!(continue_words(&down.json()), ["--from", "0:0"]);

        let _flume = FlumeAgent::start(&taker_conf(port, &output, deflate), "b");
        let compress: &[&str] = if deflate { &["--deflate"] } else { &[] };
        let mut words = vec![
            "--backlog",
            "--until",
            "0:4321",
            "--to",
            &to,
            "--batch",
            "250",
            "--json",
        ];
        words.extend(compress);
        let part = dirs.wal("export", &words);
        assert_eq!(part.code, 0, "{}", part.error);
        let rest = continue_words(&part.json());
        assert_eq!(rest, ["--from", "0:4321"]);
        let mut words: Vec<&str> = rest.iter().map(String::as_str).collect();
        words.extend(["--to", &to, "--json"]);
        words.extend(compress);
        let part = dirs.wal("export", &words);
        assert_eq!(part.code, 0, "{}", part.error);
        assert_eq!(part.json()["events"], 10_000 - 4_321);
        wait_for_all(&mut oracle, |oracle| show(&output, oracle));
        let findings = oracle.assert_nothing_lost();
        assert_eq!((findings.delivered, findings.duplicates), (10_000, 0));
        oracle.assert_in_order();
        oracle.forget_arrivals();
    }
}

#[test]
fn an_export_survives_the_death_of_the_collector_it_sends_to() {
    let (scratch, dirs, mut oracle) = stopped_log("wal-export-killed", 200, 100);
    let (port, output) = (free_port(), scratch.folder("out"));
    let conf = small_segments(&avro_to_file_channel(
        "a",
        port,
        &scratch.folder("taker"),
        "k",
    )) + &file_roll_sink("a", &output);
    let mut taker = start(&conf);
    let to = format!("127.0.0.1:{port}");
    let export = std::thread::spawn({
        let dirs = dirs.clone();
        move || {
            let words = [
                "--backlog",
                "--to",
                &to,
                "--batch",
                "20",
                "--attempts",
                "100",
                "--json",
            ];
            dirs.wal("export", &words)
        }
    });
    crate::support::clock::pause(Duration::from_millis(300));
    taker.restart();
    let answer = export.join().unwrap();
    assert_eq!(answer.code, 0, "{}", answer.error);
    assert_eq!(answer.json()["events"], 20_000);
    wait_for_all(&mut oracle, |oracle| show(&output, oracle));
}

/// Starts an agent on `dirs` that delivers to `output`.
fn draining(folder: &Path, port: u16, output: &Path) -> FlumenProcess {
    let conf = small_segments(&avro_to_file_channel("a", port, folder, "k"))
        + &file_roll_sink("a", output);
    FlumenProcess::prepare(&conf, "a", ONE_SHARD, &[])
}

fn code_of_start(flumen: &mut FlumenProcess) -> Option<i32> {
    flumen.launch_unready();
    flumen.process().wait_end(Duration::from_secs(60)).code()
}

#[test]
fn twins_are_told_apart_and_every_acknowledged_event_is_delivered() {
    let scratch = Scratch::new("wal-twins");
    let folder = scratch.folder("wal");
    let dirs = Dirs::below(&folder);
    let mut oracle = Oracle::new();
    let port = free_port();
    let mut flumen = start(&backlog_conf(port, &folder));
    send_blocks(port, "first", 20, 50, &mut oracle);
    flumen.kill();
    // The disk with the log is not mounted for one start, and no checkpoint knew its segment.
    let away = scratch.path().join("away");
    fs::rename(&dirs.data, &away).unwrap();
    fs::remove_dir_all(&dirs.checkpoint).unwrap();
    flumen.restart();
    send_blocks(port, "second", 30, 50, &mut oracle);
    assert!(flumen.stop().success());
    // It comes back: both hold a segment 1, and different events under the same numbers.
    let stray = dirs.segment(50);
    fs::copy(away.join("shard-000/segment-00000000.wal"), &stray).unwrap();

    let output = scratch.folder("out");
    let mut agent = draining(&folder, port, &output);
    assert_eq!(code_of_start(&mut agent), Some(74), "{}", agent.log());
    let verify = dirs.wal("verify", &["--json"]);
    assert_eq!(verify.code, 65, "{}", verify.text());
    let damage = &verify.json()["damage"][0];
    assert_eq!(
        (&damage["kind"], &damage["events"]),
        (&"twins".into(), &1_000.into())
    );

    let before = fingerprints(&dirs.data);
    let plan = dirs.wal("repair", &[]);
    assert_eq!(plan.code, 65, "{}", plan.text());
    assert!(
        plan.text().contains("nothing was changed"),
        "{}",
        plan.text()
    );
    assert_eq!(before, fingerprints(&dirs.data));
    let done = dirs.wal("repair", &["--yes", "--json"]);
    assert_eq!(done.code, 0, "{}{}", done.text(), done.error);
    let done = done.json();
    let action = &done["actions"][0];
    assert_eq!(action["file"].as_str(), stray.to_str());
    assert_eq!(action["holds"]["events"], 1_000);
    let aside = action["aside"].as_str().unwrap();
    assert!(aside.ends_with("segment-00000050.damaged-0"), "{aside}");
    assert_eq!(
        dirs.wal("repair", &[]).code,
        0,
        "there is nothing left to do"
    );
    assert_eq!(dirs.wal("verify", &[]).code, 0);

    agent.launch();
    let to = format!("127.0.0.1:{port}");
    let export = wal(&["export", "--file", aside, "--to", &to]);
    assert_eq!(export.code, 0, "{}", export.error);
    wait_for_all(&mut oracle, |oracle| show(&output, oracle));
}

#[test]
fn a_log_with_lost_headers_and_a_lost_checkpoint_is_repaired_and_drained() {
    let (scratch, dirs, mut oracle) = stopped_log("wal-repair", 200, 100);
    flip(&dirs.segment(0), 20);
    overwrite(&dirs.segment(1), 0, &[0; 4096]);
    flip(&dirs.checkpoint.join("checkpoint-1"), 40);
    let whole: usize = fingerprints(&dirs.data).len();
    let done = dirs.wal("repair", &["--yes", "--json"]);
    assert_eq!(done.code, 0, "{}{}", done.text(), done.error);
    let done = done.json();
    assert_eq!(fingerprints(&dirs.data).len(), whole, "nothing is deleted");
    // The files are known by their blocks; only the checkpoint has to be set aside.
    assert_eq!(done["actions"].as_array().unwrap().len(), 1, "{done}");

    let (port, output) = (free_port(), scratch.folder("out"));
    let mut agent = draining(dirs.data.parent().unwrap(), port, &output);
    agent.launch();
    wait_for_all(&mut oracle, |oracle| show(&output, oracle));
}

#[test]
fn a_segment_of_another_version_is_set_aside() {
    let (scratch, dirs, _) = stopped_log("wal-version", 20, 50);
    let copy = scratch.folder("copy");
    copy_folder(&dirs.data, &copy);
    let path = dirs.segment(0);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut header = [0; 68];
    file.read_exact_at(&mut header, 0).unwrap();
    header[8] = 9;
    let crc = crc32c::crc32c(&header[..64]);
    header[64..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&header, 0).unwrap();
    let (port, output) = (free_port(), scratch.folder("out"));
    let mut agent = draining(dirs.data.parent().unwrap(), port, &output);
    assert_eq!(code_of_start(&mut agent), Some(74), "{}", agent.log());
    assert_eq!(dirs.wal("repair", &["--yes"]).code, 0);
    agent.launch();
    assert!(path.with_extension("damaged-0").exists());
}
