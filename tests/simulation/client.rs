//! A simulated Flume agent: sends batches, and repeats each until it is answered OK.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use flumen::reactor::ByteStream;
use flumen::reactor::simulated::{Dice, SimulatedNetwork, SimulatedStream};
use tokio::time::{sleep, timeout};

use crate::judge::{Judge, PREFIX};
use crate::plan::ClientPlan;
use crate::support::event::{Identity, TestEvent};
use crate::support::rpc::{self, PROTOCOL_HASH, Reply, Status};

/// Flume's `request-timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// One agent.
pub struct Client {
    pub number: u32,
    pub plan: ClientPlan,
    pub dice: Dice,
    pub network: Rc<SimulatedNetwork>,
    pub address: SocketAddr,
    pub judge: Rc<Judge>,
    /// Clients that have not finished.
    pub busy: Rc<Cell<usize>>,
}

/// A batch that is not acknowledged.
struct Unanswered {
    first: u64,
    last: u64,
    request: Vec<u8>,
}

impl Client {
    /// Sends everything, however long it takes.
    pub async fn run(mut self) {
        let mut left = self.plan.batches;
        let mut next = 0;
        let mut waiting: VecDeque<Unanswered> = VecDeque::new();
        while left > 0 || !waiting.is_empty() {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1_000));
            let outcome = match self.network.connect(self.address, peer) {
                Ok(stream) => {
                    self.converse(&stream, &mut left, &mut next, &mut waiting)
                        .await
                }
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                sleep(Duration::from_millis(self.dice.between(1, 100))).await;
            }
        }
        self.busy.set(self.busy.get() - 1);
    }

    /// One connection, to its end or to the end of the work.
    async fn converse(
        &mut self,
        stream: &SimulatedStream,
        left: &mut u64,
        next: &mut u64,
        waiting: &mut VecDeque<Unanswered>,
    ) -> io::Result<()> {
        let mut greeted = false;
        while *left > 0 || !waiting.is_empty() {
            while waiting.len() < self.plan.pipeline && *left > 0 {
                *left -= 1;
                waiting.push_back(self.batch(next));
            }
            for (serial, batch) in waiting.iter().enumerate() {
                self.judge.sent(self.number, batch.first, batch.last);
                // Every call of a connection that was not greeted yet carries the handshake, as Java's do.
                let handshake = rpc::handshake(PROTOCOL_HASH, None, PROTOCOL_HASH);
                let call = rpc::call("appendBatch", &batch.request);
                let serial = i32::try_from(serial).expect("a short queue");
                let greets = !greeted && serial == 0;
                let frame = match greets {
                    true => rpc::frame(serial, &[&handshake, &call]),
                    false => rpc::frame(serial, &[&call]),
                };
                stream.write_all(&frame).await?;
                if greets {
                    // A stateful transport sends nothing more before the handshake is answered.
                    break;
                }
            }
            let expected = if greeted { waiting.len() } else { 1 };
            let mut kept = VecDeque::new();
            for _ in 0..expected {
                let reply = timeout(REQUEST_TIMEOUT, read_reply(stream)).await??;
                let status = match greeted {
                    true => reply.status(),
                    false => reply.handshake().1.expect("the known protocol matches"),
                };
                greeted = true;
                let batch = waiting.pop_front().expect("a reply answers a call");
                match status {
                    Status::Ok => self
                        .judge
                        .acknowledged(self.number, batch.first, batch.last),
                    Status::Failed => kept.push_back(batch),
                    Status::Unknown | Status::Error(_) => {
                        panic!("client {}: {status:?}", self.number)
                    }
                }
            }
            let failed = !kept.is_empty();
            kept.append(waiting);
            *waiting = kept;
            if failed {
                sleep(Duration::from_millis(self.dice.between(10, 300))).await;
            } else if !self.plan.thinks.is_zero() {
                sleep(self.plan.thinks).await;
            }
        }
        Ok(())
    }

    fn batch(&self, next: &mut u64) -> Unanswered {
        let count = self.dice.between(1, self.plan.events_max);
        let events: Vec<TestEvent> = (0..count)
            .map(|offset| {
                let identity = Identity {
                    prefix: PREFIX.to_owned(),
                    connection: self.number,
                    number: *next + offset,
                };
                let body_bytes = self.dice.between(20, self.plan.body_bytes_max);
                let body_bytes = usize::try_from(body_bytes).expect("small");
                TestEvent::with_identity(&identity, body_bytes)
            })
            .collect();
        let first = *next;
        *next += count;
        Unanswered {
            first,
            last: *next - 1,
            request: rpc::avro_batch(&events),
        }
    }
}

async fn read_reply(stream: &SimulatedStream) -> io::Result<Reply> {
    let mut head = [0; 8];
    read_exact(stream, &mut head).await?;
    let [serial, count] = [&head[..4], &head[4..]]
        .map(|word| i32::from_be_bytes(word.try_into().expect("four bytes")));
    let mut buffers = Vec::new();
    for _ in 0..count {
        let mut length = [0; 4];
        read_exact(stream, &mut length).await?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut buffer = vec![0; length];
        read_exact(stream, &mut buffer).await?;
        buffers.push(buffer);
    }
    Ok(Reply { serial, buffers })
}

async fn read_exact(stream: &SimulatedStream, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let count = stream.read(into).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into = &mut into[count..];
    }
    Ok(())
}
