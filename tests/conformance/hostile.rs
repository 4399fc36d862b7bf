//! Peers that are broken or mean: the process stays up, its memory within its budget, and good clients
//! keep working all the while. One collector for all of them, so that harm adds up.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use flate2::write::ZlibEncoder;

use crate::support::clock::pause;
use crate::support::rpc::{PROTOCOL_HASH, avro_batch, avro_event, call, frame, handshake};
use crate::support::{
    Compression, Deadline, FlumenProcess, RpcClient, Status, TestEvent, free_port,
};

/// Resident memory the collector may have after anything here.
const RESIDENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Debug)]
struct Target {
    collector: FlumenProcess,
    plain: u16,
    packed: u16,
}

/// The collector that all of this is done to. A poisoned lock means that it failed a test before.
fn target() -> std::sync::MutexGuard<'static, Target> {
    static TARGET: OnceLock<Mutex<Target>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        crate::support::process::raise_descriptor_limit(); // the collector inherits it
        let (plain, packed) = (free_port(), free_port());
        let conf = format!(
            "a.sources = plain packed\na.channels = c\na.sinks = k\n\
             a.sources.plain.type = avro\na.sources.plain.bind = 127.0.0.1\na.sources.plain.port = {plain}\n\
             a.sources.plain.channels = c\na.sources.plain.maxConnectionsPerPeer = 5000\n\
             a.sources.packed.type = avro\na.sources.packed.bind = 127.0.0.1\na.sources.packed.port = {packed}\n\
             a.sources.packed.channels = c\na.sources.packed.compression-type = deflate\n\
             a.channels.c.type = memory\na.channels.c.capacity = 100000\na.channels.c.transactionCapacity = 10000\n\
             a.sinks.k.type = null\na.sinks.k.channel = c\n"
        );
        Mutex::new(Target { collector: FlumenProcess::start(&conf, "a"), plain, packed })
    });
    target.lock().expect("an earlier test did not break it")
}

impl Target {
    /// A good client of each kind is served at once, and the process is within its budget.
    #[track_caller]
    fn assert_well(&mut self, after: &str) {
        for (port, compression) in [
            (self.plain, Compression::None),
            (self.packed, Compression::Deflate),
        ] {
            let clock = Deadline::after(Duration::from_secs(5));
            let mut client = RpcClient::connect(port, compression).expect("listens");
            let status = client
                .append_batch(&[TestEvent::new(&[], b"well")])
                .expect("a reply");
            assert_eq!(status, Status::Ok, "after {after}");
            assert!(
                !clock.passed(),
                "a good client waited {:?} after {after}",
                clock.elapsed()
            );
        }
        assert!(
            self.collector.process().running(),
            "it is gone after {after}"
        );
        let resident = self.collector.process().resident_bytes();
        assert!(
            resident < RESIDENT_BYTES_MAX,
            "{resident} bytes resident after {after}"
        );
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.plain)).expect("listens")
    }
}

/// A good session: two calls.
fn session() -> Vec<u8> {
    let events = [
        TestEvent::new(&[("k", "v")], b"one"),
        TestEvent::new(&[], b"two"),
    ];
    let hands = handshake(PROTOCOL_HASH, None, PROTOCOL_HASH);
    let mut bytes = frame(1, &[&hands, &call("append", &avro_event(&events[0]))]);
    bytes.extend(frame(2, &[&call("appendBatch", &avro_batch(&events))]));
    bytes
}

#[test]
fn sessions_cut_at_every_byte() {
    let mut target = target();
    let bytes = session();
    for cut in 0..bytes.len() {
        drop(target.connect().write_all(&bytes[..cut]));
    }
    target.assert_well("cut sessions");
}

#[test]
fn sessions_with_one_byte_changed() {
    let mut target = target();
    let bytes = session();
    let mut held = Vec::new();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut altered = bytes.clone();
            altered[at] ^= change;
            let mut stream = target.connect();
            drop(stream.write_all(&altered));
            held.push(stream);
            if held.len() > 200 {
                held.clear();
            }
        }
    }
    target.assert_well("altered sessions");
}

#[test]
fn random_bytes() {
    let mut target = target();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..400 {
        let mut bytes = Vec::new();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_be_bytes());
        }
        if round % 2 == 0 {
            bytes.splice(..8, [0, 0, 0, 1, 0, 0, 0, 1]); // a sound frame header before the noise
        }
        drop(target.connect().write_all(&bytes));
    }
    target.assert_well("random bytes");
}

