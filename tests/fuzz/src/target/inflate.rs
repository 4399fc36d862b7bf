//! Deflated connections: however the bytes arrive and whatever room there is, the same comes out, what
//! was deflated comes back, and a bomb is refused before it has cost more than its limit.
//!
//! ```text
//! offset  size  field
//!      0     1  seed               of the lengths that the bytes arrive in, and of the room
//!      1     1  mode               0: what follows is a zlib stream; 1..=9: it is deflated first, at
//!                                  that level; 10..: each byte is the number of a piece that has been
//!                                  deflated before; 255: there are pieces for bombs too
//!      2     …  bytes
//! ```

use std::cell::RefCell;

use crc32c::crc32c_append;
use flate2::{Compress, Compression, FlushCompress};
use flumen::limits::{INFLATE_FREE_BYTES, INFLATE_RATIO_MAX};
use flumen::source::avro::{Inflate, InflateError, Sniffed, sniff};

use crate::input::{Input, Steps};
use crate::meter::held;
use crate::planted::is_planted;

/// What the decoder may hold: the window of 32 KiB, its tables, and the input it has not finished.
const STATE_BYTES_MAX: usize = 96 * 1024;
/// Room of one read in the collector is some KiB; one larger than all output shows the whole at once.
const ROOM_BYTES: usize = 64 * 1024;
/// Pieces of one input.
const PIECES_MAX: usize = 12;
/// Output of one input made of pieces: enough for a bomb, little enough to be quick.
const SMALL_BYTES_MAX: usize = 2 * 1024;
const PIECES_BYTES_MAX: usize = INFLATE_FREE_BYTES + 256 * 1024;

/// This mode makes bombs: one of 256, for they are slow.
const BOMBS: u8 = 255;

/// What came out: how much, its checksum, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    bytes: u64,
    sum: u32,
    refused: Option<InflateError>,
}

/// Whether the input is worth keeping: bombs are slow, and those of the corpus are tried each time.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let seed = input.u8();
    let mode = input.u8();
    let rest = input.rest();
    assert_eq!(
        sniff(rest),
        sniff(&rest[..rest.len().min(2)]),
        "inflate: sniff"
    );

    let (plain, wire) = match mode {
        0 => (None, rest.to_vec()),
        1..=9 => (Some(rest.to_vec()), deflated(rest, mode)),
        10.. => {
            let (plain, wire) = pieces_of(rest, if mode < BOMBS { 6 } else { 8 });
            (Some(plain), wire)
        }
    };
    let whole = inflated(&wire, None);
    let pieces = inflated(&wire, Some(seed));
    let is_bomb = |outcome: &Outcome| matches!(outcome.refused, Some(InflateError::Ratio { .. }));
    // Where a bomb is seen depends on what was taken in at that time.
    if !is_bomb(&whole) && !is_bomb(&pieces) {
        assert_eq!(
            whole.refused.is_some(),
            pieces.refused.is_some(),
            "inflate: another verdict in pieces"
        );
        if whole.refused.is_none() {
            assert_eq!(whole, pieces, "inflate: other bytes in pieces");
        }
    }
    if let Some(plain) = plain {
        assert_eq!(sniff(&wire), Sniffed::Zlib, "inflate: not taken for zlib");
        let allowed = (wire.len() * INFLATE_RATIO_MAX).max(INFLATE_FREE_BYTES);
        match whole.refused {
            None => {
                assert_eq!(
                    whole.sum,
                    crc32c_append(0, &plain),
                    "inflate: not what was deflated"
                );
                assert!(plain.len() <= allowed, "inflate: a bomb passes");
            }
            Some(InflateError::Ratio { .. }) => {
                assert!(
                    plain.len() > INFLATE_FREE_BYTES,
                    "inflate: refused below the limit"
                );
            }
            Some(error) => panic!("inflate: {error}, but the stream is whole"),
        }
    }
    mode < BOMBS
}

