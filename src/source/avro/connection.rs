//! One connection: a reading half that puts batches as soon as they are received, and beside it the
//! writing half of [`outbox`](super::outbox), which answers them.
//!
//! One task on one shard for life. Always true: reading goes on while commits are under way; between
//! the socket and the channel a batch is moved only to join the buffers of its frame.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;

use super::frame::{Frame, Frames};
use super::handshake::Layout;
use super::inflate::{Inflate, Sniffed, sniff};
use super::outbox::{Answer, Outbox, Pending, Writer};
use super::pulse::{Call, Ending, Pulse, Reading, Wait};
use super::request::serve_call;
use super::service::Service;
use crate::channel::Put;
use crate::limits::FRAME_RATE_BYTES_MIN;
use crate::reactor::ByteStream;

const INFLATE_INPUT_BYTES: usize = 16 * 1024;

/// Serves one connection to its end. When we are who ends it, the peer has until `patience` is over to take
/// its answers and hang up.
pub(crate) async fn serve<S: ByteStream, P: Put>(
    service: Rc<Service<P>>,
    stream: S,
    peer: SocketAddr,
    pulse: Rc<Pulse>,
    patience: impl Future<Output = ()>,
) {
    let outbox = Outbox::default();
    let read = async {
        let mut reader = Reader {
            frames: Frames::new(service.limits.frame_bytes_max),
            frames_read: 0,
            received_at: Duration::ZERO,
            service: &service,
            stream: &stream,
            peer,
            pulse: &pulse,
            outbox: &outbox,
            connected: None,
        };
        let reason = reader.run().await;
        outbox.end();
        reason
    };
    let writer = Writer::new(&service, &stream, &pulse, &outbox);
    let (reason, ()) = future::zip(read, writer.run()).await;
    if let Err(reason) = reason {
        service.aborted(peer, &reason);
    }
    if outbox.is_whole() {
        match stream.shutdown_write().await {
            Ok(()) if pulse.ending() == Some(Ending::Stop) => {
                future::or(hear_out(&stream), patience).await;
            }
            Ok(()) => {}
            Err(error) => tracing::debug!("closing the connection to /{peer}: {error}"),
        }
    }
    tracing::info!("Connection to /{peer} disconnected.");
}

/// Reads past what the peer still sends, until it hangs up. To close a socket with unread bytes resets the
/// connection, and takes answers away that the peer has not read yet.
async fn hear_out<S: ByteStream>(stream: &S) {
    let mut space = [0; 4096];
    while stream.read(&mut space).await.is_ok_and(|count| count > 0) {}
}

struct Reader<'a, S, P: Put> {
    frames: Frames,
    /// Whole frames so far.
    frames_read: u64,
    /// When the last bytes came.
    received_at: Duration,
    service: &'a Service<P>,
    stream: &'a S,
    peer: SocketAddr,
    pulse: &'a Pulse,
    outbox: &'a Outbox<P::Commit>,
    connected: Option<Layout>,
}

/// What a read gave.
enum Received {
    Bytes {
        count: usize,
        at: Duration,
    },
    /// Nothing, and the receive memory may go.
    Idle,
    /// No more bytes come.
    End,
}

