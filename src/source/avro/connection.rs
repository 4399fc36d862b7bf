//! One connection: a reading half that puts batches as soon as they are parsed, and a writing half
//! that answers them in order once they are durable.
//!
//! One task on one shard for life. Always true: replies leave in the order of their calls; at most
//! `limits::PIPELINE_CALLS_MAX` calls wait for an answer; OK is written only after the commit.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::{self, BoxedLocal};
use tokio::sync::Notify;

use super::call::Call;
use super::frame::{Frame, Frames};
use super::handshake::{Handshake, HandshakeError, Layout, Match, Protocols, response};
use super::inflate::{Deflate, Inflate, Sniffed, sniff};
use super::log_gate::LogGate;
use super::pulse::{Ending, Pulse, Reading};
use super::reply::{self, Status};
use super::scan::{EventLimits, ScanError, scan_array, scan_event};
use crate::channel::{Put, PutError};
use crate::config::AvroSourceLimits;
use crate::event::{AvroError, Batch, Cursor};
use crate::interceptor::Chain;
use crate::limits::PIPELINE_CALLS_MAX;
use crate::metrics::SourceCounters;
use crate::reactor::ByteStream;
use crate::selector::Replicating;

const INFLATE_INPUT_BYTES: usize = 16 * 1024;
const WRITE_BYTES: usize = 64 * 1024;

/// What all connections of a source on one shard share.
pub(crate) struct Service<P> {
    pub(crate) name: String,
    pub(crate) limits: AvroSourceLimits,
    pub(crate) protocols: RefCell<Protocols>,
    pub(crate) chain: RefCell<Chain>,
    pub(crate) channels: Replicating<P>,
    pub(crate) counters: Arc<SourceCounters>,
    pub(crate) append_gate: LogGate,
    pub(crate) batch_gate: LogGate,
    pub(crate) now: Box<dyn Fn() -> Duration>,
    pub(crate) wall_ms: Box<dyn Fn() -> u64>,
}

enum Answer {
    Handshake,
    Error(String),
    Failed(PutError),
    Commit(BoxedLocal<Result<(), PutError>>),
}

struct Pending {
    serial: i32,
    handshake: Vec<u8>,
    is_batch: bool,
    event_count: usize,
    answer: Answer,
}

#[derive(Default)]
struct Outbox {
    queue: RefCell<VecDeque<Pending>>,
    reader_ended: Cell<bool>,
    broken: Cell<bool>,
    deflated: Cell<bool>,
    changed: Notify,
    room: Notify,
}

/// Serves one connection to its end.
pub(crate) async fn serve<S: ByteStream, P: Put>(
    service: Rc<Service<P>>,
    stream: S,
    peer: SocketAddr,
    pulse: Rc<Pulse>,
) {
    let outbox = Outbox::default();
    let read = async {
        let mut reader = Reader {
            frames: Frames::new(service.limits.frame_bytes_max),
            service: &service,
            stream: &stream,
            pulse: &pulse,
            outbox: &outbox,
            connected: None,
        };
        let reason = reader.run().await;
        pulse.reading.set(Reading::Busy);
        outbox.reader_ended.set(true);
        outbox.changed.notify_one();
        reason
    };
    let (reason, ()) = future::zip(read, write(&service, &stream, &pulse, &outbox)).await;
    if let Err(reason) = reason {
        service.counters.connection_aborted.increment();
        tracing::warn!(
            "Avro source {}: connection from /{peer} closed: {reason}",
            service.name
        );
    }
    if !outbox.broken.get()
        && let Err(error) = stream.shutdown_write().await
    {
        tracing::debug!("closing the connection to /{peer}: {error}");
    }
    tracing::info!("Connection to /{peer} disconnected.");
}

struct Reader<'a, S, P> {
    frames: Frames,
    service: &'a Service<P>,
    stream: &'a S,
    pulse: &'a Pulse,
    outbox: &'a Outbox,
    connected: Option<Layout>,
}

