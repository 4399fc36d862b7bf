//! `flumen wal verify`: is everything that was written there, and unaltered?

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::damage::{Damage, Kind};
use super::error::MaintenanceError;
use super::meter::Meter;
use super::shard_verification::{ShardVerification, ShardVerifier};
use super::site::Site;
use super::survey::{CheckpointContent, CheckpointSurvey};
use super::tail::Tail;
use crate::reactor::ReadOnlyWorld;

/// What verifying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was read and holds.
    Sound,
    /// Something is damaged.
    Damaged,
    /// Nothing is damaged that could be read, but not everything could.
    Unreadable,
}

/// A log, read.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The verdict.
    pub outcome: Outcome,
    /// Channel, when a configuration was given.
    pub channel: Option<String>,
    /// Data directories.
    pub data_dirs: Vec<PathBuf>,
    /// Checkpoint directory.
    pub checkpoint_dir: Option<PathBuf>,
    /// Who works in the directories.
    pub held_by: Option<String>,
    /// Each shard.
    pub shards: Vec<ShardVerification>,
    /// Each damage.
    pub damage: Vec<Damage>,
    /// Blocks lost by all of it.
    pub lost_blocks: u64,
    /// Events lost by all of it.
    pub lost_events: u64,
    /// Events lost that not every consumer group has delivered.
    pub undelivered_events: u64,
    /// What is odd and no damage.
    pub notes: Vec<String>,
    /// What could not be read, for reasons that say nothing about the data.
    pub unreadable: Vec<String>,
}

impl Verification {
    /// Reads everything of `site`.
    ///
    /// # Errors
    /// A segment that cannot be read for a reason that says nothing about its blocks.
    pub async fn of(site: &Site) -> Result<Self, MaintenanceError> {
        let ground = ReadOnlyWorld::default();
        let before = CheckpointSurvey::take(&ground, site).await;
        let mut found = Self {
            outcome: Outcome::Sound,
            channel: site.channel.clone(),
            data_dirs: site.data_dirs.clone(),
            checkpoint_dir: site.checkpoint_dir.clone(),
            held_by: site.holder(),
            shards: Vec::new(),
            damage: Vec::new(),
            lost_blocks: 0,
            lost_events: 0,
            undelivered_events: 0,
            notes: Vec::new(),
            unreadable: Vec::new(),
        };
        for error in site.unreadable() {
            found.unreadable.push(format!("{error}: {}", error.source));
        }
        let mut verifiers = Vec::new();
        for shard in site.shards(before.current()) {
            verifiers.push(ShardVerifier::new(&ground, site, shard, &before).await);
        }
        let total_bytes = verifiers.iter().map(ShardVerifier::total_bytes).sum();
        let meter = Meter::begin("verify", total_bytes);
        for verifier in verifiers {
            let mut shard = verifier.run(&meter).await?;
            found.damage.append(&mut shard.damage);
            found.notes.append(&mut shard.notes);
            found.unreadable.append(&mut shard.unreadable);
            found.shards.push(shard);
        }
        drop(meter);
        found.look_at_checkpoints(&before);
        found.sum();
        Ok(found)
    }

    fn look_at_checkpoints(&mut self, checkpoints: &CheckpointSurvey) {
        for file in &checkpoints.files {
            let reason = match &file.content {
                CheckpointContent::Valid(_) | CheckpointContent::Missing => continue,
                CheckpointContent::Damaged { bytes } => format!(
                    "its {bytes} bytes are no checkpoint: altered or cut short. The next start uses the \
                     other one, or reads the whole log and delivers what is there once more"
                ),
                CheckpointContent::Unreadable(error) => {
                    format!("the system refuses to read it: {error}")
                }
            };
            self.damage.push(of_checkpoint(file.path.clone(), reason));
        }
        let begins_late = self
            .shards
            .iter()
            .any(|shard| shard.end_event > shard.events);
        let is_gone = checkpoints.current().is_none() && self.damage.is_empty();
        if let Some(directory) = self.checkpoint_dir.clone().filter(|_| is_gone) {
            if begins_late {
                let reason = "both checkpoints are gone, and the log does not begin with its first \
                              event, so there was one. The next start delivers what is there once more"
                    .to_owned();
                self.damage.push(of_checkpoint(directory, reason));
            } else if !self.shards.is_empty() {
                self.notes.push(format!(
                    "{}: no checkpoint; the next start delivers the whole log",
                    directory.display()
                ));
            }
        }
    }

    fn sum(&mut self) {
        for damage in &self.damage {
            self.lost_blocks += damage.blocks;
            self.lost_events += damage.events;
            self.undelivered_events += damage.undelivered_events;
        }
        self.outcome = match (self.damage.is_empty(), self.unreadable.is_empty()) {
            (false, _) => Outcome::Damaged,
            (true, false) => Outcome::Unreadable,
            (true, true) => Outcome::Sound,
        };
    }
}

fn of_checkpoint(file: PathBuf, reason: String) -> Damage {
    Damage::without_loss(None, Kind::Checkpoint, file, reason)
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(holder) = &self.held_by {
            writeln!(f, "in use by: {holder}")?;
        }
        for shard in &self.shards {
            write!(
                f,
                "shard {}: {} segments, {} blocks, {} events, {} read; ends before block {}, event {}",
                shard.shard,
                shard.segments,
                shard.blocks,
                shard.events,
                indicatif::BinaryBytes(shard.bytes),
                shard.end_block,
                shard.end_event
            )?;
            if shard.released_segments > 0 {
                write!(
                    f,
                    "; {} released segments not read",
                    shard.released_segments
                )?;
            }
            match shard.tail {
                Tail::Clean => writeln!(f)?,
                Tail::Torn { bytes, events } => writeln!(
                    f,
                    "; behind it a block of {bytes} bytes with {events} events that is not whole: no \
                     damage, its senders were not told OK and have kept it"
                )?,
            }
        }
        for damage in &self.damage {
            match damage.shard {
                Some(shard) => writeln!(f, "shard {shard}: {damage}")?,
                None => writeln!(f, "{damage}")?,
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for error in &self.unreadable {
            writeln!(f, "CANNOT READ {error}")?;
        }
        match self.outcome {
            Outcome::Sound => writeln!(f, "sound"),
            Outcome::Unreadable => writeln!(f, "not everything could be read; the rest is sound"),
            Outcome::Damaged => writeln!(
                f,
                "damaged: {} found; {} blocks with {} events are lost, {} of them not delivered yet",
                self.damage.len(),
                self.lost_blocks,
                self.lost_events,
                self.undelivered_events
            ),
        }
    }
}
