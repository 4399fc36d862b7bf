//! A file of a simulated box, open.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::disk::{Node, device_error, some_error};
use super::world::SimulatedWorld;
use crate::limits;
use crate::reactor::world::{DiskFile, WriteBuffer};

/// Errors in a row that one file gives: a medium that refuses for ever is rot, not an error that passes.
const READ_ERRORS_IN_A_ROW: u32 = 3;

/// An open file.
#[derive(Debug)]
pub struct SimulatedFile {
    world: SimulatedWorld,
    path: PathBuf,
    node: Rc<RefCell<Node>>,
}

impl SimulatedFile {
    pub(super) fn new(world: SimulatedWorld, path: &Path, node: Rc<RefCell<Node>>) -> Self {
        let path = path.to_path_buf();
        Self { world, path, node }
    }

    /// Whether this read fails; never too often in a row.
    fn fails_to_read(&self) -> bool {
        let mut node = self.node.borrow_mut();
        let fails = node.read_errors < READ_ERRORS_IN_A_ROW
            && self.world.dice().chance(self.world.faults().read_error);
        node.read_errors = if fails { node.read_errors + 1 } else { 0 };
        fails
    }
}

/// Memory to write from.
#[derive(Debug)]
pub struct SimulatedBuffer(pub(super) Vec<u8>);

impl WriteBuffer for SimulatedBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn share(self, length: usize) -> Bytes {
        Bytes::from(self.0).slice(..length)
    }
}

/// A write that goes on when whoever waited for it is gone: the device does not know.
struct UnderWay<'a> {
    file: &'a SimulatedFile,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.file
            .world
            .disk()
            .complete(&self.file.node, self.number);
    }
}

impl DiskFile for SimulatedFile {
    type Buffer = SimulatedBuffer;

    async fn write_durable(
        &self,
        buffer: SimulatedBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, SimulatedBuffer) {
        assert!(
            length.is_multiple_of(limits::ALIGN_BYTES),
            "direct writes are whole sectors"
        );
        let disk = self.world.disk();
        if let Err(error) = disk.alive(&self.path) {
            return (Err(error), buffer);
        }
        let number = disk.begin(&self.node, offset, &buffer.0[..length]);
        let under_way = UnderWay { file: self, number };
        self.world.latency().await;
        let faults = self.world.faults();
        let dice = self.world.dice();
        let takes_data = offset >= limits::ALIGN_BYTES as u64;
        if dice.chance(faults.write_error) || disk.alive(&self.path).is_err() {
            disk.fail(&self.node, number);
            return (Err(some_error(dice)), buffer);
        }
        if takes_data && dice.chance(faults.lost) {
            disk.misplace(&self.path, &self.node, number, true);
        } else if takes_data && dice.chance(faults.misdirected) {
            disk.misplace(&self.path, &self.node, number, false);
        } else if takes_data && dice.chance(faults.late) {
            disk.delay(&self.node, number);
        }
        drop(under_way);
        (Ok(()), buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.world.latency().await;
        self.world.disk().alive(&self.path)?;
        let dice = self.world.dice();
        if self.fails_to_read() {
            return Err(some_error(dice));
        }
        let node = self.node.borrow();
        let size = node.bytes.len();
        let start = usize::try_from(offset).map_or(size, |offset| offset.min(size));
        let mut end = start.saturating_add(length).min(size);
        let sectors = (end - start) / limits::ALIGN_BYTES;
        if sectors > 1 && dice.chance(self.world.faults().short_read) {
            let kept = dice.between(1, sectors as u64);
            end = start + usize::try_from(kept).unwrap_or(sectors) * limits::ALIGN_BYTES;
        }
        if !node.is_readable(&(start..end)) {
            return Err(device_error());
        }
        Ok(Bytes::copy_from_slice(&node.bytes[start..end]))
    }

    async fn size(&self) -> io::Result<u64> {
        self.world.disk().alive(&self.path)?;
        Ok(self.node.borrow().bytes.len() as u64)
    }
}
