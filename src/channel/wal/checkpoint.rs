//! The checkpoint: where each shard's log ends, and how far each consumer group has come.
//!
//! One per file channel, on its own disk, in two files written in turn, so that a crash while writing
//! one leaves the other; segments are let go when both have passed them, and at rest both say the same.
//! It is written on the drain plane, within 100 ms of a sink's commit, never on
//! the path of a batch. Losing it costs a scan and duplicates, never an event: the log alone is enough.
//!
//! ```text
//! offset  size  field              all integers little-endian
//!      0     8  magic              "FLUMENC1"
//!      8     4  version
//!     12     8  generation         the higher of the two valid files counts
//!     20     4  shard_count
//!            then for each shard
//!            4  shard
//!            8  end segment        ┐
//!            8  end epoch          │ of the segment; another epoch there makes the entry void
//!            8  end offset         │ where the log ended when this was written
//!            8  end sequence       │
//!            8  end event          │
//!            4  end chain          ┘
//!            4  group_count
//!            then for each consumer group
//!            4  name_bytes, then the name (empty: the default group)
//!            8  event              first event not delivered
//!            8  block              sequence of the block that holds it
//!            8  segment, 8 offset  of that block
//!      …     4  crc                CRC32C of all before
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crc32c::crc32c;
use futures_lite::future;

use super::header::NUMBER_MAX;
use super::shared::{LogPosition, LogShared};
use crate::channel::consumer::DeliveredTo;
use crate::limits;
use crate::metrics::ChannelCounters;
use crate::reactor::{Defence, Ground};

const MAGIC: [u8; 8] = *b"FLUMENC1";
const VERSION: u32 = 1;
const FILE_NAMES: [&str; 2] = ["checkpoint-0", "checkpoint-1"];
/// Commits of sinks within this time share one write.
const COALESCE: Duration = Duration::from_millis(100);

/// What is known of one shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCheckpoint {
    /// Shard number.
    pub shard: u32,
    /// Where the log ended.
    pub end: LogPosition,
    /// Epoch of the segment it ended in.
    pub end_epoch: u64,
    /// Each consumer group's cursor.
    pub cursors: Vec<(String, DeliveredTo)>,
}

impl ShardCheckpoint {
    /// The cursor of `group`; none if the group is not known here.
    #[must_use]
    pub fn cursor(&self, group: &str) -> Option<DeliveredTo> {
        let found = self.cursors.iter().find(|(name, _)| name == group);
        found.map(|(_, cursor)| *cursor)
    }
}

/// All shards of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Grows by one with each write.
    pub generation: u64,
    /// Shards, by number.
    pub shards: Vec<ShardCheckpoint>,
}

