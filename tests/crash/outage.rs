//! Kills of what the sinks write to: in the middle of whatever they are doing, one alone or all at once.
//!
//! A dead partner stays away for a few rounds and then starts beside the load, so that the collector also
//! dies while its targets are gone, come back, or refuse.

use crate::blow::Tally;
use crate::random::Random;
use crate::support::{Hdfs, KafkaBroker};

/// Rounds, about, between two kills of one partner.
const ROUNDS_BETWEEN: u64 = 5;
/// The longest a partner stays dead, in rounds.
const ROUNDS_AWAY_MAX: u64 = 3;

/// Broker and HDFS, and which of them are away.
#[derive(Debug)]
pub struct Targets {
    pub kafka: KafkaBroker,
    pub hdfs: Hdfs,
    kafka_away: State,
    hdfs_away: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Serves.
    Up,
    /// Dead for so many more rounds.
    Down(u64),
    /// Started; not seen serving yet.
    Starting,
}

impl Targets {
    /// Starts both.
    pub fn start() -> Self {
        Self {
            kafka: KafkaBroker::start(),
            hdfs: Hdfs::start(),
            kafka_away: State::Up,
            hdfs_away: State::Up,
        }
    }

    /// One round: perhaps kills, perhaps starts. A quiet one kills nothing and starts what is away.
    pub fn round(&mut self, quiet: bool, random: &mut Random, tally: &mut Tally) {
        if quiet {
            for away in [&mut self.kafka_away, &mut self.hdfs_away] {
                if matches!(away, State::Down(_)) {
                    *away = State::Down(0);
                }
            }
            return self.bring_back();
        }
        let together = random.one_in(2 * ROUNDS_BETWEEN);
        if self.kafka_away == State::Up && (together || random.one_in(ROUNDS_BETWEEN)) {
            self.kafka.kill();
            tally.broker += 1;
            self.kafka_away = State::Down(1 + random.below(ROUNDS_AWAY_MAX));
        }
        if self.hdfs_away == State::Up && (together || random.one_in(ROUNDS_BETWEEN)) {
            let (namenode, datanode) = random.pick(&[(true, false), (false, true), (true, true)]);
            if namenode {
                self.hdfs.kill_namenode();
                tally.namenode += 1;
            }
            if datanode {
                self.hdfs.kill_datanode();
                tally.datanode += 1;
            }
            self.hdfs_away = State::Down(1 + random.below(ROUNDS_AWAY_MAX));
        }
        self.bring_back();
    }

    fn bring_back(&mut self) {
        self.kafka_away = match self.kafka_away {
            State::Down(0) => {
                self.kafka.launch_unready();
                State::Starting
            }
            State::Down(rounds) => State::Down(rounds - 1),
            State::Starting if !self.kafka.ready() => State::Starting,
            State::Up | State::Starting => State::Up,
        };
        self.hdfs_away = match self.hdfs_away {
            State::Down(0) => {
                self.hdfs.launch_unready();
                State::Starting
            }
            State::Down(rounds) => State::Down(rounds - 1),
            State::Starting if !self.hdfs.listens() => State::Starting,
            State::Up | State::Starting => State::Up,
        };
    }

    /// Both serve when this returns.
    pub fn wait_up(&mut self) {
        if matches!(self.kafka_away, State::Down(_)) {
            self.kafka.launch_unready();
        }
        if matches!(self.hdfs_away, State::Down(_)) {
            self.hdfs.launch_unready();
        }
        self.kafka.wait_ready();
        self.hdfs.wait_writable();
        (self.kafka_away, self.hdfs_away) = (State::Up, State::Up);
    }
}
