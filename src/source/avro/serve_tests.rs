//! The source as a whole: real sockets and real shards, over a channel whose commits the test decides.
//!
//! Each shard is a thread with a glommio executor; the test's own thread is the client.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures_lite::future::{self, BoxedLocal};
use tokio::sync::Notify;

use super::*;
use crate::channel::wal::{LogShared, Usage};
use crate::channel::{Consumer, MemoryFeed, MemoryPut, Put, PutError};
use crate::config::{AvroSourceConfig, AvroSourceLimits, InterceptorConfig, IpFilterRule};
use crate::event::{Batch, encode_event, write_bytes, write_long};
use crate::interceptor::Chain;
use crate::limits;
use crate::metrics::{Distribution, Quantity, SourceCounters};
use crate::reactor::{Ground, ShardWorld};
use crate::selector::Replicating;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for something that must not happen.
const QUIET: Duration = Duration::from_millis(150);

/// What the test decides about a [`Scripted`] channel, and what it sees of it.
#[derive(Debug, Default)]
struct Script {
    /// Bytes of each batch taken, and the shard that took it.
    taken: Mutex<Vec<(usize, Vec<u8>)>>,
    /// Commits below this number are decided.
    decided: AtomicUsize,
    refuse_puts: AtomicBool,
    fail_commits: AtomicBool,
}

impl Script {
    fn deciding() -> Arc<Self> {
        let script = Self::default();
        script.decided.store(usize::MAX, SeqCst);
        Arc::new(script)
    }

    fn refusing() -> Arc<Self> {
        let script = Self::deciding();
        script.refuse_puts.store(true, SeqCst);
        script
    }

    fn failing() -> Arc<Self> {
        let script = Self::deciding();
        script.fail_commits.store(true, SeqCst);
        script
    }

    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    fn wait_taken(&self, count: usize) {
        wait_for(|| self.taken() >= count);
    }

    fn last_shard(&self) -> usize {
        self.taken.lock().unwrap().last().unwrap().0
    }
}

#[derive(Debug)]
struct Scripted {
    world: ShardWorld,
    shard: usize,
    script: Arc<Script>,
}

impl Put for Scripted {
    type Commit = BoxedLocal<Result<(), PutError>>;

    async fn put(&self, batch: &Batch<'_>) -> Result<Self::Commit, PutError> {
        let closed = || PutError::Closed {
            channel: Rc::from("scripted"),
        };
        if self.script.refuse_puts.load(SeqCst) {
            return Err(closed());
        }
        let number = {
            let mut taken = self.script.taken.lock().unwrap();
            taken.push((self.shard, batch.pieces.concat()));
            taken.len() - 1
        };
        let (world, script) = (self.world.clone(), Arc::clone(&self.script));
        Ok(Box::pin(async move {
            while script.decided.load(SeqCst) <= number {
                world.sleep(Duration::from_millis(1)).await;
            }
            if script.fail_commits.load(SeqCst) {
                Err(closed())
            } else {
                Ok(())
            }
        }))
    }
}

/// How a [`Rig`] differs from a plain source on one shard.
struct Plan {
    shard_count: usize,
    limits: AvroSourceLimits,
    rules: Vec<IpFilterRule>,
    interceptors: Vec<InterceptorConfig>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shard_count: 1,
            limits: AvroSourceLimits {
                frame_bytes_max: limits::FRAME_BYTES_MAX,
                batch_events_max: limits::BATCH_EVENTS_MAX,
                event_bytes_max: limits::EVENT_BYTES_MAX,
                connections_max: limits::CONNECTIONS_MAX,
                connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
                handshake_deadline: limits::HANDSHAKE_DEADLINE,
                progress_deadline: limits::PROGRESS_DEADLINE,
            },
            rules: Vec::new(),
            interceptors: Vec::new(),
        }
    }
}

/// A source on its shards. Stops them when dropped.
struct Rig {
    address: SocketAddr,
    placement: Arc<Placement>,
    stop: Stop,
    counters: Arc<SourceCounters>,
    ack_latency: Arc<Distribution>,
    ended: mpsc::Receiver<usize>,
    running: usize,
}

