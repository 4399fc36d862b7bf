//! A log that the real appender wrote, and what a start and a drain make of its files.
//!
//! One shard, one consumer group. The ledger knows every block: where it lies, its events, its bytes.
//! So a lane need not say what its damage takes: a block is intact if every byte that counts is still
//! what was written, and all that is intact is due.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flumen::channel::wal::{
    AppendMeters, BLOCK_HEADER_BYTES, BlockHeader, Checkpoint, LogPosition, LogShared, Recovered,
    RecoveryError, SegmentHeader, ShardCheckpoint, Usage, WalFeed, WalPlan, open_shard, recover,
    shard_folder,
};
use flumen::channel::{Block, DeliveredTo, Feed, Next, Put};
use flumen::config::FileChannelConfig;
use flumen::event::{Batch, Overlay};
use flumen::metrics::WalCounters;
use tokio::sync::Notify;

use crate::still::{BOUNDS, Still};
use crate::support::event::{Identity, TestEvent};
use crate::support::rpc::avro_event;

/// Bytes of a block's header that its checksum covers, and the checksum.
const HEADER_COVERED: usize = 92;

pub(crate) fn data_directory() -> PathBuf {
    PathBuf::from("/data")
}

fn checkpoint_directory() -> PathBuf {
    PathBuf::from("/checkpoint")
}

pub(crate) fn plan(segment_bytes: u64, checkpoint: Option<Checkpoint>) -> WalPlan {
    WalPlan {
        channel: "c".to_owned(),
        file: FileChannelConfig {
            checkpoint_dir: checkpoint_directory(),
            data_dirs: vec![data_directory()],
            checkpoint_interval: Duration::from_secs(30),
            segment_bytes,
            minimum_required_space: 0,
            capacity_bytes: None,
        },
        shard_count: 1,
        transaction_capacity: 1_000_000,
        keep_alive: Duration::from_millis(50),
        usage: Arc::new(Usage::new(u64::MAX / 2, u64::MAX)),
        checkpoint: Arc::new(checkpoint),
        groups: vec![(String::new(), Arc::new(Notify::new()))],
        checkpoint_due: Arc::new(Notify::new()),
    }
}

/// Files with what they hold.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A block as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) offset: usize,
    pub(crate) header: BlockHeader,
    pub(crate) payload: Bytes,
}

impl Entry {
    /// Bytes on disk, padding included.
    pub(crate) fn length(&self) -> usize {
        self.header.block_bytes as usize
    }

    pub(crate) fn end(&self) -> usize {
        self.offset + self.length()
    }

    /// Where the bytes that a checksum covers end.
    pub(crate) fn covered_end(&self) -> usize {
        self.offset + BLOCK_HEADER_BYTES + self.payload.len()
    }

    /// Whether the byte at `offset` of its file is one that a checksum covers.
    pub(crate) fn counts(&self, offset: usize) -> bool {
        (self.offset..self.offset + HEADER_COVERED).contains(&offset)
            || (self.offset + BLOCK_HEADER_BYTES..self.covered_end()).contains(&offset)
    }

    /// Whether its header is whole, whatever became of what it holds.
    fn is_named(&self, written: &[u8], file: &[u8]) -> bool {
        let header = self.offset..self.offset + HEADER_COVERED;
        file.len() >= self.offset + BLOCK_HEADER_BYTES && file[header.clone()] == written[header]
    }

    /// Whether these files still hold every byte of it that counts.
    pub(crate) fn is_intact(&self, written: &[u8], file: Option<&Vec<u8>>) -> bool {
        let Some(file) = file.filter(|file| file.len() >= self.end()) else {
            return false;
        };
        let header = self.offset..self.offset + HEADER_COVERED;
        let payload = self.offset + BLOCK_HEADER_BYTES..self.covered_end();
        file[header.clone()] == written[header] && file[payload.clone()] == written[payload]
    }
}

/// A log at rest: files, ledger, checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) files: Files,
    pub(crate) entries: Vec<Entry>,
    /// What an orderly stop would have left: the end, nothing delivered.
    pub(crate) checkpoint: Checkpoint,
}

/// Puts batches of these sizes, in events of these bytes; each is a block of its own.
pub(crate) fn write(world: &Still, segment_bytes: u64, batches: &[(u64, usize)]) -> Written {
    append(world, segment_bytes, None, batches, 0);
    Written::read(world)
}