#[test]
fn sizes_that_lie() {
    let mut target = target();
    let header = |words: &[i32]| {
        words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<_>>()
    };
    let hands = handshake(PROTOCOL_HASH, None, PROTOCOL_HASH);
    // A batch of 2^62 events, a map of as many headers, a body of as many bytes, each with nothing behind.
    let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let of = |request: &[u8]| frame(1, &[&hands, &call("appendBatch", request)]);
    let lies = [
        header(&[1, 0]),
        header(&[1, -1]),
        header(&[1, i32::MIN]),
        header(&[1, i32::MAX]),
        header(&[1, 1, -1]),
        header(&[1, 1, i32::MAX]),
        header(&[1, 2, i32::MAX, i32::MAX]),
        of(&huge),
        of(&[&[2u8][..], &huge].concat()),
        of(&[&[2u8, 0][..], &huge].concat()),
        of(&[0x01, 0x01]),
        of(&[
            0x01, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
        ]),
    ];
    let mut held = Vec::new();
    for lie in &lies {
        for _ in 0..20 {
            let mut stream = target.connect();
            drop(stream.write_all(lie));
            held.push(stream);
        }
    }
    pause(Duration::from_millis(300));
    target.assert_well("lying sizes");
    drop(held);
}

#[test]
fn frames_announced_large_and_sent_in_part_hold_no_memory_for_the_rest() {
    let mut target = target();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = target.connect();
        let words = [1i32, 1, 60 * 1024 * 1024];
        drop(
            stream.write_all(
                &words
                    .iter()
                    .flat_map(|word| word.to_be_bytes())
                    .collect::<Vec<_>>(),
            ),
        );
        drop(stream.write_all(&[0; 10_000]));
        held.push(stream);
    }
    pause(Duration::from_millis(500));
    target.assert_well("two hundred announcements of 60 MiB");
    drop(held);
}

#[test]
fn zlib_bombs() {
    let mut target = target();
    // 256 MiB of zeros behind the header of a frame, a thousandth of that on the wire.
    let mut bomb = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let words = [1i32, 1, i32::MAX];
    bomb.write_all(
        &words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<_>>(),
    )
    .expect("memory");
    for _ in 0..256 {
        bomb.write_all(&vec![0; 1024 * 1024]).expect("memory");
    }
    let long_frame = bomb.finish().expect("memory");
    let mut bomb = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let words = [1i32, 8, 60 * 1024 * 1024];
    bomb.write_all(
        &words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<_>>(),
    )
    .expect("memory");
    for _ in 0..59 {
        bomb.write_all(&vec![0; 1024 * 1024]).expect("memory");
    }
    let allowed_frame = bomb.finish().expect("memory");
    let mut held = Vec::new();
    for bytes in [&long_frame, &allowed_frame] {
        for port in [target.packed, target.plain] {
            for _ in 0..20 {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("listens");
                stream
                    .set_write_timeout(Some(Duration::from_secs(2)))
                    .expect("a limit above zero");
                drop(stream.write_all(bytes));
                held.push(stream);
            }
        }
    }
    target.assert_well("zlib bombs");
    drop(held);
}

#[test]
fn slow_senders_do_not_slow_others() {
    let mut target = target();
    let bytes = session();
    let mut slow: Vec<TcpStream> = (0..100).map(|_| target.connect()).collect();
    for byte in bytes.iter().take(60) {
        for stream in &mut slow {
            drop(stream.write_all(&[*byte]));
        }
        pause(Duration::from_millis(20));
    }
    target.assert_well("slow senders");
}

#[test]
fn peers_that_never_read_their_replies() {
    let mut target = target();
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut client = RpcClient::connect(target.plain, Compression::None).expect("listens");
        assert_eq!(
            client
                .append(&TestEvent::new(&[], b"deaf"))
                .expect("a reply"),
            Status::Ok
        );
        client.stream().set_nonblocking(true).expect("a socket");
        let ping = frame(
            9,
            &[&call(
                "no such message, and a long name, so that the reply is long too",
                &[],
            )],
        );
        let pings = ping.repeat(2_000);
        for _ in 0..20 {
            drop(client.stream().write(&pings));
        }
        deaf.push(client);
    }
    pause(Duration::from_millis(500));
    target.assert_well("deaf peers");
    drop(deaf);
}

#[test]
fn thousands_of_idle_connections() {
    let mut target = target();
    let mut idle = Vec::new();
    for _ in 0..3_000 {
        idle.push(target.connect());
    }
    pause(Duration::from_millis(500));
    target.assert_well("3000 idle connections");
    drop(idle);
    target.assert_well("3000 connections closed");
}