impl<S: ByteStream, P: Put> Reader<'_, S, P> {
    /// Until the peer or the source ends; an error says what the peer did wrong.
    async fn run(&mut self) -> Result<(), String> {
        let mut first = Vec::with_capacity(512);
        let kind = loop {
            let mut space = [0; 256];
            let count = self.read_into(&mut space).await?;
            if count == 0 {
                return Ok(());
            }
            first.extend_from_slice(&space[..count]);
            match sniff(&first) {
                Sniffed::Unknown => {}
                known => break known,
            }
        };
        match kind {
            Sniffed::Tls => Err(tls_text()),
            Sniffed::Zlib => self.run_zlib(first).await,
            Sniffed::Plain | Sniffed::Unknown => self.run_plain(&first).await,
        }
    }

    async fn run_plain(&mut self, mut first: &[u8]) -> Result<(), String> {
        while !first.is_empty() {
            let space = self.frames.space();
            let count = space.len().min(first.len());
            space[..count].copy_from_slice(&first[..count]);
            self.frames.received(count);
            first = &first[count..];
            self.calls().await?;
        }
        loop {
            let reading = self.reading();
            let space = self.frames.space();
            let count = read(self.service, self.stream, self.pulse, reading, space).await?;
            if count == 0 {
                return Ok(());
            }
            self.frames.received(count);
            self.calls().await?;
        }
    }

    async fn run_zlib(&mut self, mut input: Vec<u8>) -> Result<(), String> {
        self.outbox.deflated.set(true);
        let mut inflate = Inflate::default();
        let mut begun = false;
        let mut filled = input.len();
        loop {
            let mut taken = 0;
            loop {
                let space = self.frames.space();
                let room = space.len();
                let (took, gave) = inflate
                    .step(&input[taken..filled], space)
                    .map_err(|error| error.to_string())?;
                if !begun && gave > 0 {
                    begun = true;
                    if sniff(&space[..gave]) == Sniffed::Tls {
                        return Err(tls_text());
                    }
                }
                taken += took;
                self.frames.received(gave);
                self.calls().await?;
                if gave < room && (taken == filled || took == 0) {
                    break;
                }
            }
            input.resize(INFLATE_INPUT_BYTES, 0);
            filled = self.read_into(&mut input).await?;
            if filled == 0 {
                return Ok(());
            }
        }
    }

    async fn read_into(&self, space: &mut [u8]) -> Result<usize, String> {
        read(self.service, self.stream, self.pulse, self.reading(), space).await
    }

    fn reading(&self) -> Reading {
        if self.connected.is_none() {
            Reading::Handshake
        } else if self.frames.has_partial() {
            Reading::InFrame
        } else {
            Reading::Idle
        }
    }

    /// Serves every whole frame received.
    async fn calls(&mut self) -> Result<(), String> {
        while let Some(frame) = self
            .frames
            .next_frame()
            .map_err(|error| error.to_string())?
        {
            while self.outbox.queue.borrow().len() >= PIPELINE_CALLS_MAX {
                self.outbox.room.notified().await;
            }
            let pending = self.call(frame).await;
            self.outbox.queue.borrow_mut().push_back(pending);
            self.outbox.changed.notify_one();
        }
        Ok(())
    }

    async fn call(&mut self, frame: Frame) -> Pending {
        let mut cursor = Cursor::new(self.frames.message(&frame));
        let mut pending = Pending {
            serial: frame.serial,
            handshake: Vec::new(),
            is_batch: false,
            event_count: 0,
            answer: Answer::Handshake,
        };
        let layout = match self.connected.clone() {
            Some(layout) => layout,
            None => match agree(self.service, &mut cursor) {
                Ok((layout, matched)) => {
                    pending.handshake = response(matched);
                    let Some(layout) = layout else {
                        return pending;
                    };
                    self.connected = Some(layout.clone());
                    layout
                }
                Err(text) => {
                    self.service.counters.event_read_fail.increment();
                    pending.answer = Answer::Error(text);
                    return pending;
                }
            },
        };
        execute(self.service, &layout, &mut cursor, &mut pending).await;
        pending
    }
}

fn tls_text() -> String {
    "it speaks TLS, which this version does not offer yet; set ssl = false on the client".to_owned()
}

/// Reads from the peer unless the connection is asked to end; 0 when there is nothing more to come.
async fn read<S: ByteStream, P>(
    service: &Service<P>,
    stream: &S,
    pulse: &Pulse,
    reading: Reading,
    space: &mut [u8],
) -> Result<usize, String> {
    pulse.read_since.set((service.now)());
    pulse.reading.set(reading);
    let woken = async {
        while pulse.ending.get().is_none() {
            pulse.wake_reader.notified().await;
        }
        None
    };
    let count = future::or(woken, async { Some(stream.read(space).await) }).await;
    pulse.reading.set(Reading::Busy);
    match count {
        Some(Ok(count)) => {
            service.counters.received_bytes.add(count as u64);
            Ok(count)
        }
        // Flume's clients reset connections as a matter of course.
        Some(Err(error)) => {
            tracing::debug!("Unexpected exception from downstream. {error}");
            Ok(0)
        }
        None => match pulse.ending.get() {
            Some(Ending::Handshake) => Err("no handshake within handshakeTimeout".to_owned()),
            Some(Ending::Progress) => {
                Err("a frame stopped in its middle for progressTimeout".to_owned())
            }
            Some(Ending::Unread) => Err("it does not read its replies".to_owned()),
            Some(Ending::Stop) | None => Ok(0),
        },
    }
}

