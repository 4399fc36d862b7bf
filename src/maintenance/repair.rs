//! `flumen wal repair`: sets aside what keeps an agent from starting, or would make it skip events.
//!
//! Nothing is deleted and nothing is written into a file of the log: a file gets another name, in the
//! same folder, and keeps what it holds. Works under the agent's own lock, so not while one runs.
//!
//! | found                                          | without repair a start          | repair            |
//! |------------------------------------------------|---------------------------------|-------------------|
//! | two files with one segment id                  | is refused                      | sets one aside    |
//! | a segment of another format version            | is refused                      | sets it aside     |
//! | a header that is damaged, or of another shard  | sets it aside                   | sets it aside     |
//! | a header that the medium refuses               | sets it aside                   | sets it aside     |
//! | a blank header before blocks that are missed   | would use it as a spare         | sets it aside     |
//! | a checkpoint file that is damaged              | uses the other, or none         | sets it aside     |
//! | a checkpoint of another log                    | may pass over events            | sets both aside   |

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::damage::Kind;
use super::error::MaintenanceError;
use super::salvage::Holding;
use super::site::Site;
use super::survey::{CheckpointContent, CheckpointSurvey, ShardSurvey};
use super::suspect::Suspect;
use super::twins;
use crate::channel::wal::{Census, Content, DirectoryLock, LockError, SegmentList};
use crate::reactor::{DrainWorld, Ground, ReadOnlyWorld};

/// What is done, or would be.
#[derive(Debug, Serialize)]
pub struct Repair {
    /// It has been done.
    pub done: bool,
    /// What, in order.
    pub actions: Vec<Action>,
}

/// One file that gets another name.
#[derive(Debug, Serialize)]
pub struct Action {
    /// The file.
    pub file: PathBuf,
    /// What it is called then.
    pub aside: PathBuf,
    /// Why.
    pub reason: String,
    /// What follows from it.
    pub effect: String,
    /// Blocks it holds, which can be exported from it.
    pub holds: Option<Holding>,
}

impl Repair {
    /// Looks at `site`, and does what is needed when `is_agreed`.
    ///
    /// # Errors
    /// An agent runs, or a file cannot be read or renamed.
    pub async fn of(site: &Site, is_agreed: bool) -> Result<Self, MaintenanceError> {
        if let Some(error) = site.unreadable().into_iter().next() {
            return Err(error.into());
        }
        let channel = site.channel.as_deref().unwrap_or("repair");
        if let Some((directory, holder)) = site.held_directory() {
            return Err(LockError::Held {
                directory,
                channel: channel.to_owned(),
                holder,
            }
            .into());
        }
        let mut locks = Vec::new();
        if is_agreed {
            for directory in site.directories().filter(|directory| directory.is_dir()) {
                locks.push(DirectoryLock::acquire(directory, channel)?);
            }
        }
        let actions = plan(site).await?;
        if is_agreed {
            carry_out(&actions)?;
        }
        Ok(Self {
            done: is_agreed,
            actions,
        })
    }
}

async fn plan(site: &Site) -> Result<Vec<Action>, MaintenanceError> {
    let ground = ReadOnlyWorld::default();
    let checkpoint = CheckpointSurvey::take(&ground, site).await;
    let mut actions = Vec::new();
    let mut misfit = None;
    for shard in site.shards(checkpoint.current()) {
        let mut survey = ShardSurvey::take(&ground, site, shard).await;
        if let Some(error) = survey.unreadable.pop() {
            return Err(error.into());
        }
        let entry = checkpoint.shard(shard);
        let (list, twins) = twins::without_strays(&ground, &survey, entry).await?;
        for suspect in Suspect::all(&ground, &survey, &twins, &list, entry).await {
            if !suspect.is_aside && (!suspect.may_be_spare || is_missed(&suspect, &list)) {
                actions.push(of_segment(&survey.census, suspect));
            }
        }
        for file in &survey.census.files {
            if let Content::OtherVersion { version } = file.content {
                actions.push(Action {
                    aside: survey.census.name_aside(&file.path),
                    file: file.path.clone(),
                    reason: format!("format version {version}, which this flumen does not read"),
                    effect: "the agent starts; that version of flumen can export what it holds"
                        .to_owned(),
                    holds: None,
                });
            }
        }
        let of_other_log = entry.filter(|entry| {
            let mut segments = list.as_slice().iter();
            segments.any(|known| known.id == entry.end.segment && known.epoch != entry.end_epoch)
        });
        if let Some(entry) = of_other_log {
            misfit = Some(format!(
                "it does not fit shard {shard}: it names another use of segment {}",
                entry.end.segment
            ));
        }
    }
    actions.extend(checkpoint_actions(&checkpoint, misfit.as_deref()));
    Ok(actions)
}

