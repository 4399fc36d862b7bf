//! Orderly stops: a signal that comes before anything runs, and one that comes while frames come in faster
//! than they can be put.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::clock::pause;
use crate::support::conf::{avro_to_file_channel, file_roll_sink};
use crate::support::event::{Identity, checksum_of};
use crate::support::flumen::program;
use crate::support::process::Process;
use crate::support::rpc::{avro_event, call, frame};
use crate::support::{
    Compression, FlumenProcess, Oracle, RpcClient, Scratch, Status, TestEvent, file_roll,
    free_port, wait_until,
};

const SIGTERM: u32 = 15;

/// Whether a process has a handler of its own for a signal.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// The configuration is a pipe that nobody has written yet: the agent is as early in its life as can be.
#[test]
fn a_signal_in_the_first_moments_stops_in_order() {
    let scratch = Scratch::new("early-signal");
    let pipe = scratch.path().join("flume.properties");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("coreutils").success());
    let arguments = [
        "agent".to_owned(),
        "--conf-file".to_owned(),
        pipe.display().to_string(),
        "--name".to_owned(),
        "a".to_owned(),
        format!("-Dflumen.admin.address=127.0.0.1:{}", free_port()),
    ];
    let mut flumen = Process::start("flumen", scratch.path(), &program(), &arguments, false);
    flumen.wait_for("a handler of SIGTERM", Duration::from_secs(20), |process| {
        catches(process.pid(), SIGTERM)
    });
    flumen.begin_terminate();
    pause(Duration::from_millis(100));
    assert!(flumen.running(), "the signal waits until somebody looks");
    let conf = avro_to_file_channel("a", free_port(), &scratch.folder("wal"), "k")
        + &file_roll_sink("a", &scratch.folder("out"));
    std::fs::write(&pipe, conf).expect("the agent reads it");
    let status = flumen.wait_end(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{}", flumen.log());
}

fn event(prefix: &str, number: u64) -> TestEvent {
    let identity = Identity {
        prefix: prefix.to_owned(),
        connection: 0,
        number,
    };
    TestEvent::with_identity(&identity, 150)
}

/// Sends events from number 1 on, without waiting for answers, until the collector takes no more or
/// `ended`, as a client does that sees the end of its connection. Returns how many may have gone out whole.
fn pour(mut stream: TcpStream, prefix: &str, ended: &AtomicBool) -> u64 {
    let mut number = 0;
    loop {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            number += 1;
            // The handshake had serial 1.
            let serial = i32::try_from(number + 1).expect("few");
            bytes.extend(frame(
                serial,
                &[&call("append", &avro_event(&event(prefix, number)))],
            ));
        }
        if stream.write_all(&bytes).is_err() || ended.load(Ordering::Relaxed) {
            return number;
        }
    }
}

/// A client that pipelines has whole frames in the collector's receive memory when it stops. Those that were
/// put are stored and answered; the others are neither, and the client has them still.
#[test]
fn what_was_received_and_not_put_at_a_stop_is_sent_again() {
    let scratch = Scratch::new("pipelined-stop");
    let (port, output) = (free_port(), scratch.folder("out"));
    let conf = avro_to_file_channel("a", port, &scratch.folder("wal"), "k")
        + &file_roll_sink("a", &output);
    let mut collector = FlumenProcess::start(&conf, "a");
    let mut oracle = Oracle::new();
    let mut unanswered_total = 0;
    for round in 0..6 {
        let prefix = format!("poured{round}");
        let mut client = RpcClient::connect(port, Compression::None).expect("it listens");
        let first = client.append(&event(&prefix, 0)).expect("a reply");
        assert_eq!(first, Status::Ok);
        let stream = client.stream().try_clone().expect("a descriptor");
        let name = prefix.clone();
        let ended = Arc::new(AtomicBool::new(false));
        let pouring = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || pour(stream, &name, &ended)
        });
        let mut answered = 0;
        while let Ok(reply) = client.receive() {
            answered += 1;
            let serial = i32::try_from(answered + 1).expect("few");
            assert_eq!(
                reply.serial, serial,
                "replies leave in the order of their calls"
            );
            assert_eq!(reply.status(), Status::Ok);
            if answered == 2_000 + 700 * round {
                collector.begin_stop();
            }
        }
        ended.store(true, Ordering::Relaxed);
        let sent = pouring.join().expect("it only writes");
        unanswered_total += sent - answered;
        assert!(collector.stop().success(), "an orderly stop");
        let checksums = (0..=sent).map(|number| checksum_of(&event(&prefix, number).body));
        let checksums: Vec<u32> = checksums.map(|crc| crc.expect("one of ours")).collect();
        oracle.sent_with(&prefix, 0, 0, &checksums);
        // As an agent does: everything without an answer, again.
        collector.restart();
        let mut client = RpcClient::connect(port, Compression::None).expect("it listens");
        let numbers: Vec<u64> = (answered + 1..=sent).collect();
        for numbers in numbers.chunks(500) {
            let events: Vec<TestEvent> = numbers.iter().map(|&n| event(&prefix, n)).collect();
            assert_eq!(client.append_batch(&events).expect("a reply"), Status::Ok);
        }
        oracle.acknowledged(&prefix, 0, 0, sent);
    }
    assert!(unanswered_total > 0, "no stop came while frames waited");
    wait_until("every event in the output", Duration::from_secs(60), || {
        oracle.forget_arrivals();
        file_roll::show(&output, &mut oracle);
        oracle.complete()
    });
    assert!(collector.stop().success(), "an orderly stop");
    oracle.forget_arrivals();
    file_roll::show(&output, &mut oracle);
    let findings = oracle.assert_nothing_lost();
    oracle.assert_in_order();
    println!(
        "{} events, {unanswered_total} of them without an answer at a stop, {} duplicates",
        findings.delivered, findings.duplicates
    );
    assert!(findings.duplicates <= unanswered_total);
}