/// Opens the log, puts batches whose events are numbered from `first` on, closes it.
pub(crate) fn append(
    world: &Still,
    segment_bytes: u64,
    checkpoint: Option<Checkpoint>,
    batches: &[(u64, usize)],
    first: u64,
) {
    let plan = plan(segment_bytes, checkpoint);
    world.run(async {
        let ground = world.clone();
        let opened = open_shard(
            ground,
            0,
            &plan,
            Some(AppendMeters::default()),
            |_, _| {},
            |_, _| {},
        )
        .await;
        let (_log, appender) = opened.expect("the log opens");
        let appender = appender.expect("meters were given");
        let mut number = first;
        for &(count, body_bytes) in batches {
            let mut events = Vec::new();
            for number in number..number + count {
                events.extend(avro_event(&event(number, body_bytes)));
            }
            number += count;
            let overlay = Overlay::default();
            let batch = Batch {
                pieces: &[&events],
                event_count: usize::try_from(count).expect("small"),
                overlay: &overlay,
                arrival_ms: 7,
            };
            let commit = appender.put(&batch).await.expect("it is taken");
            commit.await.expect("it is stored");
        }
        appender.close().await;
    });
}

/// Event `number` of all lanes.
pub(crate) fn event(number: u64, body_bytes: usize) -> TestEvent {
    let identity = Identity {
        prefix: "damage".to_owned(),
        connection: 0,
        number,
    };
    TestEvent::with_identity(&identity, body_bytes)
}

impl Written {
    /// What is there now, which must be whole.
    pub(crate) fn read(world: &Still) -> Self {
        let files = world.files();
        let mut entries = Vec::new();
        let mut segments = Vec::new();
        for (path, bytes) in &files {
            let Ok(header) = SegmentHeader::decode(bytes) else {
                continue;
            };
            segments.push(header);
            let mut offset = 4096;
            while let Some(Ok((block, crc))) = bytes.get(offset..).map(BlockHeader::decode) {
                if block.segment != header.segment || block.epoch != header.epoch {
                    break;
                }
                let payload = offset + BLOCK_HEADER_BYTES;
                let payload = payload..payload + block.payload_bytes as usize;
                let payload = Bytes::copy_from_slice(&bytes[payload]);
                let path = path.clone();
                entries.push((
                    crc,
                    Entry {
                        path,
                        offset,
                        header: block,
                        payload,
                    },
                ));
                offset += block.block_bytes as usize;
            }
        }
        entries.sort_by_key(|(_, entry)| entry.header.sequence);
        let (last_crc, last) = entries.last().expect("a log with blocks");
        let end = LogPosition {
            segment: last.header.segment,
            offset: last.end() as u64,
            sequence: last.header.sequence + 1,
            event: last.header.first_event + u64::from(last.header.event_count),
            chain: *last_crc,
        };
        let first = &entries[0].1;
        let cursor = DeliveredTo {
            event: first.header.first_event,
            block: first.header.sequence,
            segment: first.header.segment,
            offset: first.header.offset,
        };
        let entry = ShardCheckpoint {
            shard: 0,
            end,
            end_epoch: last.header.epoch,
            cursors: vec![(String::new(), cursor)],
        };
        Self {
            checkpoint: Checkpoint {
                generation: 1,
                shards: vec![entry],
            },
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            files,
        }
    }

    /// A box with these files.
    pub(crate) fn world(&self, lacks: &[flumen::reactor::Defence]) -> Still {
        let world = Still::new(99, lacks);
        for (path, bytes) in &self.files {
            world.put(path, bytes.clone());
        }
        world
    }

    /// The files of segments that hold blocks, by their order in the log.
    pub(crate) fn segments(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.entries.iter().map(|entry| &*entry.path).collect();
        paths.dedup();
        paths
    }

    /// The checkpoint as it stood before block `index` was written.
    pub(crate) fn checkpoint_before(&self, index: usize) -> Checkpoint {
        let mut checkpoint = self.checkpoint.clone();
        let entry = &mut checkpoint.shards[0];
        let block = &self.entries[index].header;
        let before = &self.entries[index - 1].header;
        entry.end = LogPosition {
            segment: before.segment,
            offset: before.offset + u64::from(before.block_bytes),
            sequence: block.sequence,
            event: block.first_event,
            chain: block.chain,
        };
        entry.end_epoch = before.epoch;
        checkpoint
    }

    /// The checkpoint with a cursor that has passed all blocks before `index`.
    pub(crate) fn delivered_before(&self, index: usize) -> Checkpoint {
        let mut checkpoint = self.checkpoint.clone();
        let block = &self.entries[index].header;
        checkpoint.shards[0].cursors[0].1 = DeliveredTo {
            event: block.first_event,
            block: block.sequence,
            segment: block.segment,
            offset: block.offset,
        };
        checkpoint
    }

    /// Numbers of the blocks that are not intact in these files.
    pub(crate) fn damaged(&self, now: &Files) -> Vec<u64> {
        let is_damaged =
            |entry: &&Entry| !entry.is_intact(&self.files[&entry.path], now.get(&entry.path));
        let damaged = self.entries.iter().filter(is_damaged);
        damaged.map(|entry| entry.header.sequence).collect()
    }

