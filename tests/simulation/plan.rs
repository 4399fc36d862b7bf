//! What a seed decides: the box, its load, its faults and its lives.

use std::time::Duration;

use flumen::limits::StoreBounds;
use flumen::reactor::simulated::{Dice, Faults};

const KIB: u64 = 1024;

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub bounds: StoreBounds,
    pub segment_bytes: u64,
    pub data_dirs: usize,
    /// Bytes of each data disk.
    pub disk_bytes: u64,
    pub minimum_required_space: u64,
    pub capacity_bytes: Option<u64>,
    pub capacity_events: u64,
    pub transaction_capacity: usize,
    pub keep_alive: Duration,
    pub checkpoint_interval: Duration,
    /// Sinks of each consumer group.
    pub groups: Vec<usize>,
    pub sink: SinkPlan,
    pub clients: Vec<ClientPlan>,
    pub lives: Vec<Life>,
}

/// What a sink does, in 1/1000 of its transactions.
#[derive(Debug, Clone, Copy)]
pub struct SinkPlan {
    pub batch: usize,
    pub fails: u32,
    pub fails_half_way: u32,
    pub answers_wrongly: u32,
    pub hangs: u32,
}

/// One client, which is a Flume agent with a file channel: it repeats a batch until it is answered OK.
#[derive(Debug, Clone, Copy)]
pub struct ClientPlan {
    pub batches: u64,
    pub events_max: u64,
    pub body_bytes_max: u64,
    /// Calls on the way at once.
    pub pipeline: usize,
    pub thinks: Duration,
}

/// From one start to the next crash or stop.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub faults: Faults,
    pub shards: u32,
    pub length: Duration,
    /// Ends with a stop instead of a crash; the crash may still come in the middle of it.
    pub orderly: bool,
    /// One data disk dies in the middle.
    pub dead_disk: bool,
    /// Done to the disks while the box is off.
    pub rot: u64,
    pub vandal: Option<Vandal>,
}

/// What somebody does to the checkpoint while the box is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vandal {
    DeletesOne,
    DeletesBoth,
    RestoresOld,
    Truncates,
    FlipsBit,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed ^ 0x5f6c_756d_656e);
        let block_bytes = 16 << 10;
        let segment_bytes = dice.between(8, 24) * 4 * KIB;
        // A box that rots as well as one that fails honestly: the second must lose nothing at all.
        let rots = dice.chance(250);
        // Files that are set aside keep their room, so a rotting disk is a large one.
        let tight = !rots && dice.chance(300);
        let shards = dice.between(1, 2);
        let data_dirs = dice.index(2) + 1;
        let life_count = dice.between(2, 5);
        let lives = (0..life_count).map(|number| Life::of(&dice, rots, shards, number));
        let lives: Vec<Life> = lives.collect();
        let clients = (0..dice.between(1, 3)).map(|_| ClientPlan::of(&dice, segment_bytes));
        let clients: Vec<ClientPlan> = clients.collect();
        let groups = (0..dice.between(1, 2)).map(|_| dice.index(2) + 1);
        Self {
            bounds: StoreBounds {
                block_bytes,
                buffer_bytes_min: 4 << 10,
                segment_bytes_min: 8 * KIB,
                tail_bytes_max: dice.index(4) * (16 << 10),
                read_back_bytes: (dice.index(4) + 1) * (8 << 10),
            },
            segment_bytes,
            data_dirs,
            disk_bytes: match tight {
                true => segment_bytes * dice.between(6, 10),
                false => 64 * KIB * KIB,
            },
            minimum_required_space: dice.below(2) * 16 * KIB,
            capacity_bytes: dice
                .chance(200)
                .then(|| segment_bytes * dice.between(4, 12)),
            capacity_events: match dice.chance(300) {
                true => dice.between(40, 200),
                false => 100_000,
            },
            transaction_capacity: 40,
            keep_alive: Duration::from_millis(dice.between(0, 200)),
            checkpoint_interval: Duration::from_millis(dice.between(50, 2_000)),
            groups: groups.collect(),
            sink: SinkPlan::of(&dice),
            clients,
            lives,
        }
    }

    /// Whether events of one client must arrive in the order it sent them: one log, one sink a group, and
    /// a client that waits for each answer.
    pub fn keeps_order(&self) -> bool {
        let one_log = self.lives.iter().all(|life| life.shards == 1);
        let one_sink = self.groups.iter().all(|sinks| *sinks == 1);
        let waits = self.clients.iter().all(|client| client.pipeline == 1);
        one_log && one_sink && waits
    }
}

impl SinkPlan {
    fn of(dice: &Dice) -> Self {
        let rate = |most| match dice.chance(500) {
            true => 0,
            false => u32::try_from(dice.below(most)).expect("a rate"),
        };
        Self {
            batch: dice.index(60) + 1,
            fails: rate(300),
            fails_half_way: rate(200),
            answers_wrongly: rate(200),
            hangs: rate(100),
        }
    }
}

impl ClientPlan {
    fn of(dice: &Dice, segment_bytes: u64) -> Self {
        let body_bytes_max = match dice.chance(100) {
            // More than a block: such an event has one of its own.
            true => 20_000,
            false => dice.between(40, 2_000),
        };
        Self {
            batches: dice.between(4, 30),
            // A batch larger than the log could never be stored whole.
            events_max: dice
                .between(1, 16)
                .min(segment_bytes / 2 / body_bytes_max)
                .max(1),
            body_bytes_max,
            pipeline: match dice.chance(300) {
                true => dice.index(4) + 2,
                false => 1,
            },
            thinks: Duration::from_millis(dice.between(0, 60)),
        }
    }
}

impl Life {
    fn of(dice: &Dice, rots: bool, shards: u64, number: u64) -> Self {
        // Half of the kinds of fault are off in a run, so that the others get far.
        let rate = |most: u64| match dice.chance(500) {
            true => 0,
            false => u32::try_from(dice.between(1, most)).expect("a rate"),
        };
        let faults = Faults {
            write_error: rate(100),
            read_error: rate(100),
            directory_error: rate(40),
            replace_error: rate(100),
            short_read: rate(300),
            stall: rate(20),
            torn: u32::try_from(dice.between(800, 1_000)).expect("a rate"),
            misdirected: if rots { rate(50) } else { 0 },
            lost: if rots { rate(50) } else { 0 },
            late: if rots { rate(100) } else { 0 },
            cut: rate(100),
            clock_jump: rate(20),
        };
        let vandal = || match dice.below(7) {
            0 => Vandal::DeletesOne,
            1 | 2 => Vandal::DeletesBoth,
            3 | 4 => Vandal::RestoresOld,
            5 => Vandal::Truncates,
            _ => Vandal::FlipsBit,
        };
        let may_shrink = number > 0 && dice.chance(100);
        Self {
            faults,
            shards: match may_shrink {
                true => 1,
                false => u32::try_from(shards).expect("one or two"),
            },
            length: Duration::from_millis(match dice.chance(300) {
                true => dice.between(1, 60),
                false => dice.between(60, 2_500),
            }),
            orderly: dice.chance(250),
            dead_disk: dice.chance(100),
            rot: if rots && dice.chance(500) {
                dice.between(1, 4)
            } else {
                0
            },
            vandal: dice.chance(250).then(vandal),
        }
    }
}