/// Feeds `wire`: at once and into much room without a seed, else in pieces of both.
fn inflated(wire: &[u8], seed: Option<u8>) -> Outcome {
    let mut inflate = held(STATE_BYTES_MAX, Inflate::default);
    let mut steps = seed.map(Steps::new);
    let mut space = [0; ROOM_BYTES];
    let mut outcome = Outcome {
        bytes: 0,
        sum: 0,
        refused: None,
    };
    let (mut start, mut end) = (0, 0);
    let mut received = 0u64;
    // Output waits in the decoder while what it gave filled the room.
    let mut more_waits = false;
    loop {
        if start == end && !more_waits {
            if end == wire.len() {
                return outcome;
            }
            let more = steps.as_mut().map_or(wire.len(), |steps| steps.next(61));
            end = (end + more).min(wire.len());
        }
        // Small room is slow: it is kept for outputs that are small.
        let room = match &mut steps {
            Some(steps) if outcome.bytes < 4096 => steps.next(1400),
            Some(_) | None => ROOM_BYTES,
        };
        let stepped = held(STATE_BYTES_MAX, || {
            inflate.step(&wire[start..end], &mut space[..room])
        });
        let (taken, given) = match stepped {
            Ok(done) => done,
            // The defect: the verdict on a bomb is not looked at.
            Err(InflateError::Ratio { .. }) if is_planted() => return outcome,
            Err(error) => {
                outcome.refused = Some(error);
                return outcome;
            }
        };
        assert!(taken <= end - start, "inflate: takes more than there is");
        assert!(given <= room, "inflate: gives more than there is room for");
        start += taken;
        received += taken as u64;
        outcome.bytes += given as u64;
        outcome.sum = crc32c_append(outcome.sum, &space[..given]);
        let allowed = (received * INFLATE_RATIO_MAX as u64).max(INFLATE_FREE_BYTES as u64);
        assert!(
            outcome.bytes <= allowed,
            "inflate: {} bytes given for {received} received",
            outcome.bytes
        );
        more_waits = given == room;
        // The connection would read on and forget what was not taken.
        let stands_still = !more_waits && taken == 0 && start < end;
        assert!(!stands_still, "inflate: stands still");
    }
}

/// What was deflated, and the same deflated.
type Deflated = (Vec<u8>, Vec<u8>);

/// A stream of pieces that were deflated once, each by itself: after a sync flush one may follow another.
fn pieces_of(script: &[u8], kinds: u8) -> Deflated {
    thread_local! {
        static PIECES: [Deflated; 8] = [
            &b"x"[..],
            b"GET /index.html HTTP/1.1 ",
            &[0; 300],
            &[b'a'; 1_000],
            &[1, 2, 3, 4].repeat(100),
            &(0..=255).collect::<Vec<u8>>(),
            &[0; 65_536],
            &[7; 262_144],
        ]
        .map(|plain| (plain.to_vec(), flushed(&mut Compress::new(Compression::best(), false), plain)));
    }
    let (mut plain, mut wire) = (Vec::new(), vec![0x78, 0x9c]);
    PIECES.with(|pieces| {
        for byte in script.iter().take(PIECES_MAX) {
            let (part, deflated) = &pieces[usize::from(byte % kinds)];
            let plain_bytes_max = match kinds {
                6 => SMALL_BYTES_MAX,
                _ => PIECES_BYTES_MAX,
            };
            if plain.len() + part.len() > plain_bytes_max {
                break;
            }
            plain.extend_from_slice(part);
            wire.extend_from_slice(deflated);
        }
    });
    (plain, wire)
}

/// As a client deflates it: one stream, a sync flush at the end.
fn deflated(plain: &[u8], level: u8) -> Vec<u8> {
    thread_local! {
        static LEVELS: RefCell<[Compress; 9]> = RefCell::new(
            [1, 2, 3, 4, 5, 6, 7, 8, 9].map(|level| Compress::new(Compression::new(level), true)),
        );
    }
    LEVELS.with_borrow_mut(|levels| {
        let compress = &mut levels[usize::from(level) - 1];
        compress.reset();
        flushed(compress, plain)
    })
}

fn flushed(compress: &mut Compress, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(plain.len() + plain.len() / 512 + 256);
    compress
        .compress_vec(plain, &mut wire, FlushCompress::Sync)
        .expect("memory is compressed into memory");
    assert_eq!(
        compress.total_in(),
        plain.len() as u64,
        "room for all of it"
    );
    wire
}
