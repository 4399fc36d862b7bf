//! Files of a shard: `O_DIRECT | O_DSYNC`, read and written by the ring.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use rustix::fs::OFlags;

use super::operation::{Held, checked};
use super::ring::Ring;
use crate::limits;
use crate::reactor::pool::{Pool, PooledBuffer};
use crate::reactor::{DiskFile, WriteBuffer as _, files};

/// A WAL file on a shard.
#[derive(Debug)]
pub struct RingFile {
    ring: Rc<Ring>,
    pool: Rc<Pool>,
    file: Rc<File>,
}

impl RingFile {
    /// Opens an existing file.
    pub(super) async fn open(ring: &Rc<Ring>, pool: &Rc<Pool>, path: &Path) -> io::Result<Self> {
        let text = CString::new(path.as_os_str().as_bytes())?;
        let flags = (OFlags::RDWR | OFlags::CLOEXEC).bits().cast_signed();
        let file = ring.open(text, flags | files::direct_sync_flags()).await?;
        Ok(Self {
            ring: Rc::clone(ring),
            pool: Rc::clone(pool),
            file: Rc::new(file),
        })
    }
}

impl DiskFile for RingFile {
    type Buffer = PooledBuffer;

    async fn write_durable(
        &self,
        mut buffer: PooledBuffer,
        length: usize,
        offset: u64,
    ) -> (io::Result<()>, PooledBuffer) {
        assert!(
            length.is_multiple_of(limits::ALIGN_BYTES),
            "direct writes are whole sectors"
        );
        let file = Rc::clone(&self.file);
        let operation = self.ring.write(file, buffer.lend(), length, offset);
        // At once: the device works while this thread does something else.
        self.ring.submit();
        let (result, held) = operation.await;
        let Held::Disk(memory, _file) = held else {
            unreachable!("an operation gives back what it held")
        };
        buffer.give_back(memory);
        let result = checked(result).and_then(|written| files::whole(written, length));
        (result, buffer)
    }

    async fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.pool.take(length);
        let file = Rc::clone(&self.file);
        let operation = self.ring.read(file, buffer.lend(), offset);
        // A reader that reads ahead polls once and goes on.
        self.ring.submit();
        let (result, held) = operation.await;
        let Held::Disk(memory, _file) = held else {
            unreachable!("an operation gives back what it held")
        };
        buffer.give_back(memory);
        let read = checked(result)?;
        Ok(buffer.share(read.min(length)))
    }

    async fn size(&self) -> io::Result<u64> {
        // Asks no device.
        Ok(self.file.metadata()?.len())
    }
}