fn agree<P>(
    service: &Service<P>,
    cursor: &mut Cursor<'_>,
) -> Result<(Option<Layout>, Match), String> {
    let handshake = Handshake::read(cursor).map_err(|error| java_text(&error))?;
    let agreed = service.protocols.borrow_mut().agree(&handshake);
    agreed.map_err(|error| match error {
        HandshakeError::Avro(error) => java_text(&error),
        other => format!("org.apache.avro.AvroRuntimeException: {other}"),
    })
}

/// What Flume's server says about data that ends early; our own words for the rest.
fn java_text(error: &AvroError) -> String {
    match error {
        AvroError::Truncated { .. } => "java.io.EOFException".to_owned(),
        AvroError::VarintTooLong { .. } | AvroError::NegativeLength { .. } => {
            format!("org.apache.avro.AvroRuntimeException: {error}")
        }
    }
}

fn scan_text(error: &ScanError) -> String {
    match error {
        ScanError::Avro(error) => java_text(error),
        ScanError::BatchEvents { .. }
        | ScanError::EventBytes { .. }
        | ScanError::Headers { .. }
        | ScanError::HeaderBytes { .. } => {
            format!("org.apache.avro.AvroRuntimeException: {error}")
        }
    }
}

async fn execute<P: Put>(
    service: &Service<P>,
    layout: &Layout,
    cursor: &mut Cursor<'_>,
    pending: &mut Pending,
) {
    let unreadable = |pending: &mut Pending, text: String| {
        service.counters.event_read_fail.increment();
        pending.answer = Answer::Error(text);
    };
    let unknown = |name: &[u8]| {
        Answer::Error(format!(
            "org.apache.avro.AvroRuntimeException: No such remote message: {}",
            String::from_utf8_lossy(name)
        ))
    };
    match Call::read(cursor) {
        Ok(Call::Append) => {}
        Ok(Call::AppendBatch) => pending.is_batch = true,
        Ok(Call::Ping) => return,
        Ok(Call::Unknown(name)) => {
            pending.answer = unknown(name);
            return;
        }
        Err(super::call::CallError::Head(error)) => return unreadable(pending, java_text(&error)),
    }
    let limits = EventLimits {
        batch_events_max: service.limits.batch_events_max,
        event_bytes_max: service.limits.event_bytes_max,
    };
    let encoded;
    let mut own = *cursor;
    if let Layout::Foreign(foreign) = layout {
        if !foreign.has(pending.is_batch) {
            let name: &[u8] = if pending.is_batch {
                b"appendBatch"
            } else {
                b"append"
            };
            pending.answer = unknown(name);
            return;
        }
        let decoded = foreign.decode(pending.is_batch, cursor.rest(), &limits);
        match decoded {
            Ok((events, count)) => {
                let mut array = Vec::with_capacity(events.len() + 12);
                if pending.is_batch && count > 0 {
                    crate::event::write_long(&mut array, count as i64);
                }
                array.extend_from_slice(&events);
                if pending.is_batch {
                    array.push(0);
                }
                encoded = array;
                own = Cursor::new(&encoded);
            }
            Err(error) => {
                let text = format!("org.apache.avro.AvroRuntimeException: {error}");
                return unreadable(pending, text);
            }
        }
    }
    let mut pieces = Vec::new();
    let scanned = if pending.is_batch {
        scan_array(&mut own, &limits, &mut pieces)
    } else {
        scan_event(&mut own, &limits).map(|event| {
            pieces.push(event);
            1
        })
    };
    match scanned {
        Ok(event_count) => pending.event_count = event_count,
        Err(error) => return unreadable(pending, scan_text(&error)),
    }
    pending.answer = put(service, &pieces, pending).await;
}

