//! Every bound in one place, and how the bounds relate, asserted at compile time.
//!
//! A bound is a promise to the other tenants of the box: whatever a peer claims or a sink does, this
//! much memory, disk or time is used and no more. Bounds that an operator may move are defaults here
//! and are read from the configuration (`config::limits`).

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Direct I/O alignment of everything on disk. Devices with 512-byte sectors accept it too.
pub const ALIGN_BYTES: usize = 4 * KIB;

/// One RPC message, headers and all. Flume has no limit; ours is far above 100 × a large event.
pub const FRAME_BYTES_MAX: usize = 64 * MIB;
/// Buffers in one pack frame. Java writes 8 KiB buffers: 64 MiB of those, plus the head.
pub const FRAME_BUFFERS_MAX: usize = 16 * KIB;
/// Events in one `appendBatch`.
pub const BATCH_EVENTS_MAX: usize = 1_000_000;
/// Headers of one event.
pub const EVENT_HEADERS_MAX: usize = 4 * KIB;
/// One header key or value.
pub const HEADER_STRING_BYTES_MAX: usize = MIB;
/// One event: it has to fit one block.
pub const EVENT_BYTES_MAX: usize = 32 * MIB;
/// What deflated input may inflate to, per byte received, once past `INFLATE_FREE_BYTES`.
pub const INFLATE_RATIO_MAX: usize = 200;
/// Inflated bytes per connection before the ratio is looked at.
pub const INFLATE_FREE_BYTES: usize = MIB;
/// Client protocols remembered per source. Java's cache has no bound.
pub const HANDSHAKE_CACHE_MAX: usize = 256;
/// JSON text of a client protocol in a handshake.
pub const PROTOCOL_TEXT_BYTES_MAX: usize = 64 * KIB;
/// Calls of one connection that wait for their commit; further ones stay in the socket.
pub const PIPELINE_CALLS_MAX: usize = 64;
/// Connections of one source over all shards.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections of one source from one address.
pub const CONNECTIONS_PER_PEER_MAX: usize = 1_024;
/// From accept to the end of the first handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// A frame that has begun must gain bytes within this time.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes a second that a frame must gain on the whole, beyond its deadline: one byte just inside each
/// deadline would hold a connection for ever.
pub const FRAME_RATE_BYTES_MIN: usize = 4 * KIB;

/// How long a connection that a stopping source ends may take to read its answers and hang up.
pub const CLOSE_LINGER: Duration = Duration::from_secs(1);

/// Memory of one block buffer: one group commit, header and padding included.
pub const BLOCK_BYTES: usize = 2 * MIB;
/// The smallest block buffer. The next buffer is twice as large as the last block was, so that small
/// commits can be lent to the drain as they are instead of being copied out of a large buffer.
pub const BUFFER_BYTES_MIN: usize = 128 * KIB;
/// A block that holds one event larger than `BLOCK_BYTES`, with its headers and padding.
pub const BLOCK_BYTES_MAX: usize = EVENT_BYTES_MAX + MIB;
/// A block of this size uses the disk well, and does not wait for more batches.
pub const GATHER_BYTES_ENOUGH: usize = 256 * KIB;
/// The longest wait of a smaller one, however slow the disk is.
pub const GATHER_WAIT_MAX: Duration = Duration::from_micros(500);
/// Segment size when the configuration sets no `maxFileSize`.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;
/// The least `maxFileSize` we honour.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Flume's own cap on `maxFileSize`.
pub const SEGMENT_BYTES_MAX: u64 = 1_623_195_647;
/// What is written in advance before the first batch comes, in up to three segments: what the log
/// rolls through until the first ones come back from the drain and the checkpoint.
pub const PREWRITE_BYTES_AT_START: u64 = 384 * 1024 * 1024;
/// A disk that has not answered a write after this time counts as failed until it does: its batches
/// are FAILED, well before a Flume client's own 20 s, and the next ones go to another directory.
pub const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// Free segments kept for reuse; more are removed, so that a drained backlog gives its disk back.
pub const SPARES_MAX: usize = 4;
/// Committed blocks that one consumer group may hold in memory, per shard.
pub const TAIL_BYTES_MAX: usize = 24 * MIB;
/// Reads of one place that may fail before what is there counts as damaged. A medium that refuses once
/// may give the data a moment later; taking a passing error for damage would lose them.
pub const READ_ATTEMPTS_MAX: u32 = 5;
/// Between two of them.
pub const READ_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Places of a segment that are tried before its disk counts as dead.
pub const READ_PROBES: u64 = 8;
/// One read of a sink that lags.
pub const READ_BACK_BYTES: usize = MIB;
/// So many more of them are under way meanwhile.
pub const READS_AHEAD: usize = 3;

/// The sizes of the store that a world may scale down: a simulated box rolls, lags and fills up within
/// kilobytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBounds {
    /// [`BLOCK_BYTES`].
    pub block_bytes: usize,
    /// [`BUFFER_BYTES_MIN`].
    pub buffer_bytes_min: usize,
    /// [`SEGMENT_BYTES_MIN`].
    pub segment_bytes_min: u64,
    /// [`TAIL_BYTES_MAX`].
    pub tail_bytes_max: usize,
    /// [`READ_BACK_BYTES`].
    pub read_back_bytes: usize,
}

impl StoreBounds {
    /// What every real world uses.
    pub const REAL: Self = Self {
        block_bytes: BLOCK_BYTES,
        buffer_bytes_min: BUFFER_BYTES_MIN,
        segment_bytes_min: SEGMENT_BYTES_MIN,
        tail_bytes_max: TAIL_BYTES_MAX,
        read_back_bytes: READ_BACK_BYTES,
    };
}

const _: () = assert!(EVENT_BYTES_MAX < BLOCK_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES.is_multiple_of(ALIGN_BYTES));
const _: () = assert!((BLOCK_BYTES as u64) < SEGMENT_BYTES_MIN);
const _: () = assert!(HEADER_STRING_BYTES_MAX < EVENT_BYTES_MAX);
const _: () = assert!(FRAME_BUFFERS_MAX * 8 * KIB > FRAME_BYTES_MAX);
