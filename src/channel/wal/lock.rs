//! The directory lock: one process, one channel. Same file and same meaning as Flume's, so that a
//! Flume file channel and ours never share a directory either.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::reactor::create_directory;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another channel or process holds it.
    #[error(
        "Cannot lock {directory}. The directory is already locked. [channel={channel}] It is held \
         by {holder}; give each channel its own checkpointDir and dataDirs, or stop that process"
    )]
    Held {
        /// The directory.
        directory: PathBuf,
        /// Who asked.
        channel: String,
        /// Who holds it, as it wrote into the lock file.
        holder: String,
    },
    /// The directory or the lock file cannot be made.
    #[error("{path}: cannot be created or opened: {error}. [channel={channel}]")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Who asked.
        channel: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Held from before recovery to after the last write; the kernel lets go when the process dies.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, creating it if need be.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(directory: &Path, channel: &str) -> Result<Self, LockError> {
        let path = directory.join("in_use.lock");
        let io_error = |error| LockError::Io {
            path: path.clone(),
            channel: channel.to_owned(),
            error,
        };
        create_directory(directory).map_err(|error| LockError::Io {
            path: directory.to_path_buf(),
            channel: channel.to_owned(),
            error,
        })?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(io_error)?;
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                holder => holder.to_owned(),
            };
            let (directory, channel) = (directory.to_path_buf(), channel.to_owned());
            return Err(LockError::Held {
                directory,
                channel,
                holder,
            });
        }
        // Java's FileChannel.tryLock is a POSIX record lock, which flock does not see.
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            LockError::Held {
                directory: directory.to_path_buf(),
                channel: channel.to_owned(),
                holder: "a Flume file channel".to_owned(),
            }
        })?;
        let write_holder = |mut file: &File| -> io::Result<()> {
            file.rewind()?;
            file.set_len(0)?;
            writeln!(
                file,
                "flumen channel {channel}, process {}",
                std::process::id()
            )
        };
        match write_holder(&file) {
            // Only a name for others to read: a full disk is no reason not to deliver what is on it.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            written => written.map_err(io_error)?,
        }
        Ok(Self { _file: file })
    }

    /// Who holds `directory`, without touching it: what the holder wrote into the lock file, or a
    /// Flume channel, which writes nothing. None: nobody.
    ///
    /// # Errors
    /// The lock file is there and cannot be asked.
    pub fn holder(directory: &Path) -> io::Result<Option<String>> {
        let mut file = match File::open(directory.join("in_use.lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The record lock only: `flock` cannot be asked about, only taken.
        let Some(lock) = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))? else {
            return Ok(None);
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let process = lock.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        Ok(Some(match text.trim() {
            "" => format!("process {process}"),
            text => text.to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_of_a_directory_names_both_channels() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(directory.path(), "c1").unwrap();
        let error = DirectoryLock::acquire(directory.path(), "c2")
            .unwrap_err()
            .to_string();
        assert!(error.contains("[channel=c2]"), "{error}");
        assert!(error.contains("channel c1"), "{error}");
        drop(held);
        DirectoryLock::acquire(directory.path(), "c2").unwrap();
    }
}
