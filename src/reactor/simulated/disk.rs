//! The disks of a simulated box: files, what is under way, and what a crash leaves of it.
//!
//! Always true: what a write reported durable is still there after a crash, unless a fault that takes
//! data hit it, and then the damage hook was told what the file held before.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use super::dice::Dice;
use super::entries::{Before, Entries};
use crate::limits::ALIGN_BYTES;

/// What a device writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// Data that was reported durable is being taken.
#[derive(Debug)]
pub struct Damage<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its content before; what was about to be written included.
    pub before: &'a [u8],
    /// Bytes that are no longer what they were.
    pub range: Range<usize>,
}

/// Told of every damage before it happens.
pub type DamageHook = Box<dyn Fn(&Damage<'_>)>;

/// A write that a crash may tear.
#[derive(Debug)]
struct Pending {
    number: u64,
    offset: usize,
    bytes: Vec<u8>,
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) bytes: Vec<u8>,
    /// Writes nobody has been told about yet.
    under_way: Vec<Pending>,
    /// Reported durable, and not yet so.
    late: Vec<Pending>,
    /// What a crash brings back: a write to this file failed, and nothing since is certain.
    certain: Option<Vec<u8>>,
    /// Sectors that give EIO until they are written again.
    unreadable: Vec<usize>,
    /// Reads in a row that failed.
    pub(super) read_errors: u32,
}

/// All disks of the box. They survive a crash.
pub struct SimulatedDisk {
    dice: Rc<Dice>,
    files: RefCell<BTreeMap<PathBuf, Rc<RefCell<Node>>>>,
    entries: Entries,
    folders: RefCell<Vec<PathBuf>>,
    /// Bytes each top-level directory has room for.
    capacity: RefCell<Vec<(PathBuf, u64)>>,
    /// Directories whose device answers everything with EIO.
    dead: RefCell<Vec<PathBuf>>,
    next_number: Cell<u64>,
    hook: RefCell<Option<DamageHook>>,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk")
            .field("files", &self.files.borrow().len())
            .finish_non_exhaustive()
    }
}

pub(super) fn device_error() -> io::Error {
    Errno::IO.into()
}

/// Mostly the medium; sometimes the system has no memory, or no descriptor left.
pub(super) fn some_error(dice: &Dice) -> io::Error {
    match dice.below(8) {
        0 => Errno::NOMEM.into(),
        1 => Errno::MFILE.into(),
        _ => device_error(),
    }
}

impl SimulatedDisk {
    pub(super) fn new(dice: Rc<Dice>) -> Self {
        Self {
            dice,
            files: RefCell::default(),
            entries: Entries::default(),
            folders: RefCell::default(),
            capacity: RefCell::default(),
            dead: RefCell::default(),
            next_number: Cell::new(0),
            hook: RefCell::default(),
        }
    }

    /// Whom to tell before data that was reported durable is taken.
    pub fn on_damage(&self, hook: DamageHook) {
        *self.hook.borrow_mut() = Some(hook);
    }

    /// `directory` is a device of `bytes`.
    pub fn set_capacity(&self, directory: &Path, bytes: u64) {
        let mut capacity = self.capacity.borrow_mut();
        capacity.retain(|(known, _)| known != directory);
        capacity.push((directory.to_path_buf(), bytes));
    }

    /// The device under `directory` dies, or works again.
    pub fn set_dead(&self, directory: &Path, dead: bool) {
        let mut list = self.dead.borrow_mut();
        list.retain(|known| known != directory);
        if dead {
            list.push(directory.to_path_buf());
        }
    }

    pub(super) fn alive(&self, path: &Path) -> io::Result<()> {
        let dead = self.dead.borrow();
        if dead.iter().any(|directory| path.starts_with(directory)) {
            return Err(device_error());
        }
        Ok(())
    }

    /// Bytes left on the device of `path`.
    pub(super) fn free_bytes(&self, path: &Path) -> u64 {
        let capacity = self.capacity.borrow();
        let Some((device, bytes)) = capacity.iter().find(|(device, _)| path.starts_with(device))
        else {
            return u64::MAX;
        };
        let files = self.files.borrow();
        let used = files.iter().filter(|(path, _)| path.starts_with(device));
        let used: u64 = used.map(|(_, node)| node.borrow().bytes.len() as u64).sum();
        bytes.saturating_sub(used)
    }