    /// The headers of the segments that are still known: by their own header, or by the first of their
    /// blocks whose header is whole at its place. What that block holds may be gone.
    fn headers_left(&self, now: &Files) -> Vec<SegmentHeader> {
        let left = self.segments().into_iter().filter_map(|path| {
            let file = now.get(path)?;
            let written = SegmentHeader::decode(&self.files[path]).expect("written whole");
            if SegmentHeader::decode(file).ok() == Some(written) {
                return Some(written);
            }
            let mut blocks = self.entries.iter().filter(|entry| entry.path == path);
            let named = blocks.find(|entry| entry.is_named(&self.files[path], file))?;
            Some(SegmentHeader {
                first_sequence: named.header.sequence,
                first_event: named.header.first_event,
                chain: named.header.chain,
                ..written
            })
        });
        left.collect()
    }

    /// The number that the last segment whose header is left begins with.
    pub(crate) fn last_known_start(&self, now: &Files) -> u64 {
        let headers = self.headers_left(now);
        headers
            .iter()
            .map(|header| header.first_sequence)
            .max()
            .unwrap_or(0)
    }

    /// The first number that anything left speaks of.
    pub(crate) fn first_known(&self, now: &Files) -> u64 {
        let headers = self.headers_left(now);
        let numbers = headers.iter().map(|header| header.first_sequence);
        numbers.min().unwrap_or(0)
    }

    /// Whether neither a header nor a block is left.
    pub(crate) fn is_gone(&self, now: &Files) -> bool {
        self.headers_left(now).is_empty()
    }

    /// Whether header or blocks of this segment are left.
    pub(crate) fn is_known(&self, now: &Files, segment: u64) -> bool {
        let headers = self.headers_left(now);
        headers.iter().any(|header| header.segment == segment)
    }
}

/// What a start and a drain found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recovered: Recovered,
    pub(crate) blocks: Vec<Block>,
    pub(crate) lost_blocks: u64,
    pub(crate) lost_events: u64,
}

/// Recovers the log as a start would, and drains it as a lagging sink would.
pub(crate) fn open_and_drain(
    world: &Still,
    checkpoint: Option<&Checkpoint>,
) -> Result<Found, RecoveryError> {
    open_and_drain_until(world, checkpoint, |_| false)
}

/// The same, until `enough` says so of a block.
pub(crate) fn open_and_drain_until(
    world: &Still,
    checkpoint: Option<&Checkpoint>,
    enough: impl Fn(&Block) -> bool,
) -> Result<Found, RecoveryError> {
    world.run(async {
        let folders = [shard_folder(&data_directory(), 0)];
        let groups = [String::new()];
        let entry = checkpoint.and_then(|checkpoint| checkpoint.shard(0));
        let recovered = recover(world, 0, &folders, entry, &groups, |_, _| {}).await?;
        let start = recovered.cursors[0].1;
        let log = Arc::new(LogShared::new(
            0,
            recovered.end,
            recovered.segments.clone(),
            vec![(String::new(), start, Arc::default())],
            Arc::new(Usage::new(u64::MAX / 2, u64::MAX)),
            Arc::default(),
            BOUNDS.tail_bytes_max,
        ));
        let counters = Arc::new(WalCounters::default());
        let link = Arc::clone(&log.groups[0]);
        let counted = Arc::clone(&counters);
        let mut feed = WalFeed::new(world.clone(), "c", Arc::clone(&log), link, start, counted);
        let mut blocks: Vec<Block> = Vec::new();
        loop {
            let block = match feed.next() {
                Next::Block(block) => block,
                Next::Empty => break,
                Next::Fetch(fetch) => fetch.await.expect("this disk gives no errors"),
            };
            feed.opened(block.sequence);
            // An empty block stands for lost ones.
            if block.event_count > 0 {
                let last = enough(&block);
                blocks.push(block);
                if last {
                    break;
                }
            }
        }
        Ok(Found {
            recovered,
            blocks,
            lost_blocks: counters.lost_block.get(),
            lost_events: counters.lost_event.get(),
        })
    })
}

/// The file of a generation.
pub(crate) fn checkpoint_path(generation: u64) -> PathBuf {
    let name = ["checkpoint-0", "checkpoint-1"][usize::from(generation % 2 == 1)];
    checkpoint_directory().join(name)
}

/// What a start takes for the checkpoint.
pub(crate) fn load_checkpoint(world: &Still) -> Option<Checkpoint> {
    world.run(Checkpoint::load(world, &checkpoint_directory()))
}