async fn put<P: Put>(service: &Service<P>, pieces: &[&[u8]], pending: &Pending) -> Answer {
    let counters = &service.counters;
    if pending.is_batch {
        counters.append_batch_received.increment();
    } else {
        counters.append_received.increment();
    }
    counters.event_received.add(pending.event_count as u64);
    if pending.event_count == 0 {
        return Answer::Commit(Box::pin(future::ready(Ok(()))));
    }
    let arrival_ms = (service.wall_ms)();
    let overlay = {
        let mut chain = service.chain.borrow_mut();
        chain.overlay(arrival_ms).clone()
    };
    let batch = Batch {
        pieces,
        event_count: pending.event_count,
        overlay: &overlay,
        arrival_ms,
    };
    match service.channels.put(&batch).await {
        Ok(receipt) => Answer::Commit(Box::pin(receipt.committed())),
        Err(error) => Answer::Failed(error),
    }
}

async fn write<S: ByteStream, P>(service: &Service<P>, stream: &S, pulse: &Pulse, outbox: &Outbox) {
    let mut out = Vec::new();
    let mut deflate: Option<Deflate> = None;
    loop {
        let next = outbox.queue.borrow_mut().pop_front();
        let Some(pending) = next else {
            if !out.is_empty() {
                flush(service, stream, pulse, outbox, &mut out).await;
            } else if outbox.reader_ended.get() {
                return;
            } else {
                outbox.changed.notified().await;
            }
            continue;
        };
        outbox.room.notify_one();
        let Pending {
            serial,
            handshake,
            is_batch,
            event_count,
            answer,
        } = pending;
        let mut frame = Vec::new();
        match answer {
            Answer::Handshake => reply::handshake_alone(&mut frame, serial, &handshake),
            Answer::Error(text) => reply::error(&mut frame, serial, &handshake, &text),
            Answer::Failed(error) => {
                failed(service, is_batch, &error);
                reply::status(&mut frame, serial, &handshake, Status::Failed);
            }
            Answer::Commit(mut commit) => {
                let result = match future::poll_once(&mut commit).await {
                    Some(result) => result,
                    None => {
                        flush(service, stream, pulse, outbox, &mut out).await;
                        commit.await
                    }
                };
                let status = match result {
                    Ok(()) => {
                        accepted(&service.counters, is_batch, event_count);
                        Status::Ok
                    }
                    Err(error) => {
                        failed(service, is_batch, &error);
                        Status::Failed
                    }
                };
                reply::status(&mut frame, serial, &handshake, status);
            }
        }
        if outbox.deflated.get() {
            deflate.get_or_insert_default().append(&mut out, &frame);
        } else {
            out.append(&mut frame);
        }
        if out.len() >= WRITE_BYTES {
            flush(service, stream, pulse, outbox, &mut out).await;
        }
    }
}

fn accepted(counters: &SourceCounters, is_batch: bool, event_count: usize) {
    if is_batch {
        counters.append_batch_accepted.increment();
    } else {
        counters.append_accepted.increment();
    }
    counters.event_accepted.add(event_count as u64);
}

/// Writes and empties `out`. After a failure nothing more is written, but commits are still awaited.
async fn flush<S: ByteStream, P>(
    service: &Service<P>,
    stream: &S,
    pulse: &Pulse,
    outbox: &Outbox,
    out: &mut Vec<u8>,
) {
    if !outbox.broken.get() && !out.is_empty() {
        pulse.write_since.set(Some((service.now)()));
        let woken = async {
            while pulse.ending.get() != Some(Ending::Unread) {
                pulse.wake_writer.notified().await;
            }
            Err(std::io::ErrorKind::TimedOut.into())
        };
        let written = future::or(woken, stream.write_all(out)).await;
        pulse.write_since.set(None);
        if let Err(error) = written {
            tracing::debug!("Unexpected exception from downstream. {error}");
            outbox.broken.set(true);
            pulse.end(Ending::Stop);
        }
    }
    out.clear();
}

fn failed<P>(service: &Service<P>, is_batch: bool, error: &PutError) {
    service.counters.channel_write_fail.increment();
    let gate = if is_batch {
        &service.batch_gate
    } else {
        &service.append_gate
    };
    let Some(suppressed) = gate.pass((service.now)()) else {
        return;
    };
    let name = &service.name;
    if is_batch {
        tracing::error!(
            "Avro source {name}: Unable to process event batch. Exception follows. {error} \
             ({suppressed} such lines left out before)"
        );
    } else {
        tracing::warn!(
            "Avro source {name}: Unable to process event. Exception follows. {error} \
             ({suppressed} such lines left out before)"
        );
    }
}
