//! Connections that shake hands and then say nothing: what a fleet looks like at night.

#![expect(
    clippy::disallowed_methods,
    reason = "the connections are held for real time"
)]

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::batch::{handshake, put_bytes, put_u32};
use crate::reply::{Replies, after_handshake};
use crate::{Idle, process};

/// Opens the connections, says `holding` on standard error, holds them, and counts those still open.
pub(crate) fn hold(options: &Idle) -> Result<Value, String> {
    let mut open = Vec::new();
    for number in 0..options.connections {
        let stream = connect(options).map_err(|error| format!("connection {number}: {error}"))?;
        open.push(stream);
    }
    eprintln!("holding {} connections", open.len());
    thread::sleep(Duration::from_secs_f64(options.seconds));
    let memory = options
        .server_pid
        .and_then(|pid| process::resident_kib(&pid.to_string()));
    let alive = open.iter().filter(|stream| is_open(stream)).count();
    Ok(json!({
        "connections": options.connections,
        "open_at_the_end": alive,
        "server_rss_kib": memory.map(|(now, _)| now),
        "server_rss_peak_kib": memory.map(|(_, peak)| peak),
    }))
}

/// Connects and sends Avro's ping: a call with an empty name, which the server answers with the
/// handshake alone.
fn connect(options: &Idle) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(options.to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut message = handshake();
    message.push(0);
    put_bytes(&mut message, b"");
    let mut frame = Vec::new();
    put_u32(&mut frame, 1);
    put_u32(&mut frame, 1);
    put_u32(&mut frame, message.len());
    frame.extend_from_slice(&message);
    stream.write_all(&frame)?;
    let (_, reply) = Replies::new().next(&mut stream)?;
    after_handshake(&reply)?;
    Ok(stream)
}

/// Nothing to read is what an idle connection looks like; an end of file is a closed one.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}