impl Rig {
    /// Over channels that follow scripts, required and optional ones.
    fn scripted(plan: Plan, required: &[&Arc<Script>], optional: &[&Arc<Script>]) -> Self {
        let own = |scripts: &[&Arc<Script>]| -> Vec<Arc<Script>> {
            scripts.iter().map(|script| Arc::clone(script)).collect()
        };
        let (required, optional) = (own(required), own(optional));
        Self::start(plan, move |world, shard| {
            let channels = |scripts: &[Arc<Script>]| {
                let channel = |script: &Arc<Script>| {
                    Rc::new(Scripted {
                        world: world.clone(),
                        shard,
                        script: Arc::clone(script),
                    })
                };
                scripts.iter().map(channel).collect()
            };
            Replicating {
                required: channels(&required),
                optional: channels(&optional),
            }
        })
    }

    fn start<P: Put>(
        plan: Plan,
        channels: impl Fn(&ShardWorld, usize) -> Replicating<P> + Clone + Send + 'static,
    ) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = AvroSourceConfig {
            address,
            bind: "127.0.0.1".to_owned(),
            deflate: false,
            ip_filter: plan.rules.clone(),
            limits: plan.limits,
        };
        let filter = IpFilter::new(&plan.rules).unwrap();
        let placement = Placement::new(plan.shard_count, filter, &plan.limits);
        let stop = Stop::default();
        let counters = Arc::new(SourceCounters::default());
        let ack_latency = Arc::new(Distribution::new(Quantity::Latency));
        let (end, ended) = mpsc::channel();
        for shard in 0..plan.shard_count {
            let (config, channels, interceptors) =
                (config.clone(), channels.clone(), plan.interceptors.clone());
            let (placement, stop) = (Arc::clone(&placement), stop.clone());
            let (counters, ack_latency) = (Arc::clone(&counters), Arc::clone(&ack_latency));
            let end = end.clone();
            glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
                .spawn(move || async move {
                    let world = ShardWorld::new();
                    let recorder = || Rc::new(RefCell::new(ack_latency.recorder()));
                    let source = AvroSource {
                        shard,
                        name: "r1".to_owned(),
                        config,
                        chain: Chain::new(&interceptors),
                        channels: channels(&world, shard),
                        counters,
                        ack_latency: (shard == 0).then(recorder),
                        placement,
                        stop,
                        world,
                    };
                    source.listen().unwrap().serve().await;
                    end.send(shard).ok();
                })
                .unwrap();
        }
        let listening = || placement.address().is_some();
        wait_for(listening);
        let address = placement.address().unwrap();
        let running = plan.shard_count;
        Self {
            address,
            placement,
            stop,
            counters,
            ack_latency,
            ended,
            running,
        }
    }

    fn connect(&self) -> Client {
        Client::of(TcpStream::connect(self.address).unwrap())
    }

    /// From another address of the loopback network.
    fn connect_from(&self, last: u8) -> Client {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())
            .unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::of(socket.into())
    }

    fn open(&self) -> Vec<usize> {
        self.placement.open().collect()
    }

    /// Waits until every shard has ended.
    fn wait_ended(&mut self) {
        while self.running > 0 {
            self.ended
                .recv_timeout(PATIENCE)
                .expect("a stopped source ends");
            self.running -= 1;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.stop();
        if !std::thread::panicking() {
            self.wait_ended();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client's thread waits for other threads"
)]
fn wait_for(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < PATIENCE,
            "waited {PATIENCE:?} for nothing"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing may happen on the client's thread meanwhile"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// The other end of a connection, with Flume's bytes.
struct Client {
    stream: TcpStream,
    connected: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Got {
    Ok,
    Failed,
    Error(String),
}

impl Client {
    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            connected: false,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A call, with the handshake in front of the connection's first.
    fn call(&mut self, serial: i32, message: &[u8]) {
        let hands = if self.connected {
            Vec::new()
        } else {
            hands(OWN_HASH, None)
        };
        self.connected = true;
        self.send(&frame(serial, &[&hands, message]));
    }

    /// The buffers of the next reply.
    fn reply(&mut self) -> (i32, Vec<Vec<u8>>) {
        let serial = self.word();
        let buffers = (0..self.word()).map(|_| {
            let mut buffer = vec![0; usize::try_from(self.word()).unwrap()];
            self.stream.read_exact(&mut buffer).unwrap();
            buffer
        });
        (serial, buffers.collect())
    }

    fn word(&mut self) -> i32 {
        let mut word = [0; 4];
        self.stream.read_exact(&mut word).unwrap();
        i32::from_be_bytes(word)
    }

    fn status(&mut self) -> (i32, Got) {
        let (serial, buffers) = self.reply();
        assert_eq!(buffers.len(), 3, "handshake, metadata, payload");
        let got = match buffers[2].as_slice() {
            [0, 0] => Got::Ok,
            [0, 2] => Got::Failed,
            [1, 0, rest @ ..] => Got::Error(String::from_utf8_lossy(rest).into_owned()),
            other => panic!("no status: {other:?}"),
        };
        (serial, got)
    }

    fn ask(&mut self, serial: i32, message: &[u8]) -> Got {
        self.call(serial, message);
        let (answered, got) = self.status();
        assert_eq!(answered, serial);
        got
    }

    fn assert_quiet(&mut self) {
        self.stream.set_read_timeout(Some(QUIET)).unwrap();
        let error = self.stream.read(&mut [0]).expect_err("nothing is said yet");
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn assert_closed(&mut self) {
        match self.stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("still open: {other:?}"),
        }
    }
}

fn frame(serial: i32, buffers: &[&[u8]]) -> Vec<u8> {
    let mut out = serial.to_be_bytes().to_vec();
    out.extend(u32::try_from(buffers.len()).unwrap().to_be_bytes());
    for buffer in buffers {
        out.extend(u32::try_from(buffer.len()).unwrap().to_be_bytes());
        out.extend_from_slice(buffer);
    }
    out
}

fn hands(client_hash: [u8; 16], text: Option<&str>) -> Vec<u8> {
    let mut out = client_hash.to_vec();
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(2);
            write_bytes(&mut out, text.as_bytes());
        }
    }
    out.extend(OWN_HASH);
    out.extend([2, 0]);
    out
}

fn named(name: &str) -> Vec<u8> {
    let mut out = vec![0];
    write_bytes(&mut out, name.as_bytes());
    out
}

fn event(headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers = headers
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut out = Vec::new();
    encode_event(&mut out, &headers.collect(), body);
    out
}

fn batch(events: &[Vec<u8>]) -> Vec<u8> {
    let mut out = named("appendBatch");
    if !events.is_empty() {
        write_long(&mut out, events.len() as i64);
        out.extend(events.concat());
    }
    out.push(0);
    out
}

fn one(body: &str) -> Vec<u8> {
    batch(&[event(&[], body.as_bytes())])
}

#[test]
fn replies_wait_for_their_commits_and_keep_the_order_of_the_calls() {
    let script = Arc::new(Script::default());
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    for serial in 0..5 {
        client.call(-serial, &one(&serial.to_string()));
    }
    // Reading goes on while commits are open.
    script.wait_taken(5);
    client.assert_quiet();
    script.decided.store(3, SeqCst);
    for serial in 0..3 {
        assert_eq!(client.status(), (-serial, Got::Ok));
    }
    // A call that needs no commit does not overtake those that do.
    client.call(77, &named("zip"));
    client.call(78, &batch(&[]));
    client.assert_quiet();
    script.decided.store(5, SeqCst);
    assert_eq!(client.status(), (-3, Got::Ok));
    assert_eq!(client.status(), (-4, Got::Ok));
    let (serial, got) = client.status();
    assert_eq!(serial, 77);
    assert!(matches!(got, Got::Error(text) if text.ends_with("No such remote message: zip")));
    assert_eq!(client.status(), (78, Got::Ok));
    assert_eq!(rig.counters.event_accepted.get(), 5);
    assert_eq!(rig.counters.append_batch_accepted.get(), 6);
    wait_for(|| rig.ack_latency.shown().count == 6);
}

#[test]
fn pipeline_is_bounded_and_the_rest_waits_in_the_socket() {
    let script = Arc::new(Script::default());
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    let call_count = i32::try_from(limits::PIPELINE_CALLS_MAX + 20).unwrap();
    for serial in 0..call_count {
        client.call(serial, &one("x"));
    }
    script.wait_taken(limits::PIPELINE_CALLS_MAX);
    pause(QUIET);
    assert_eq!(script.taken(), limits::PIPELINE_CALLS_MAX);
    script.decided.store(1, SeqCst);
    script.wait_taken(limits::PIPELINE_CALLS_MAX + 1);
    pause(QUIET);
    assert_eq!(
        script.taken(),
        limits::PIPELINE_CALLS_MAX + 1,
        "one answer, one more call"
    );
    script.decided.store(usize::MAX, SeqCst);
    for serial in 0..call_count {
        assert_eq!(client.status(), (serial, Got::Ok));
    }
}

#[test]
fn client_that_is_told_none_sends_its_text_and_is_known_from_then_on() {
    let script = Script::deciding();
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    let hash = [7; 16];
    client.send(&frame(1, &[&hands(hash, None), &one("lost")]));
    let (serial, buffers) = client.reply();
    assert_eq!((serial, buffers.len()), (1, 1), "the handshake alone");
    assert_eq!(buffers[0][0], 4, "NONE");
    assert_eq!(script.taken(), 0, "the call was not executed");
    client.send(&frame(
        2,
        &[&hands(hash, Some(PROTOCOL_JSON)), &one("told")],
    ));
    let (_, buffers) = client.reply();
    assert_eq!(buffers, [vec![0, 0, 0, 0], vec![0], vec![0, 0]]);
    client.connected = true;
    assert_eq!(client.ask(3, &one("later")), Got::Ok);
    // Another connection of such a client needs no text.
    let mut second = rig.connect();
    second.send(&frame(1, &[&hands(hash, None), &one("known")]));
    assert_eq!(second.status(), (1, Got::Ok));
    let taken = script.taken.lock().unwrap();
    let bodies: Vec<_> = taken
        .iter()
        .map(|(_, events)| events[2..].to_vec())
        .collect();
    assert_eq!(bodies, [&b"told"[..], b"later", b"known"]);
}

#[test]
fn ping_is_answered_by_the_handshake_alone_and_later_by_an_empty_buffer() {
    let script = Script::deciding();
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    client.call(1, &named(""));
    assert_eq!(client.reply(), (1, vec![vec![0, 0, 0, 0]]));
    client.call(2, &named(""));
    assert_eq!(client.reply(), (2, vec![vec![]]));
    assert_eq!(client.ask(3, &one("x")), Got::Ok);
}

#[test]
fn call_that_cannot_be_read_is_an_rpc_error_and_the_connection_goes_on() {
    let script = Script::deciding();
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    client.send(&frame(1, &[&[0]]));
    assert!(
        matches!(client.status(), (1, Got::Error(text)) if text.ends_with("java.io.EOFException"))
    );
    let mut cut = one("abc");
    cut.truncate(cut.len() - 2);
    let got = client.ask(2, &cut);
    assert!(matches!(got, Got::Error(text) if text.ends_with("java.io.EOFException")));
    assert_eq!(client.ask(3, &one("x")), Got::Ok);
    assert_eq!(rig.counters.event_read_fail.get(), 2);
    assert_eq!(script.taken(), 1);
}

#[test]
fn optional_channel_that_fails_does_not_fail_the_batch() {
    for bad in [Script::refusing(), Script::failing()] {
        let (first, second, good) = (Script::deciding(), Script::deciding(), Script::deciding());
        let rig = Rig::scripted(Plan::default(), &[&first, &second], &[&bad, &good]);
        let mut client = rig.connect();
        assert_eq!(client.ask(1, &one("x")), Got::Ok);
        assert_eq!((first.taken(), second.taken(), good.taken()), (1, 1, 1));
        assert_eq!(rig.counters.channel_write_fail.get(), 0);
    }
}

#[test]
fn required_channel_that_fails_fails_the_batch_and_the_one_before_keeps_its_copy() {
    for bad in [Script::refusing(), Script::failing()] {
        let (first, last) = (Script::deciding(), Script::deciding());
        let rig = Rig::scripted(Plan::default(), &[&first, &bad], &[&last]);
        let mut client = rig.connect();
        assert_eq!(client.ask(1, &one("x")), Got::Failed);
        assert_eq!(first.taken(), 1, "as Flume: what was taken stays");
        if bad.refuse_puts.load(SeqCst) {
            assert_eq!(last.taken(), 0, "later channels are not tried");
        }
        assert_eq!(rig.counters.channel_write_fail.get(), 1);
        assert_eq!(rig.counters.event_accepted.get(), 0);
        // The connection serves on.
        bad.refuse_puts.store(false, SeqCst);
        bad.fail_commits.store(false, SeqCst);
        assert_eq!(
            client.ask(
                2,
                &named("append")
                    .into_iter()
                    .chain(event(&[], b"y"))
                    .collect::<Vec<_>>()
            ),
            Got::Ok
        );
        assert_eq!(rig.counters.append_accepted.get(), 1);
    }
}

#[test]
fn batch_waits_for_every_required_channel() {
    let (first, second) = (Script::deciding(), Arc::new(Script::default()));
    let rig = Rig::scripted(Plan::default(), &[&first, &second], &[]);
    let mut client = rig.connect();
    client.call(1, &one("x"));
    second.wait_taken(1);
    client.assert_quiet();
    second.decided.store(1, SeqCst);
    assert_eq!(client.status(), (1, Got::Ok));
}

#[test]
fn interceptors_add_headers_and_preserve_existing_is_per_event() {
    let more = Arc::new(Notify::new());
    let usage = Arc::new(Usage::new(100, u64::MAX));
    let groups = vec![(String::new(), Arc::clone(&more))];
    let log = Arc::new(LogShared::in_memory(0, groups, usage));
    let constant = |key: &str, preserve_existing| InterceptorConfig::Static {
        key: key.to_owned(),
        value: "ours".to_owned(),
        preserve_existing,
    };
    let plan = Plan {
        interceptors: vec![
            constant("kept", true),
            constant("replaced", false),
            InterceptorConfig::Timestamp {
                header: "timestamp".to_owned(),
                preserve_existing: true,
            },
        ],
        ..Plan::default()
    };
    let to = Arc::clone(&log);
    let rig = Rig::start(plan, move |world, _| {
        let (log, counters, bytes) = (Arc::clone(&to), Arc::default(), Arc::default());
        let wait = Duration::ZERO;
        let put = MemoryPut::new(world.clone(), "c1", 100, wait, log, counters, bytes);
        Replicating {
            required: vec![Rc::new(put)],
            optional: Vec::new(),
        }
    });
    let bare = event(&[], b"bare");
    let full = event(
        &[("kept", "own"), ("replaced", "own"), ("timestamp", "17")],
        b"full",
    );
    assert_eq!(rig.connect().ask(1, &batch(&[bare, full])), Got::Ok);

    let link = Arc::clone(&log.groups[0]);
    let consumer = Consumer::new(vec![Box::new(MemoryFeed::new(log, link))], more);
    let taken = future::block_on(consumer.take(10)).unwrap().unwrap();
    let headers: Vec<Vec<(String, String)>> = taken
        .iter()
        .map(|event| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers = event.unwrap().headers();
            headers
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect()
        })
        .collect();
    let find = |event: usize, wanted: &str| {
        let found = headers[event].iter().filter(|(key, _)| key == wanted);
        found.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(find(0, "kept"), ["ours"]);
    assert_eq!(find(0, "replaced"), ["ours"]);
    assert!(
        find(0, "timestamp")[0].len() == 13,
        "milliseconds since the epoch"
    );
    assert_eq!(find(1, "kept"), ["own"]);
    assert_eq!(find(1, "replaced"), ["ours"]);
    assert_eq!(find(1, "timestamp"), ["17"]);
}

#[test]
fn new_connection_goes_to_the_shard_with_the_fewest() {
    let script = Script::deciding();
    let plan = Plan {
        shard_count: 2,
        ..Plan::default()
    };
    let rig = Rig::scripted(plan, &[&script], &[]);
    let mut clients: Vec<(usize, Client)> = Vec::new();
    for number in 1..=12 {
        let mut client = rig.connect();
        assert_eq!(client.ask(1, &one("x")), Got::Ok);
        clients.push((script.last_shard(), client));
        let open = rig.open();
        assert_eq!(open.iter().sum::<usize>(), number);
        assert!(open[0].abs_diff(open[1]) <= 1, "{open:?}");
    }
    // The batches really came through both.
    let on_first = clients.iter().filter(|(shard, _)| *shard == 0).count();
    assert_eq!(on_first, 6);
    // Room on one shard draws the next ones there.
    clients.retain(|(shard, _)| *shard == 1);
    wait_for(|| rig.open() == [0, 6]);
    for number in 1..=5 {
        let mut client = rig.connect();
        assert_eq!(client.ask(1, &one("x")), Got::Ok);
        assert_eq!(script.last_shard(), 0);
        assert_eq!(rig.open(), [number, 6]);
        clients.push((0, client));
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_until_one_ends() {
    let script = Script::deciding();
    let mut plan = Plan::default();
    plan.limits.connections_max = 2;
    let rig = Rig::scripted(plan, &[&script], &[]);
    let (mut first, mut second) = (rig.connect(), rig.connect());
    assert_eq!(first.ask(1, &one("x")), Got::Ok);
    assert_eq!(second.ask(1, &one("x")), Got::Ok);
    rig.connect().assert_closed();
    assert_eq!(rig.counters.connection_refused.get(), 1);
    drop(first);
    wait_for(|| rig.open() == [1]);
    assert_eq!(rig.connect().ask(1, &one("x")), Got::Ok);
    assert_eq!(second.ask(2, &one("x")), Got::Ok);
}

#[test]
fn connections_of_one_peer_are_limited_and_others_are_not() {
    let script = Script::deciding();
    let mut plan = Plan::default();
    plan.limits.connections_per_peer_max = 1;
    let rig = Rig::scripted(plan, &[&script], &[]);
    let mut first = rig.connect();
    assert_eq!(first.ask(1, &one("x")), Got::Ok);
    rig.connect().assert_closed();
    assert_eq!(rig.connect_from(2).ask(1, &one("x")), Got::Ok);
    assert_eq!(rig.counters.connection_refused.get(), 1);
}

#[test]
fn denied_address_is_closed_right_after_accept() {
    let script = Script::deciding();
    let deny = IpFilterRule {
        allow: false,
        by_name: false,
        pattern: "127.0.0.2".to_owned(),
    };
    let plan = Plan {
        rules: vec![deny],
        ..Plan::default()
    };
    let rig = Rig::scripted(plan, &[&script], &[]);
    rig.connect_from(2).assert_closed();
    assert_eq!(rig.connect_from(3).ask(1, &one("x")), Got::Ok);
    assert_eq!(rig.counters.connection_refused.get(), 1);
}

#[test]
fn deadlines_end_silent_and_slow_peers_and_no_idle_one() {
    let script = Script::deciding();
    let mut plan = Plan::default();
    plan.limits.handshake_deadline = Duration::from_millis(300);
    plan.limits.progress_deadline = Duration::from_millis(600);
    let rig = Rig::scripted(plan, &[&script], &[]);
    let mut idle = rig.connect();
    assert_eq!(idle.ask(1, &one("x")), Got::Ok);
    let mut silent = rig.connect();
    let mut stuck = rig.connect();
    assert_eq!(stuck.ask(1, &one("x")), Got::Ok);
    stuck.send(&frame(2, &[&one("half")])[..15]);
    let mut slow = rig.connect();
    assert_eq!(slow.ask(1, &one("x")), Got::Ok);
    // Never still for as long as progressTimeout, and yet no frame.
    let wire = frame(2, &[&one(&"slow".repeat(100))]);
    let mut sent = 0;
    wait_for(|| {
        pause(Duration::from_millis(50));
        rig.counters.connection_aborted.get() == 2
    });
    for byte in wire.iter().take(40) {
        if slow.stream.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        pause(Duration::from_millis(100));
    }
    assert!(sent < 40, "a byte each 100 ms was good enough");
    silent.assert_closed();
    stuck.assert_closed();
    assert_eq!(rig.counters.connection_aborted.get(), 3);
    assert_eq!(idle.ask(2, &one("x")), Got::Ok);
}

#[test]
fn graceful_stop_answers_what_was_put_and_accepts_no_more() {
    let script = Arc::new(Script::default());
    let mut rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let (mut client, mut idle) = (rig.connect(), rig.connect());
    client.call(1, &one("first"));
    client.call(2, &one("second"));
    script.wait_taken(2);
    client.send(&frame(3, &[&one("third")])[..10]);
    idle.call(1, &named(""));
    idle.reply();
    rig.stop.stop();
    idle.assert_closed();
    wait_for(|| TcpStream::connect(rig.address).is_err());
    assert!(
        rig.ended.try_recv().is_err(),
        "two calls wait for their answers"
    );
    script.decided.store(usize::MAX, SeqCst);
    assert_eq!(client.status(), (1, Got::Ok));
    assert_eq!(client.status(), (2, Got::Ok));
    client.assert_closed();
    rig.wait_ended();
    assert_eq!(script.taken(), 2);
    assert_eq!(rig.open(), [0]);
    assert_eq!(rig.counters.open_connection.get(), 0);
}

/// A client that pipelines has sent calls that a stop leaves unread; its answers must not go with them.
#[test]
fn stop_does_not_tear_a_connection_with_unread_calls() {
    let script = Arc::new(Script::default());
    let mut rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    client.call(1, &one("first"));
    script.wait_taken(1);
    rig.stop.stop();
    pause(QUIET);
    for serial in 2..50 {
        client.call(serial, &one(&"unread".repeat(1_000)));
    }
    script.decided.store(usize::MAX, SeqCst);
    // The source has ended the connection by now, but for what we still have to hear.
    pause(QUIET);
    assert_eq!(client.status(), (1, Got::Ok));
    let end = client.stream.read(&mut [0]);
    assert_eq!(end.expect("an end, not a reset"), 0);
    drop(client);
    rig.wait_ended();
    assert_eq!(script.taken(), 1);
}

#[test]
fn idle_connection_that_gave_its_memory_back_serves_on() {
    let script = Script::deciding();
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    let mut client = rig.connect();
    let large = batch(&[event(&[], &vec![7; 3 << 20])]);
    assert_eq!(client.ask(1, &large), Got::Ok);
    // Past the idle time and the sweep that sees it.
    pause(Duration::from_millis(3_500));
    assert_eq!(client.ask(2, &large), Got::Ok);
    assert_eq!(client.ask(3, &one("x")), Got::Ok);
}

#[test]
fn plain_and_deflated_clients_share_a_listener() {
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

    let script = Script::deciding();
    let rig = Rig::scripted(Plan::default(), &[&script], &[]);
    assert_eq!(rig.connect().ask(1, &one("plain")), Got::Ok);
    let mut client = rig.connect();
    let mut deflate = Compress::new(Compression::new(6), true);
    let mut inflate = Decompress::new(true);
    for serial in 1..=3 {
        let hands = if serial == 1 {
            hands(OWN_HASH, None)
        } else {
            Vec::new()
        };
        let wire = frame(serial, &[&hands, &one("deflated")]);
        let mut packed = Vec::with_capacity(4096);
        deflate
            .compress_vec(&wire, &mut packed, FlushCompress::Sync)
            .unwrap();
        client.send(&packed);
        let mut plain = Vec::with_capacity(4096);
        while !plain.ends_with(&[0, 0, 0, 2, 0, 0]) {
            let mut part = [0; 512];
            let count = client.stream.read(&mut part).unwrap();
            assert!(count > 0, "the connection stays open");
            assert!(inflate.total_in() > 0 || part[0] == 0x78, "a zlib stream");
            inflate
                .decompress_vec(&part[..count], &mut plain, FlushDecompress::Sync)
                .unwrap();
        }
        assert_eq!(plain[..4], serial.to_be_bytes());
    }
    assert_eq!(script.taken(), 4);
}
