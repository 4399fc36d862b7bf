//! Both servers on free ports, asked over plain sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::super::health::Phase;
use super::super::progress::{Console, Unit};
use super::*;
use crate::metrics::{ChannelKind, SinkKind, SourceKind};

struct Running {
    handle: AdminHandle,
    registry: Arc<Registry>,
    health: Arc<Health>,
    progress: Arc<ProgressBoard>,
}

fn running() -> Running {
    let registry = Registry::builder(1, 1)
        .source("r1", SourceKind::Standard)
        .channel("c1", ChannelKind::File, 1_000_000, [""])
        .sink("k1", SinkKind::Standard)
        .build();
    let health = Health::new();
    let progress = ProgressBoard::new(Console::stderr());
    let settings = AdminSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        flume_port: Some(0),
    };
    let handle = start(
        &settings,
        Arc::clone(&registry),
        Arc::clone(&health),
        Arc::clone(&progress),
    )
    .unwrap();
    Running {
        handle,
        registry,
        health,
        progress,
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

#[test]
fn flume_server_answers_as_flume_does() {
    let running = running();
    let address = running.handle.flume_address().unwrap();
    running
        .registry
        .channel("c1")
        .shard(0)
        .log
        .end_event
        .set(600_000);
    for path in ["/metrics", "/METRICS", "/Metrics"] {
        let answer = ask(address, "GET", path);
        assert_eq!(answer.status, 200, "{path}");
        let content_type = "content-type: application/json;charset=utf-8";
        assert!(answer.head.contains(content_type), "{}", answer.head);
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["CHANNEL.c1"]["ChannelSize"], "600000");
        assert_eq!(json["CHANNEL"]["c1"]["ChannelSize"], 600_000);
    }
    for (method, path, status) in [
        ("GET", "/", 200),
        ("OPTIONS", "/metrics", 403),
        ("TRACE", "/", 403),
        ("GET", "/metrics/", 404),
        ("GET", "/other", 404),
        ("PUT", "/metrics", 404),
    ] {
        assert_eq!(ask(address, method, path).status, status, "{method} {path}");
    }
}

#[test]
fn readyz_names_every_reason() {
    let running = running();
    let address = running.handle.address();
    let starting = ask(address, "GET", "/readyz");
    assert_eq!(starting.status, 503);
    assert_eq!(starting.body, "not ready\nagent: preflight\n");
    running.health.enter(Phase::Running);
    let ready = ask(address, "GET", "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let reason = "no healthy data directory: /data1: Input/output error";
    running.health.set_unready("channel c1", reason);
    let unready = ask(address, "GET", "/readyz");
    assert_eq!(unready.status, 503);
    assert_eq!(unready.body, format!("not ready\nchannel c1: {reason}\n"));
    let json = ask(address, "GET", "/readyz?format=json");
    assert_eq!(json.status, 503);
    let json: Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(json["ready"], false);
    assert_eq!(json["reasons"][0]["key"], "channel c1");
    assert_eq!(json["reasons"][0]["reason"], reason);
}

#[test]
fn livez_names_the_stalled_core() {
    let running = running();
    let address = running.handle.address();
    let _silent = running.health.heartbeat("shard 0");
    assert_eq!(ask(address, "GET", "/livez").status, 200);
    for _ in 0..20 {
        running.health.watch();
    }
    let stalled = ask(address, "GET", "/livez");
    assert_eq!(stalled.status, 503);
    assert!(stalled.body.starts_with("not live\nshard 0: stalled"));
}

#[test]
fn startupz_shows_phase_and_work() {
    let running = running();
    let address = running.handle.address();
    running.health.enter(Phase::Recovering);
    let work = running
        .progress
        .begin("channel c1: recovery", Unit::Bytes, 4_096);
    work.add(1_024);
    let text = ask(address, "GET", "/startupz");
    assert_eq!(text.status, 503);
    let start = "phase: recovering\nchannel c1: recovery: 25% done (1.00 KiB of 4.00 KiB)";
    assert!(text.body.starts_with(start), "{}", text.body);
    let json = ask(address, "GET", "/startupz?format=json");
    let json: Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(json["phase"], "recovering");
    assert_eq!(json["work"][0]["percent"], 25);
    work.finish();
    running.health.enter(Phase::Running);
    let started = ask(address, "GET", "/startupz");
    assert_eq!(
        (started.status, started.body.as_str()),
        (200, "phase: running\n")
    );
}

#[test]
fn prometheus_text_is_served_at_the_admin_address() {
    let running = running();
    running
        .registry
        .source("r1")
        .counters(0)
        .event_received
        .add(5);
    let answer = ask(running.handle.address(), "GET", "/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text")
    );
    let line = "flumen_source_received_events_total{source=\"r1\"} 5";
    assert!(answer.body.lines().any(|shown| shown == line));
}

#[test]
fn admin_address_that_is_taken_moves_to_a_free_port() {
    let first = running();
    let second = bind_admin(first.handle.address()).unwrap();
    let moved = second.local_addr().unwrap();
    assert_eq!(moved.ip(), first.handle.address().ip());
    assert_ne!(moved.port(), first.handle.address().port());
}

#[test]
fn stopped_server_gives_its_port_back() {
    let running = running();
    let address = running.handle.address();
    running.handle.stop();
    TcpListener::bind(address).unwrap();
}
