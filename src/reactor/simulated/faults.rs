//! How often what goes wrong. All chances in 1/1000 per operation. An error is EIO mostly, ENOMEM or EMFILE
//! sometimes.

/// Rates of one run. The default is a box without faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// A write reports an error, having written none, some or all of its sectors.
    pub write_error: u32,
    /// A read reports an error; the next try may work.
    pub read_error: u32,
    /// Opening, creating, listing, renaming or removing reports an error.
    pub directory_error: u32,
    /// Replacing a small file (a checkpoint) reports an error; the old one stays, or the new one is there.
    pub replace_error: u32,
    /// A read gives less than it was asked for.
    pub short_read: u32,
    /// An operation takes up to ten seconds.
    pub stall: u32,
    /// A write under way at a crash leaves a subset of its sectors; otherwise all or nothing.
    pub torn: u32,
    /// A write reports success and lands elsewhere.
    pub misdirected: u32,
    /// A write reports success and never happens.
    pub lost: u32,
    /// A write reports success and is durable only some time later.
    pub late: u32,
    /// A connection breaks within a write.
    pub cut: u32,
    /// The wall clock jumps by up to an hour, either way.
    pub clock_jump: u32,
}

impl Faults {
    /// Whether any of them takes data that was reported durable.
    #[must_use]
    pub const fn take_data(&self) -> bool {
        self.misdirected + self.lost + self.late > 0
    }
}