impl<S: ByteStream, P: Put> Reader<'_, S, P> {
    /// Until the peer or the source ends; an error says what the peer did wrong.
    async fn run(&mut self) -> Result<(), String> {
        // Enough for the first frame of most clients; longer only while the layers are unknown.
        let mut first = Vec::with_capacity(256);
        let kind = loop {
            let mut space = [0; 256];
            match self.read_into(&mut space).await? {
                Received::Bytes { count, at } => {
                    self.received_at = at;
                    first.extend_from_slice(&space[..count]);
                }
                Received::Idle => continue,
                Received::End => return Ok(()),
            }
            match sniff(&first) {
                Sniffed::Unknown => {}
                known @ (Sniffed::Plain | Sniffed::Zlib | Sniffed::Tls) => break known,
            }
        };
        match kind {
            Sniffed::Tls => Err(tls_text()),
            Sniffed::Zlib => self.run_zlib(first).await,
            Sniffed::Plain | Sniffed::Unknown => self.run_plain(first).await,
        }
    }

    async fn run_plain(&mut self, first: Vec<u8>) -> Result<(), String> {
        let mut rest = first.as_slice();
        while !rest.is_empty() {
            let space = self.frames.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            self.frames.received(count);
            rest = &rest[count..];
            self.calls().await?;
        }
        drop(first);
        loop {
            let wait = self.wait();
            let space = self.frames.space();
            match read(self.service, self.stream, self.pulse, wait, space).await? {
                Received::Bytes { count, at } => {
                    self.received_at = at;
                    self.frames.received(count);
                    self.calls().await?;
                }
                Received::Idle => self.frames.shrink(),
                Received::End => return Ok(()),
            }
        }
    }

    async fn run_zlib(&mut self, mut input: Vec<u8>) -> Result<(), String> {
        self.outbox.deflate();
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
            filled = loop {
                match self.read_into(&mut input).await? {
                    Received::Bytes { count, at } => {
                        self.received_at = at;
                        break count;
                    }
                    Received::Idle => self.frames.shrink(),
                    Received::End => return Ok(()),
                }
            };
        }
    }

    async fn read_into(&self, space: &mut [u8]) -> Result<Received, String> {
        read(self.service, self.stream, self.pulse, self.wait(), space).await
    }

    fn wait(&self) -> Wait {
        let reading = if self.connected.is_none() {
            Reading::Handshake
        } else if self.frames.has_partial() {
            Reading::InFrame
        } else {
            Reading::Idle
        };
        Wait {
            reading,
            frame: self.frames_read,
            frame_bytes: self.frames.partial_bytes(),
            holds_memory: self.frames.is_large(),
        }
    }

    /// Serves every whole frame received, but none once the connection is to end.
    async fn calls(&mut self) -> Result<(), String> {
        while let Some(frame) = self
            .frames
            .next_frame()
            .map_err(|error| error.to_string())?
        {
            self.frames_read += 1;
            self.outbox.has_room().await;
            if self.pulse.ending().is_some() {
                return Ok(());
            }
            self.call(frame).await;
        }
        Ok(())
    }

    async fn call(&mut self, frame: Frame) {
        let mut pending = Pending {
            serial: frame.serial,
            handshake: Vec::new(),
            is_batch: false,
            event_count: 0,
            received_at: self.received_at,
            answer: Answer::Handshake,
        };
        let message = self.frames.message(&frame);
        let connected = &mut self.connected;
        serve_call(self.service, self.peer, connected, message, &mut pending).await;
        self.outbox.push(pending);
    }
}

fn tls_text() -> String {
    "it speaks TLS, which this version does not offer yet; set ssl = false on the client".to_owned()
}

/// Reads from the peer until it sends something or the connection is called away.
async fn read<S: ByteStream, P: Put>(
    service: &Service<P>,
    stream: &S,
    pulse: &Pulse,
    wait: Wait,
    space: &mut [u8],
) -> Result<Received, String> {
    pulse.read_begins(wait, (service.now)());
    let called = async { Err(pulse.reader_called().await) };
    let count = future::or(called, async { Ok(stream.read(space).await) }).await;
    let at = (service.now)();
    pulse.read_ends(at);
    match count {
        Ok(Ok(0)) => Ok(Received::End),
        Ok(Ok(count)) => {
            service.counters.received_bytes.add(count as u64);
            Ok(Received::Bytes { count, at })
        }
        // Flume's clients reset connections as a matter of course.
        Ok(Err(error)) => {
            tracing::debug!("Unexpected exception from downstream. {error}");
            Ok(Received::End)
        }
        Err(Call::Trim) => Ok(Received::Idle),
        Err(Call::End) => match pulse.ending() {
            Some(Ending::Handshake) => Err("no handshake within handshakeTimeout".to_owned()),
            Some(Ending::Progress) => Err(format!(
                "a frame stopped in its middle for progressTimeout, or came with less than \
                 {FRAME_RATE_BYTES_MIN} bytes a second"
            )),
            Some(Ending::Unread) => Err("it does not read its replies".to_owned()),
            Some(Ending::Stop) | None => Ok(Received::End),
        },
    }
}
