//! What the machine must offer, looked at before anything starts. Each thing that is missing is one
//! sentence with a remedy, and an exit code of its own.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;
use crate::reactor::{create_directory, direct_sync_flags};

/// The oldest kernel whose io_uring has what both runtimes ask for.
const KERNEL_MIN: (u32, u32) = (5, 11);
/// glommio refuses to start an executor with less locked memory.
const MEMLOCK_PER_SHARD_BYTES: u64 = 512 * 1024;
/// Descriptors the process needs besides connections.
const DESCRIPTORS_MIN: u64 = 1_024;
/// How the names of the files begin with which it is tried whether a disk takes direct I/O.
const PROBE_PREFIX: &str = "flumen-preflight-";
/// What `statfs` calls tmpfs and ramfs.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
const RAMFS_MAGIC: rustix::fs::FsWord = 0x8584_58f6;

/// Why the agent cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// Exit code 70.
    #[error(
        "kernel {found} is too old: io_uring as used here needs {}.{} or newer. Boot a newer kernel \
         (Debian 12 has 6.1)", KERNEL_MIN.0, KERNEL_MIN.1
    )]
    Kernel {
        /// `uname -r`.
        found: String,
    },
    /// Exit code 71.
    #[error(
        "io_uring is not available to this process: {reason}. Set kernel.io_uring_disabled to 0 \
         (sysctl -w kernel.io_uring_disabled=0); in a container, allow io_uring_setup, \
         io_uring_enter and io_uring_register in the seccomp profile"
    )]
    IoUring {
        /// What the system said.
        reason: String,
    },
    /// Exit code 72.
    #[error(
        "{found_bytes} bytes of locked memory are allowed, {needed_bytes} are needed for {shards} \
         shards. Raise it: LimitMEMLOCK=infinity in the service unit, or ulimit -l"
    )]
    LockedMemory {
        /// The hard limit.
        found_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
        /// Ingest shards.
        shards: usize,
    },
    /// Exit code 73.
    #[error(
        "{found} open files are allowed, at least {DESCRIPTORS_MIN} are needed. Raise it: \
         LimitNOFILE=65536 in the service unit, or ulimit -n"
    )]
    Descriptors {
        /// The hard limit.
        found: u64,
    },
    /// Exit code 74.
    #[error(
        "{directory}: its disk or its file system fails: {source}. After an error XFS shuts itself down \
         and ext4 turns read-only, until they are mounted again; the kernel's log (dmesg) says why. \
         Repair the disk and mount it again, or take the directory out of dataDirs"
    )]
    Failing {
        /// The data directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Exit code 74.
    #[error(
        "{directory}: its file system does not write {} bytes with O_DIRECT and O_DSYNC: {source}. Put \
         dataDirs on ext4 or XFS on a local disk (tmpfs, overlay and network file systems often cannot)",
        limits::ALIGN_BYTES
    )]
    DirectIo {
        /// The data directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PreflightError {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Kernel { .. } => 70,
            Self::IoUring { .. } => 71,
            Self::LockedMemory { .. } => 72,
            Self::Descriptors { .. } => 73,
            Self::Failing { .. } | Self::DirectIo { .. } => 74,
        }
    }
}

/// Looks at the kernel, io_uring, limits (raising soft ones) and each data directory.
///
/// # Errors
/// The first thing that is missing.
pub fn preflight(shards: usize, data_dirs: &[PathBuf]) -> Result<(), PreflightError> {
    check_kernel(&rustix::system::uname().release().to_string_lossy())?;
    check_io_uring()?;
    check_locked_memory(shards)?;
    check_descriptors()?;
    data_dirs.iter().try_for_each(|directory| {
        check_direct_io(directory).map_err(|source| refusal_of(directory, source))?;
        if is_memory(directory) {
            tracing::warn!(
                "{}: its file system is memory (tmpfs): acknowledged events are gone after a restart of \
                 the machine. Put dataDirs on ext4 or XFS on a local disk",
                directory.display()
            );
        }
        Ok(())
    })
}

fn check_kernel(release: &str) -> Result<(), PreflightError> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    match version {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < KERNEL_MIN => {
            Err(PreflightError::Kernel {
                found: release.to_owned(),
            })
        }
        // A release that says no number is not one we can judge.
        _ => Ok(()),
    }
}

fn check_io_uring() -> Result<(), PreflightError> {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let disabled = setting
        .map(|text| text.trim().to_owned())
        .unwrap_or_default();
    match tokio_uring::Runtime::new(&tokio_uring::builder()) {
        Ok(_ring) => Ok(()),
        Err(error) if disabled.is_empty() || disabled == "0" => Err(PreflightError::IoUring {
            reason: error.to_string(),
        }),
        Err(error) => Err(PreflightError::IoUring {
            reason: format!("{error}, and kernel.io_uring_disabled is {disabled}"),
        }),
    }
}