impl Checkpoint {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_u64(&mut out, self.generation);
        put_u32(&mut out, self.shards.len());
        for shard in &self.shards {
            out.extend_from_slice(&shard.shard.to_le_bytes());
            let LogPosition {
                segment,
                offset,
                sequence,
                event,
                chain,
            } = shard.end;
            for value in [segment, shard.end_epoch, offset, sequence, event] {
                put_u64(&mut out, value);
            }
            out.extend_from_slice(&chain.to_le_bytes());
            put_u32(&mut out, shard.cursors.len());
            for (group, cursor) in &shard.cursors {
                put_u32(&mut out, group.len());
                out.extend_from_slice(group.as_bytes());
                for value in [cursor.event, cursor.block, cursor.segment, cursor.offset] {
                    put_u64(&mut out, value);
                }
            }
        }
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`Checkpoint::encode`] wrote; none if anything about it is wrong.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut rest = covered.strip_prefix(&MAGIC)?;
        if take_u32(&mut rest)? != VERSION {
            return None;
        }
        // Generations and the numbers of the log's end are counted on from.
        let generation = take_u64(&mut rest).filter(|number| *number <= NUMBER_MAX)?;
        let shard_count = take_u32(&mut rest)?;
        let mut shards = Vec::new();
        for _ in 0..shard_count {
            let shard = take_u32(&mut rest)?;
            let segment = take_u64(&mut rest)?;
            let end_epoch = take_u64(&mut rest)?;
            let offset = take_u64(&mut rest)?;
            let sequence = take_u64(&mut rest)?;
            let event = take_u64(&mut rest)?;
            let chain = take_u32(&mut rest)?;
            if [segment, sequence, event].iter().any(|n| *n > NUMBER_MAX) {
                return None;
            }
            let end = LogPosition {
                segment,
                offset,
                sequence,
                event,
                chain,
            };
            let mut cursors = Vec::new();
            for _ in 0..take_u32(&mut rest)? {
                let name_bytes = take_u32(&mut rest)? as usize;
                let (name, after) = rest.split_at_checked(name_bytes)?;
                rest = after;
                let cursor = DeliveredTo {
                    event: take_u64(&mut rest)?,
                    block: take_u64(&mut rest)?,
                    segment: take_u64(&mut rest)?,
                    offset: take_u64(&mut rest)?,
                };
                cursors.push((String::from_utf8(name.to_vec()).ok()?, cursor));
            }
            shards.push(ShardCheckpoint {
                shard,
                end,
                end_epoch,
                cursors,
            });
        }
        rest.is_empty().then_some(Self { generation, shards })
    }

    /// The newer valid one of the two files in `directory`; none if there is none.
    pub async fn load<G: Ground>(ground: &G, directory: &Path) -> Option<Self> {
        let mut newest: Option<Self> = None;
        for name in FILE_NAMES {
            let path = directory.join(name);
            let bytes = match read_patiently(ground, &path).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    tracing::error!(
                        "checkpoint {} cannot be read: {error}; the other generation or a scan of the \
                         log takes its place",
                        path.display()
                    );
                    continue;
                }
            };
            match Self::decode(&bytes) {
                Some(found) => {
                    if newest
                        .as_ref()
                        .is_none_or(|known| known.generation < found.generation)
                    {
                        newest = Some(found);
                    }
                }
                None => tracing::warn!(
                    "checkpoint {} is damaged and not used; the other generation or a scan of the \
                     log takes its place",
                    path.display()
                ),
            }
        }
        newest
    }

    /// The two files in `directory`, whether they are there or not.
    #[must_use]
    pub fn paths(directory: &Path) -> [PathBuf; 2] {
        FILE_NAMES.map(|name| directory.join(name))
    }

    /// One shard's entry.
    #[must_use]
    pub fn shard(&self, shard: u32) -> Option<&ShardCheckpoint> {
        self.shards.iter().find(|entry| entry.shard == shard)
    }
}

/// An error that passes must not cost the cursors.
async fn read_patiently<G: Ground>(ground: &G, path: &Path) -> io::Result<Vec<u8>> {
    let mut read = ground.read_small(path).await;
    for _ in 1..limits::READ_ATTEMPTS_MAX {
        if !read
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        {
            break;
        }
        ground.sleep(limits::READ_AGAIN_AFTER).await;
        read = ground.read_small(path).await;
    }
    read
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("counts and names are small");
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (value, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*value))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (value, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_le_bytes(*value))
}

/// Writes one channel's checkpoint. Lives on one drain thread.
#[derive(Debug)]
pub struct CheckpointWriter<G> {
    ground: G,
    directory: PathBuf,
    channel: String,
    /// How long a moved end of the log may stay unwritten when no cursor moves.
    interval: Duration,
    logs: Vec<Arc<LogShared>>,
    current: Checkpoint,
    /// By log: blocks below this number are passed by every cursor of the generation before.
    passed_before: Vec<Option<u64>>,
    /// The generation before says less than the current one.
    lags: bool,
    /// A cursor has moved since the last one.
    cursor_moved: bool,
    counters: Arc<ChannelCounters>,
}

impl<G: Ground> CheckpointWriter<G> {
    /// A writer that goes on from `current`, which holds an entry for each of `logs`.
    #[must_use]
    pub fn new(
        ground: G,
        directory: PathBuf,
        channel: String,
        interval: Duration,
        logs: Vec<Arc<LogShared>>,
        current: Checkpoint,
        counters: Arc<ChannelCounters>,
    ) -> Self {
        assert_eq!(logs.len(), current.shards.len(), "an entry for each log");
        Self {
            ground,
            directory,
            channel,
            interval,
            logs,
            passed_before: passed(&current),
            lags: false,
            cursor_moved: false,
            current,
            counters,
        }
    }

