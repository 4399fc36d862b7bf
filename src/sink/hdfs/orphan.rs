//! Files this sink has open, remembered on local disk, so that a crash leaves no `.tmp` behind.
//!
//! Before a file is created, a record with its names is written and flushed in the sink's state
//! directory; after the rename it is removed. Whatever is recorded at start was ours and nobody
//! writes it any more: its lease is recovered and it is renamed. Files of other agents are never
//! touched, because only records name files. (Flume leaves `.tmp` files for ever.)

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::local_file::{blocking, sync_directory};

const EXTENSION: &str = "open";

/// One file that is, or was, being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    /// Its name while open.
    pub(super) in_use: String,
    /// Its name once closed.
    pub(super) done: String,
}

/// The record of one open file. Without a state directory it records nothing.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) names: Names,
    path: Option<PathBuf>,
}

/// The state directory of one sink.
#[derive(Debug, Clone)]
pub(super) struct Orphans {
    directory: Option<PathBuf>,
}

impl Orphans {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Remembers a file that is about to be created. `number` differs for all files of the sink.
    pub(super) async fn remember(&self, names: Names, number: u64) -> io::Result<Record> {
        let Some(directory) = self.directory.clone() else {
            return Ok(Record { names, path: None });
        };
        let path = directory.join(format!("{number}.{EXTENSION}"));
        let content = serde_json::to_vec(&names).map_err(io::Error::other)?;
        let target = path.clone();
        blocking(move || {
            use std::io::Write;
            std::fs::create_dir_all(&directory)?;
            let mut file = std::fs::File::create(&target)?;
            file.write_all(&content)?;
            file.sync_all()
        })
        .await?;
        sync_directory(&path).await?;
        Ok(Record {
            names,
            path: Some(path),
        })
    }

    /// What an earlier run left open.
    pub(super) async fn left_behind(&self) -> io::Result<Vec<Record>> {
        let Some(directory) = self.directory.clone() else {
            return Ok(Vec::new());
        };
        blocking(move || {
            std::fs::create_dir_all(&directory)?;
            let mut paths = Vec::new();
            for entry in std::fs::read_dir(&directory)? {
                let path = entry?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == EXTENSION)
                {
                    paths.push(path);
                }
            }
            paths.sort();
            Ok(paths.iter().filter_map(|path| read(path)).collect())
        })
        .await
    }
}

impl Record {
    /// The file has its final name (or is gone): there is nothing left to recover.
    pub(super) async fn forget(self) {
        let Some(path) = self.path else {
            return;
        };
        let target = path.clone();
        if let Err(error) = blocking(move || std::fs::remove_file(target)).await {
            let path = path.display();
            warn!("{path}: cannot remove the record of a closed file: {error}");
        }
    }
}

/// A record, or none when a crash cut it short: then its file was not created yet.
fn read(path: &Path) -> Option<Record> {
    let content = std::fs::read(path).ok()?;
    match serde_json::from_slice(&content) {
        Ok(names) => Some(Record {
            names,
            path: Some(path.to_owned()),
        }),
        Err(error) => {
            warn!(
                "{}: the record of an open file is damaged and removed: {error}",
                path.display()
            );
            if let Err(error) = std::fs::remove_file(path) {
                warn!("{}: {error}", path.display());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_and_not_forgotten_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let orphans = Orphans::new(Some(directory.path().join("sink")));
        let names = |name: &str| Names {
            in_use: format!("/{name}.tmp"),
            done: format!("/{name}"),
        };
        tokio_uring::start(async {
            assert!(orphans.left_behind().await.unwrap().is_empty());
            let first = orphans.remember(names("a"), 1).await.unwrap();
            orphans.remember(names("b"), 2).await.unwrap();
            first.forget().await;
            std::fs::write(directory.path().join("sink/3.open"), "{\"in_u").unwrap();
            let left = orphans.left_behind().await.unwrap();
            let left: Vec<&Names> = left.iter().map(|record| &record.names).collect();
            assert_eq!(left, [&names("b")]);
        });
    }
}