    /// Paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.borrow().keys().cloned().collect()
    }

    /// What a file holds.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.files
            .borrow()
            .get(path)
            .map(|node| node.borrow().bytes.clone())
    }

    /// Puts a file there, as somebody with a copy of it would.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let node = Node {
            bytes,
            ..Node::default()
        };
        let node = Rc::new(RefCell::new(node));
        self.files.borrow_mut().insert(path.to_path_buf(), node);
    }

    /// Takes a file away.
    pub fn take(&self, path: &Path) -> Option<Vec<u8>> {
        let node = self.files.borrow_mut().remove(path)?;
        let bytes = std::mem::take(&mut node.borrow_mut().bytes);
        Some(bytes)
    }

    pub(super) fn node(&self, path: &Path) -> Option<Rc<RefCell<Node>>> {
        self.files.borrow().get(path).cloned()
    }

    /// A new file, or another one under a name that is taken; a crash may take it back until the
    /// directory is [flushed](Self::flush_entries).
    pub(super) fn add(&self, path: &Path, bytes: Vec<u8>) -> Rc<RefCell<Node>> {
        self.entries.changed(path, vec![self.entry(path)]);
        self.put(path, bytes);
        self.node(path).expect("put there just now")
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let before = vec![self.entry(to), self.entry(from)];
        let mut files = self.files.borrow_mut();
        let node = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), node);
        self.entries.changed(to, before);
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let before = vec![self.entry(path)];
        let removed = self.files.borrow_mut().remove(path);
        removed.ok_or(io::ErrorKind::NotFound)?;
        self.entries.changed(path, before);
        Ok(())
    }

    /// The directory that holds `path` keeps its changes from here on.
    pub(super) fn flush_entries(&self, path: &Path) {
        self.entries.flush(path);
    }

    fn entry(&self, path: &Path) -> Before {
        (path.to_path_buf(), self.node(path))
    }

    pub(super) fn create_directory(&self, directory: &Path) {
        let mut folders = self.folders.borrow_mut();
        if !folders.iter().any(|known| known == directory) {
            folders.push(directory.to_path_buf());
        }
    }

    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.files.borrow();
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        let paths: Vec<PathBuf> = files.keys().filter(inside).cloned().collect();
        let known = self.folders.borrow().iter().any(|known| known == directory);
        if paths.is_empty() && !known {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(paths)
    }

    /// Notes a write that nobody has been told about yet.
    pub(super) fn begin(&self, node: &RefCell<Node>, offset: u64, bytes: &[u8]) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        node.borrow_mut().under_way.push(Pending {
            number,
            offset: index(offset),
            bytes: bytes.to_vec(),
        });
        number
    }

    /// The write is done; false if a crash came first.
    pub(super) fn complete(&self, node: &RefCell<Node>, number: u64) -> bool {
        let mut node = node.borrow_mut();
        let Some(write) = node.take(number) else {
            return false;
        };
        node.apply(&write, 0..write.bytes.len());
        true
    }

    /// The write fails after any subset of its sectors; nothing later on this file is certain.
    pub(super) fn fail(&self, node: &RefCell<Node>, number: u64) {
        let mut node = node.borrow_mut();
        let Some(write) = node.take(number) else {
            return;
        };
        match self.dice.below(3) {
            0 => {}
            1 => node.apply(&write, 0..write.bytes.len()),
            _ => self.tear(&mut node, &write),
        }
        if node.certain.is_none() {
            node.certain = Some(node.bytes.clone());
        }
    }

    /// The write is reported durable and becomes so later.
    pub(super) fn delay(&self, node: &RefCell<Node>, number: u64) -> bool {
        let mut node = node.borrow_mut();
        let Some(write) = node.take(number) else {
            return false;
        };
        // Those before it are durable by now.
        if self.dice.chance(500) {
            node.late.clear();
        }
        // Undoing it gives what was there before.
        let range = write.range();
        let before = node.bytes.get(range.clone()).unwrap_or_default().to_vec();
        node.apply(&write, 0..write.bytes.len());
        node.late.push(Pending {
            bytes: before,
            ..write
        });
        true
    }

    /// The write is reported durable, and lands elsewhere (or nowhere).
    pub(super) fn misplace(
        &self,
        path: &Path,
        node: &Rc<RefCell<Node>>,
        number: u64,
        nowhere: bool,
    ) -> bool {
        let Some(write) = node.borrow_mut().take(number) else {
            return false;
        };
        {
            let node = node.borrow();
            let mut intended = node.bytes.clone();
            let range = write.range();
            if let Some(place) = intended.get_mut(range.clone()) {
                place.copy_from_slice(&write.bytes);
            }
            self.tell(path, &intended, range);
        }
        if nowhere {
            return true;
        }
        let folder = path.parent().unwrap_or(path);
        let others: Vec<_> = {
            let files = self.files.borrow();
            let wal = |path: &Path| path.extension().is_some_and(|extension| extension == "wal");
            let near = files
                .iter()
                .filter(|(path, _)| path.starts_with(folder) && wal(path));
            near.map(|(path, node)| (path.clone(), Rc::clone(node)))
                .collect()
        };
        let (path, target) = &others[self.dice.index(others.len())];
        let mut target = target.borrow_mut();
        let room = target.bytes.len().saturating_sub(write.bytes.len()) / ALIGN_BYTES;
        if room < 1 {
            return true;
        }
        // Never on a segment's header: that would take blocks that are written later, too.
        let offset = self.dice.between(1, room as u64) * ALIGN_BYTES as u64;
        let write = Pending {
            offset: index(offset),
            ..write
        };
        self.tell(path, &target.bytes, write.range());
        target.apply(&write, 0..write.bytes.len());
        true
    }

    /// Flips a bit of `path` at `offset`, zeroes the sector there, or makes it unreadable.
    pub fn rot(&self, path: &Path, offset: usize) {
        let Some(node) = self.node(path) else { return };
        let mut node = node.borrow_mut();
        if offset >= node.bytes.len() {
            return;
        }
        let start = offset - offset % SECTOR_BYTES;
        let sector = start..(start + SECTOR_BYTES).min(node.bytes.len());
        self.tell(path, &node.bytes, sector.clone());
        match self.dice.below(3) {
            0 => node.bytes[sector].fill(0),
            1 => node.unreadable.push(start),
            _ => node.bytes[offset] ^= 1 << self.dice.below(8),
        }
    }

    fn tell(&self, path: &Path, before: &[u8], range: Range<usize>) {
        if let Some(hook) = &*self.hook.borrow() {
            hook(&Damage {
                path,
                before,
                range,
            });
        }
    }

    /// The power goes. What was under way is torn, what was late may never have happened.
    pub(super) fn crash(&self, torn: u32) {
        for (path, node) in self.entries.crash(&self.dice) {
            let mut files = self.files.borrow_mut();
            match node {
                Some(node) => files.insert(path, node),
                None => files.remove(&path),
            };
        }
        for (path, node) in &*self.files.borrow() {
            let mut node = node.borrow_mut();
            let node = &mut *node;
            for undo in std::mem::take(&mut node.late).into_iter().rev() {
                if self.dice.chance(500) {
                    self.tell(path, &node.bytes, undo.range());
                    node.apply(&undo, 0..undo.bytes.len());
                }
            }
            if let Some(certain) = node.certain.take() {
                node.bytes = certain;
            }
            for write in std::mem::take(&mut node.under_way) {
                if self.dice.chance(torn) {
                    self.tear(node, &write);
                } else if self.dice.chance(500) {
                    node.apply(&write, 0..write.bytes.len());
                }
            }
        }
    }

    /// Any subset of the write's sectors.
    fn tear(&self, node: &mut Node, write: &Pending) {
        let mut at = 0;
        while at < write.bytes.len() {
            let end = (at + SECTOR_BYTES).min(write.bytes.len());
            if self.dice.chance(500) {
                node.apply(write, at..end);
            }
            at = end;
        }
    }
}

impl Node {
    /// Whether the medium gives these bytes at all.
    pub(super) fn is_readable(&self, range: &Range<usize>) -> bool {
        let hit = |sector: &usize| *sector < range.end && sector + SECTOR_BYTES > range.start;
        !self.unreadable.iter().any(hit)
    }

    fn take(&mut self, number: u64) -> Option<Pending> {
        let at = self
            .under_way
            .iter()
            .position(|write| write.number == number)?;
        Some(self.under_way.remove(at))
    }

    fn apply(&mut self, write: &Pending, part: Range<usize>) {
        let place = write.offset + part.start..write.offset + part.end;
        self.unreadable.retain(|sector| !place.contains(sector));
        if let (Some(place), Some(bytes)) = (self.bytes.get_mut(place), write.bytes.get(part)) {
            place.copy_from_slice(bytes);
        }
    }
}

impl Pending {
    fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes.len()
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files are small")
}
