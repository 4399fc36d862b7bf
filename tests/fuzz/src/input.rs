//! Decisions read from the bytes of an input: a target takes a few from the front, the rest is data.
//!
//! What is missing reads as zero, so every input means something and stays as short as it can be.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `data`.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether anything is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Up to `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for (to, from) in array.iter_mut().zip(self.bytes(N)) {
            *to = *from;
        }
        array
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Two bytes, little-endian.
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes, little-endian.
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes, little-endian.
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Up to `length_max` bytes, as many as the next byte says.
    pub(crate) fn short(&mut self, length_max: usize) -> &'a [u8] {
        let length = usize::from(self.u8());
        self.bytes(length.min(length_max))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// Numbers that follow from a seed: how long the pieces are that data arrives in.
#[derive(Debug)]
pub(crate) struct Steps {
    state: u64,
}

impl Steps {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            state: u64::from(seed) + 1,
        }
    }

    /// The next number of `1..=max`; a seed of 0 gives 1 each time.
    pub(crate) fn next(&mut self, max: usize) -> usize {
        if self.state == 1 {
            return 1;
        }
        // Knuth's MMIX generator; the upper bits are the good ones.
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bits = usize::try_from(self.state >> 33).unwrap_or(0);
        1 + bits % max
    }
}
