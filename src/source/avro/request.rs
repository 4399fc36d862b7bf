//! One call: the handshake it may begin with, what it asks, its events into the channels.
//!
//! Runs inside a connection's reading half, over the message in its receive memory.

use std::net::SocketAddr;
use std::sync::PoisonError;

use super::call::{Call, CallError};
use super::foreign::Foreign;
use super::handshake::{Handshake, HandshakeError, Layout, Match, response};
use super::outbox::{Answer, Pending};
use super::scan::{Pieces, ScanError, scan_array, scan_event};
use super::service::Service;
use crate::channel::Put;
use crate::event::{AvroError, Batch, Cursor, write_long};
use crate::selector::Receipt;

/// Reads the message of a frame and puts its events. Returns when they are copied; `pending` then
/// holds the answer, or what it waits for. `connected` is set by the handshake.
pub(crate) async fn serve_call<P: Put>(
    service: &Service<P>,
    peer: SocketAddr,
    connected: &mut Option<Layout>,
    message: &[u8],
    pending: &mut Pending<P::Commit>,
) {
    let mut cursor = Cursor::new(message);
    if connected.is_none() {
        match agree(service, &mut cursor) {
            Ok((layout, matched)) => {
                pending.handshake = response(matched);
                *connected = layout;
            }
            Err(text) => {
                service.unreadable(peer, &text);
                pending.answer = Answer::Error(text);
                return;
            }
        }
    }
    // NONE: the client sends its protocol next, and the call with it.
    let Some(layout) = connected else {
        return;
    };
    if let Err(text) = execute(service, layout, cursor, pending).await {
        service.unreadable(peer, &text);
        pending.answer = Answer::Error(text);
    }
}

fn agree<P>(
    service: &Service<P>,
    cursor: &mut Cursor<'_>,
) -> Result<(Option<Layout>, Match), String> {
    let handshake = Handshake::read(cursor).map_err(|error| java_text(&error))?;
    let protocols = service.protocols.lock();
    let agreed = protocols
        .unwrap_or_else(PoisonError::into_inner)
        .agree(&handshake);
    agreed.map_err(|error| match error {
        HandshakeError::Avro(error) => java_text(&error),
        other @ (HandshakeError::ProtocolText { .. } | HandshakeError::Foreign(_)) => {
            runtime_text(&other)
        }
    })
}

/// Sets the answer, or tells the text of an RPC error.
async fn execute<P: Put>(
    service: &Service<P>,
    layout: &Layout,
    mut cursor: Cursor<'_>,
    pending: &mut Pending<P::Commit>,
) -> Result<(), String> {
    match Call::read(&mut cursor) {
        Ok(Call::Append) => {}
        Ok(Call::AppendBatch) => pending.is_batch = true,
        Ok(Call::Ping) => return Ok(()),
        Ok(Call::Unknown(name)) => return Err(unknown(name)),
        Err(CallError::Head(error)) => return Err(java_text(&error)),
    }
    let encoded;
    if let Layout::Foreign(foreign) = layout {
        encoded = encode_as_ours(service, foreign, pending.is_batch, cursor.rest())?;
        cursor = Cursor::new(&encoded);
    }
    let limits = service.event_limits();
    let mut pieces = Pieces::default();
    pending.event_count = if pending.is_batch {
        scan_array(&mut cursor, &limits, &mut pieces).map_err(|error| scan_text(&error))?
    } else {
        let event = scan_event(&mut cursor, &limits).map_err(|error| scan_text(&error))?;
        pieces.push(event);
        1
    };
    pending.answer = put(
        service,
        pieces.as_slice(),
        pending.is_batch,
        pending.event_count,
    )
    .await;
    Ok(())
}

/// Decodes a request by the client's schema and encodes it by ours.
fn encode_as_ours<P>(
    service: &Service<P>,
    foreign: &Foreign,
    is_batch: bool,
    request: &[u8],
) -> Result<Vec<u8>, String> {
    if !foreign.has(is_batch) {
        return Err(unknown(if is_batch { b"appendBatch" } else { b"append" }));
    }
    let decoded = foreign.decode(is_batch, request, &service.event_limits());
    let (events, count) = decoded.map_err(|error| runtime_text(&error))?;
    if !is_batch {
        return Ok(events);
    }
    let mut array = Vec::with_capacity(events.len() + 12);
    if count > 0 {
        write_long(&mut array, count as i64);
        array.extend_from_slice(&events);
    }
    array.push(0);
    Ok(array)
}

async fn put<P: Put>(
    service: &Service<P>,
    pieces: &[&[u8]],
    is_batch: bool,
    event_count: usize,
) -> Answer<P::Commit> {
    service.received(is_batch, event_count);
    if event_count == 0 {
        return Answer::Commit(Receipt::nothing());
    }
    let arrival_ms = (service.wall_ms)();
    let overlay = service.chain.borrow_mut().overlay(arrival_ms);
    let batch = Batch {
        pieces,
        event_count,
        overlay: &overlay,
        arrival_ms,
    };
    let optional_failed = |error: &_| service.optional_failed(error);
    match service.channels.put(&batch, optional_failed).await {
        Ok(receipt) => Answer::Commit(receipt),
        Err(error) => Answer::Failed(error),
    }
}

/// What Flume's server says about data that ends early; our own words for the rest.
fn java_text(error: &AvroError) -> String {
    match error {
        AvroError::Truncated { .. } => "java.io.EOFException".to_owned(),
        AvroError::VarintTooLong { .. }
        | AvroError::NegativeLength { .. }
        | AvroError::Branch { .. } => runtime_text(error),
    }
}

fn scan_text(error: &ScanError) -> String {
    match error {
        ScanError::Avro(error) => java_text(error),
        ScanError::BatchEvents { .. }
        | ScanError::EventBytes { .. }
        | ScanError::Headers { .. }
        | ScanError::HeaderBytes { .. } => runtime_text(error),
    }
}

fn unknown(name: &[u8]) -> String {
    runtime_text(&format_args!(
        "No such remote message: {}",
        String::from_utf8_lossy(name)
    ))
}

fn runtime_text(what: &dyn std::fmt::Display) -> String {
    format!("org.apache.avro.AvroRuntimeException: {what}")
}
