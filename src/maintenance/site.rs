//! Where a log is: the directories of one file channel, and whether an agent works in them.
//!
//! Made once from the command line. Looks at names and locks only; nothing here opens a segment.

use std::path::PathBuf;

use super::error::MaintenanceError;
use crate::channel::wal::{Checkpoint, DirectoryLock, FileError, shard_folder, shards_on_disk};
use crate::config::files::Files;
use crate::config::wal_command_line::LogArguments;
use crate::config::{ChannelKind, Surroundings, load};

/// The directories of one file channel.
#[derive(Debug, Clone)]
pub struct Site {
    /// The channel's name, when a configuration says it.
    pub channel: Option<String>,
    /// `dataDirs`.
    pub data_dirs: Vec<PathBuf>,
    /// `checkpointDir`. Without it there are no cursors.
    pub checkpoint_dir: Option<PathBuf>,
    /// Only this shard.
    shard: Option<u32>,
}

impl Site {
    /// The log that the options name.
    ///
    /// # Errors
    /// The options name none, or a directory cannot be read.
    pub fn of(arguments: &LogArguments) -> Result<Self, MaintenanceError> {
        let site = match arguments.conf_file.is_empty() {
            true => Self {
                channel: None,
                data_dirs: arguments.data_dir.clone(),
                checkpoint_dir: arguments.checkpoint_dir.clone(),
                shard: arguments.shard,
            },
            false => Self::configured(arguments)?,
        };
        if site.data_dirs.is_empty() {
            return Err(MaintenanceError::Usage(
                "no log is named; give --data-dir DIR (and --checkpoint-dir DIR), or --conf-file FILE \
                 --name AGENT"
                    .to_owned(),
            ));
        }
        Ok(site)
    }

    fn configured(arguments: &LogArguments) -> Result<Self, MaintenanceError> {
        let files = Files::read(&arguments.conf_file);
        let properties = arguments.define.iter().map(|definition| {
            let (key, value) = definition.split_once('=').unwrap_or((definition, ""));
            (key.to_owned(), value.to_owned())
        });
        let mut surroundings =
            Surroundings::of_process(properties.collect(), arguments.conf.clone());
        surroundings.starting = false;
        // What is wrong with a sink is no reason to keep an operator from the log.
        surroundings.lenient = true;
        let agents = files.agents();
        let name = match (&arguments.name, agents.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.clone(),
            (None, several) => {
                return Err(MaintenanceError::Usage(format!(
                    "which agent? Give --name; the files configure: {}",
                    several.join(", ")
                )));
            }
        };
        let loaded = load(&files, &name, &surroundings);
        let Some(agent) = loaded.agent else {
            return Err(MaintenanceError::Configuration(loaded.findings.render()));
        };
        let file_channels = agent.channels.into_iter().filter_map(|channel| {
            let name = channel.name;
            match channel.kind {
                ChannelKind::File(file) => Some((name, file)),
                ChannelKind::Memory { .. } => None,
            }
        });
        let mut channels: Vec<_> = file_channels.collect();
        let names: Vec<String> = channels.iter().map(|(name, _)| name.clone()).collect();
        if let Some(wanted) = &arguments.channel {
            channels.retain(|(name, _)| name == wanted);
        }
        let only = if channels.len() == 1 {
            channels.pop()
        } else {
            None
        };
        let Some((channel, file)) = only else {
            return Err(MaintenanceError::Usage(format!(
                "which channel? Give --channel; agent {name} has these of type file: {}",
                names.join(", ")
            )));
        };
        Ok(Self {
            channel: Some(channel),
            data_dirs: file.data_dirs,
            checkpoint_dir: Some(file.checkpoint_dir),
            shard: arguments.shard,
        })
    }

    /// Data directories that cannot be listed. One that is not mounted is missing, or empty.
    #[must_use]
    pub fn unreadable(&self) -> Vec<FileError> {
        let refused = |path: &PathBuf| {
            let source = std::fs::read_dir(path).err()?;
            Some(FileError {
                path: path.clone(),
                operation: "listing the data directory",
                source,
            })
        };
        self.data_dirs.iter().filter_map(refused).collect()
    }

    /// Numbers of the shards: those with a folder, and those the checkpoint speaks of.
    #[must_use]
    pub fn shards(&self, checkpoint: Option<&Checkpoint>) -> Vec<u32> {
        let mut shards = shards_on_disk(&self.data_dirs);
        let entries = checkpoint.into_iter().flat_map(|known| &known.shards);
        shards.extend(entries.map(|entry| entry.shard));
        shards.sort_unstable();
        shards.dedup();
        shards.retain(|shard| self.shard.is_none_or(|only| only == *shard));
        shards
    }

    /// The folders of `shard` that are there.
    #[must_use]
    pub fn folders(&self, shard: u32) -> Vec<PathBuf> {
        let folders = self.data_dirs.iter().map(|dir| shard_folder(dir, shard));
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// All directories.
    pub fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.checkpoint_dir.iter().chain(&self.data_dirs)
    }

    /// Who works in one of the directories right now.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        self.held_directory().map(|(_, holder)| holder)
    }

    /// The first directory that somebody works in, and who.
    #[must_use]
    pub fn held_directory(&self) -> Option<(PathBuf, String)> {
        self.directories().find_map(|directory| {
            let holder = match DirectoryLock::holder(directory) {
                Ok(holder) => holder?,
                // A lock that cannot be asked about may be held: nobody is told that it is free.
                Err(error) => format!("somebody ({error})"),
            };
            Some((directory.clone(), holder))
        })
    }
}