    /// Writes whenever something moved, until `stop` resolves; then once more.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let due = Arc::clone(&self.logs[0].checkpoint_due);
        let mut stop = std::pin::pin!(stop);
        let mut stopping = false;
        while !stopping {
            let moved = async {
                let interval = self.ground.sleep(self.interval);
                future::or(due.notified(), interval).await;
                self.ground.sleep(COALESCE).await;
                false
            };
            let stopped = async {
                stop.as_mut().await;
                true
            };
            stopping = future::or(moved, stopped).await;
            self.write_if_moved().await;
        }
        // So that after an orderly stop either generation says all.
        self.write_if_moved().await;
    }

    /// Writes the checkpoint if anything moved since the last one, or since the one before that.
    pub async fn write_if_moved(&mut self) {
        let moved = self.collect();
        if !moved && !self.lags {
            return;
        }
        self.current.generation += 1;
        let turn = usize::from(self.current.generation % 2 == 1);
        let path = self.directory.join(FILE_NAMES[turn]);
        match self.ground.replace(&path, self.current.encode()).await {
            Ok(()) => {
                self.let_go();
                self.lags = moved;
                if self.cursor_moved {
                    // Comes back soon, for the other generation: segments wait for it.
                    self.logs[0].checkpoint_due.notify_one();
                }
                self.cursor_moved = false;
            }
            Err(error) => {
                self.counters.checkpoint_write_error.increment();
                tracing::error!(
                    "channel {}: writing checkpoint {} failed: {error}; delivery goes on, nothing is \
                     released, and a restart would deliver again what was delivered since the last \
                     checkpoint",
                    self.channel,
                    path.display(),
                );
                // Try again even if nothing else moves.
                self.ground.sleep(Duration::from_secs(1)).await;
                self.logs[0].checkpoint_due.notify_one();
                self.current.generation -= 1;
                self.unwritten();
            }
        }
    }

    /// Takes over what moved. False: nothing did.
    fn collect(&mut self) -> bool {
        let mut moved = false;
        for (log, entry) in self.logs.iter().zip(&mut self.current.shards) {
            for (link, (name, cursor)) in log.groups.iter().zip(&mut entry.cursors) {
                assert_eq!(&link.group, name, "entries are in the order of the groups");
                if let Some(newest) = link.moved() {
                    *cursor = newest;
                    self.cursor_moved = true;
                    moved = true;
                }
            }
            // After the cursors: a cursor never lies behind the end it is written with.
            if let Some(end) = log.end_moved() {
                entry.end = end;
                entry.end_epoch = log.segment_epoch(end.segment).unwrap_or(entry.end_epoch);
                moved = true;
            }
        }
        moved
    }

    /// The write failed: what was collected counts as not written.
    fn unwritten(&self) {
        for (log, entry) in self.logs.iter().zip(&self.current.shards) {
            log.end_again(entry.end);
        }
    }

    /// The cursors are durable: blocks that every group has passed may be overwritten. What counts is
    /// the generation before: should the newer one be damaged, a start uses that, and finds all it names.
    fn let_go(&mut self) {
        let passed = passed(&self.current);
        for (log, before) in self.logs.iter().zip(&self.passed_before) {
            let before = match self.ground.lacks(Defence::ReleaseBehindCursors) {
                true => Some(log.durable_sequence()),
                false => *before,
            };
            if let Some(block) = before {
                log.released_durably(block);
            }
        }
        self.passed_before = passed;
    }
}

/// By shard: the first block that some group has not passed.
fn passed(checkpoint: &Checkpoint) -> Vec<Option<u64>> {
    let shards = checkpoint.shards.iter();
    let blocks = shards.map(|entry| entry.cursors.iter().map(|(_, cursor)| cursor.block).min());
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let end = LogPosition {
            segment: 3,
            offset: 8192,
            sequence: 17,
            event: 900,
            chain: 5,
        };
        let cursor = DeliveredTo {
            event: 800,
            block: 16,
            segment: 3,
            offset: 4096,
        };
        let cursors = vec![(String::new(), cursor), ("audit".to_owned(), cursor)];
        let shards = vec![ShardCheckpoint {
            shard: 0,
            end,
            end_epoch: 77,
            cursors,
        }];
        Checkpoint {
            generation: 4,
            shards,
        }
    }

    #[test]
    fn checkpoints_survive_the_round_trip() {
        assert_eq!(
            Checkpoint::decode(&checkpoint().encode()),
            Some(checkpoint())
        );
    }

    #[test]
    fn numbers_that_no_log_reaches_are_refused() {
        for change in [
            |wrong: &mut Checkpoint| wrong.generation = u64::MAX,
            |wrong: &mut Checkpoint| wrong.shards[0].end.segment = u64::MAX,
            |wrong: &mut Checkpoint| wrong.shards[0].end.sequence = u64::MAX,
            |wrong: &mut Checkpoint| wrong.shards[0].end.event = u64::MAX,
        ] {
            let mut wrong = checkpoint();
            change(&mut wrong);
            assert_eq!(Checkpoint::decode(&wrong.encode()), None);
        }
    }

    #[test]
    fn a_checkpoint_cut_or_flipped_anywhere_is_refused() {
        let bytes = checkpoint().encode();
        for length in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..length]), None, "{length} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&flipped), None, "bit {bit}");
        }
    }
}