/// Whether the log misses what a file with a blank header holds.
fn is_missed(suspect: &Suspect, list: &SegmentList) -> bool {
    let Some(held) = suspect.holding else {
        return false;
    };
    let mut segments = list.as_slice().iter();
    // The id is free, and nobody's.
    !segments.any(|known| known.id == held.segment)
}

fn of_segment(census: &Census, suspect: Suspect) -> Action {
    let effect = match suspect.kind == Kind::Twins {
        true => "the agent starts and delivers the other one",
        false => "the agent starts; what the file holds is not delivered by it",
    };
    Action {
        aside: census.name_aside(&suspect.path),
        file: suspect.path,
        reason: suspect.reason,
        effect: effect.to_owned(),
        holds: suspect.holding,
    }
}

fn checkpoint_actions(checkpoint: &CheckpointSurvey, misfit: Option<&str>) -> Vec<Action> {
    let mut actions = Vec::new();
    for file in &checkpoint.files {
        let reason = match (&file.content, misfit) {
            (CheckpointContent::Missing, _) => continue,
            (CheckpointContent::Valid(_), None) => continue,
            (CheckpointContent::Valid(_), Some(misfit)) => misfit.to_owned(),
            (CheckpointContent::Damaged { bytes }, _) => {
                format!("its {bytes} bytes are no checkpoint")
            }
            (CheckpointContent::Unreadable(error), _) => {
                format!("the system refuses to read it: {error}")
            }
        };
        let effect = match (checkpoint.current(), misfit) {
            (Some(_), None) => "the next start uses the other one",
            _ => "the next start delivers all that is in the log, also what was delivered before",
        };
        actions.push(Action {
            file: file.path.clone(),
            aside: free_name(&file.path),
            reason,
            effect: effect.to_owned(),
            holds: None,
        });
    }
    actions
}

fn free_name(path: &Path) -> PathBuf {
    (0..)
        .map(|number: u32| path.with_extension(format!("damaged-{number}")))
        .find(|name| !name.exists())
        .expect("a folder holds fewer files than there are numbers")
}

/// Renames, and flushes each folder.
fn carry_out(actions: &[Action]) -> Result<(), MaintenanceError> {
    tokio_uring::start(async {
        let ground = DrainWorld::default();
        for action in actions {
            let renamed = ground.rename(&action.file, &action.aside).await;
            renamed.map_err(|source| MaintenanceError::Aside {
                path: action.file.clone(),
                source,
            })?;
        }
        Ok(())
    })
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return writeln!(f, "nothing to repair: an agent starts on these directories");
        }
        let verb = if self.done {
            "set aside"
        } else {
            "would set aside"
        };
        for action in &self.actions {
            writeln!(
                f,
                "{verb} {} as {}",
                action.file.display(),
                action.aside.display()
            )?;
            writeln!(f, "  because {}", action.reason)?;
            writeln!(f, "  so that {}", action.effect)?;
            if let Some(held) = action.holds {
                writeln!(
                    f,
                    "  it holds {} blocks with {} events ({} to {}); to deliver them:",
                    held.blocks,
                    held.events,
                    held.first_event,
                    held.end_event.saturating_sub(1)
                )?;
                writeln!(
                    f,
                    "  flumen wal export --file {} --to HOST:PORT",
                    action.aside.display()
                )?;
            }
        }
        match self.done {
            true => writeln!(f, "done; nothing was deleted"),
            false => writeln!(f, "nothing was changed; --yes does it"),
        }
    }
}