fn check_locked_memory(shards: usize) -> Result<(), PreflightError> {
    let needed_bytes = MEMLOCK_PER_SHARD_BYTES * shards as u64;
    let found_bytes = raise(Resource::Memlock);
    if found_bytes < needed_bytes {
        return Err(PreflightError::LockedMemory {
            found_bytes,
            needed_bytes,
            shards,
        });
    }
    Ok(())
}

fn check_descriptors() -> Result<(), PreflightError> {
    let found = raise(Resource::Nofile);
    if found < DESCRIPTORS_MIN {
        return Err(PreflightError::Descriptors { found });
    }
    Ok(())
}

/// Raises a soft limit as far as allowed; returns what it is then.
fn raise(resource: Resource) -> u64 {
    let limit = getrlimit(resource);
    // Root may go past the hard limit; everybody else gets up to it.
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if resource == Resource::Memlock && setrlimit(resource, unlimited).is_ok() {
        return u64::MAX;
    }
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let reached = if setrlimit(resource, most).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    reached.unwrap_or(u64::MAX)
}

/// What is wrong with a directory: the disk under it, or the file system's kind.
fn refusal_of(directory: &Path, source: io::Error) -> PreflightError {
    let directory = directory.to_path_buf();
    // What a dead disk says, a file system that has met one, and one that is damaged (EUCLEAN).
    let failing = [Errno::IO, Errno::ROFS, Errno::UCLEAN].map(Errno::raw_os_error);
    match source.raw_os_error() {
        Some(number) if failing.contains(&number) => PreflightError::Failing { directory, source },
        _ => PreflightError::DirectIo { directory, source },
    }
}

/// A full disk passes: the start drains what is there.
fn check_direct_io(directory: &Path) -> io::Result<()> {
    match probe_direct_io(directory) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        probed => probed,
    }
}

fn probe_direct_io(directory: &Path) -> io::Result<()> {
    create_directory(directory)?;
    remove_left_behind(directory)?;
    let path = directory.join(format!("{PROBE_PREFIX}{}.tmp", std::process::id()));
    let result = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(direct_sync_flags())
            .open(&path)?;
        let sector = memmap2::MmapMut::map_anon(limits::ALIGN_BYTES)?;
        file.write_all_at(&sector, 0)
    })();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound && result.is_ok() => Err(error),
        _ => result,
    }
}

/// Whoever is killed while it looks leaves its probe. In a container every start has the same process id,
/// so what is left must neither pile up nor be in the way.
fn remove_left_behind(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry
            .file_name()
            .to_string_lossy()
            .starts_with(PROBE_PREFIX)
        {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            // Its owner is alive and was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Newer kernels take direct I/O to tmpfs, where nothing is ever durable.
fn is_memory(directory: &Path) -> bool {
    rustix::fs::statfs(directory)
        .is_ok_and(|status| status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_by_name() {
        assert!(check_kernel("6.1.0-18-amd64").is_ok());
        assert!(check_kernel("5.11").is_ok());
        let error = check_kernel("4.18.0-513.el8").unwrap_err();
        assert!(error.to_string().contains("4.18.0-513.el8"), "{error}");
        assert_eq!(error.exit_code(), 70);
    }

    #[test]
    fn a_data_directory_without_direct_io_is_refused() {
        let error = check_direct_io(Path::new("/proc")).unwrap_err();
        assert_ne!(error.to_string(), "");
    }

    #[test]
    fn a_probe_that_a_killed_start_left_is_not_in_the_way_and_goes() {
        // Beside the build, which lies on a disk.
        let build = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(build.parent().unwrap()).unwrap();
        let same = format!("{PROBE_PREFIX}{}.tmp", std::process::id());
        for left in [same.as_str(), "flumen-preflight-1.tmp"] {
            std::fs::write(directory.path().join(left), [0; 100]).unwrap();
        }
        std::fs::write(directory.path().join("segment-00000000.wal"), "").unwrap();
        check_direct_io(directory.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only what is not a probe");
    }

    #[test]
    fn a_dead_disk_is_told_from_a_file_system_that_cannot() {
        let refusal = |errno: Errno| refusal_of(Path::new("/data"), errno.into());
        for errno in [Errno::IO, Errno::ROFS, Errno::UCLEAN] {
            let refusal = refusal(errno);
            assert_eq!(refusal.exit_code(), 74);
            let text = refusal.to_string();
            assert!(
                text.starts_with("/data: its disk or its file system"),
                "{text}"
            );
        }
        let text = refusal(Errno::INVAL).to_string();
        assert!(
            text.contains("with O_DIRECT and O_DSYNC: Invalid"),
            "{text}"
        );
    }

    #[test]
    fn memory_is_told_from_a_disk() {
        assert!(is_memory(Path::new("/dev/shm")));
        assert!(!is_memory(Path::new("/proc")));
    }
}
