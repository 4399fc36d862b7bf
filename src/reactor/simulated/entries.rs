//! Changes of directories that are not flushed yet: created, renamed and removed entries. A crash takes
//! back any number of them, the last ones first, as a file system may that was not told to keep them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dice::Dice;
use super::disk::Node;

/// What was under a path before.
pub(super) type Before = (PathBuf, Option<Rc<RefCell<Node>>>);

/// One change, of one directory.
#[derive(Debug)]
struct Change {
    directory: PathBuf,
    before: Vec<Before>,
}

/// All changes that a crash may take back, in the order they were made.
#[derive(Debug, Default)]
pub(super) struct Entries {
    changes: RefCell<Vec<Change>>,
}

impl Entries {
    /// The directory of `path` has changed.
    pub(super) fn changed(&self, path: &Path, before: Vec<Before>) {
        self.changes.borrow_mut().push(Change {
            directory: directory_of(path),
            before,
        });
    }

    /// The directory of `path` is flushed: its changes stay.
    pub(super) fn flush(&self, path: &Path) {
        let directory = directory_of(path);
        let mut changes = self.changes.borrow_mut();
        changes.retain(|change| change.directory != directory);
    }

    /// What a crash brings back, in the order to do it. Nothing waits for a flush any more.
    pub(super) fn crash(&self, dice: &Dice) -> Vec<Before> {
        let mut back = Vec::new();
        let mut settled: Vec<PathBuf> = Vec::new();
        for change in self.changes.take().into_iter().rev() {
            // A directory keeps a change only with all that were made before it.
            if settled.contains(&change.directory) {
                continue;
            }
            match dice.chance(500) {
                true => back.extend(change.before),
                false => settled.push(change.directory),
            }
        }
        back
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}
