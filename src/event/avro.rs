//! The few pieces of Avro's binary encoding that Flume's events use: zig-zag longs and length-prefixed
//! bytes, read from a slice and never beyond it.
//!
//! Pure functions over memory; every other file reads Avro through [`Cursor`]. Source: Avro 1.11
//! specification, "Binary Encoding".

#![deny(clippy::indexing_slicing)]

/// Why a slice is not the Avro value it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AvroError {
    /// The value goes on past the end of the slice.
    #[error("avro data ends early: {bytes_missing} more bytes are needed at offset {offset}")]
    Truncated {
        /// Where reading began.
        offset: usize,
        /// At least this many bytes are missing.
        bytes_missing: usize,
    },
    /// A zig-zag long of more than ten bytes.
    #[error("avro varint at offset {offset} is longer than 10 bytes")]
    VarintTooLong {
        /// Where the varint began.
        offset: usize,
    },
    /// A length or count below zero where none may be.
    #[error("negative avro length {length} at offset {offset}")]
    NegativeLength {
        /// Where the length was read.
        offset: usize,
        /// What it said.
        length: i64,
    },
    /// A union has no such branch.
    #[error("branch {index} at offset {offset}: the avro union has fewer")]
    Branch {
        /// Where the branch is chosen.
        offset: usize,
        /// Which one.
        index: usize,
    },
}

/// A position in Avro data. Each read moves it forward, and never past the end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    data: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `data`.
    #[inline]
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, offset: 0 }
    }

    /// Bytes read so far.
    #[inline]
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read yet.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.offset..).unwrap_or_default()
    }

    /// Bytes that have not been read yet.
    #[inline]
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.data.len() - self.offset
    }

    /// The bytes between an earlier offset and here.
    #[inline]
    #[must_use]
    pub fn since(&self, offset: usize) -> &'a [u8] {
        self.data.get(offset..self.offset).unwrap_or_default()
    }

    /// A zig-zag long.
    ///
    /// # Errors
    /// [`AvroError::Truncated`] or [`AvroError::VarintTooLong`].
    #[inline]
    pub fn long(&mut self) -> Result<i64, AvroError> {
        // Almost every length in an event takes one or two bytes.
        let rest = self.rest();
        match *rest {
            [first, ..] if first < 0x80 => {
                self.offset += 1;
                return Ok(unzigzag(u64::from(first)));
            }
            [first, second, ..] if second < 0x80 => {
                self.offset += 2;
                return Ok(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7));
            }
            _ => {}
        }
        self.long_slow()
    }

    fn long_slow(&mut self) -> Result<i64, AvroError> {
        let offset = self.offset;
        let mut value: u64 = 0;
        for (index, byte) in self.rest().iter().copied().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // The tenth byte holds one bit: anything more overflows 64.
                if index == 9 && byte > 1 {
                    return Err(AvroError::VarintTooLong { offset });
                }
                self.offset += index + 1;
                return Ok(unzigzag(value));
            }
        }
        if self.bytes_left() >= 10 {
            return Err(AvroError::VarintTooLong { offset });
        }
        Err(AvroError::Truncated {
            offset,
            bytes_missing: 1,
        })
    }

    /// A long that counts or measures something, so it is not negative.
    ///
    /// # Errors
    /// As [`Cursor::long`], or [`AvroError::NegativeLength`].
    #[inline]
    pub fn length(&mut self) -> Result<usize, AvroError> {
        let offset = self.offset;
        let length = self.long()?;
        usize::try_from(length).map_err(|_| AvroError::NegativeLength { offset, length })
    }

    /// Length-prefixed bytes (or a string: the encoding is the same).
    ///
    /// # Errors
    /// As [`Cursor::length`], or [`AvroError::Truncated`].
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], AvroError> {
        let length = self.length()?;
        self.fixed(length)
    }

    /// Exactly `length` bytes.
    ///
    /// # Errors
    /// [`AvroError::Truncated`].
    #[inline]
    pub fn fixed(&mut self, length: usize) -> Result<&'a [u8], AvroError> {
        match self.rest().get(..length) {
            Some(bytes) => {
                self.offset += length;
                Ok(bytes)
            }
            None => Err(AvroError::Truncated {
                offset: self.offset,
                bytes_missing: length - self.bytes_left(),
            }),
        }
    }

    /// The count of the next map or array block, or 0 at the end of the map or array. The negative
    /// form, `-count` followed by the block's size in bytes, is read too.
    ///
    /// # Errors
    /// As [`Cursor::long`].
    #[inline]
    pub fn block_count(&mut self) -> Result<usize, AvroError> {
        let offset = self.offset;
        let count = self.long()?;
        if count >= 0 {
            return usize::try_from(count).map_err(|_| AvroError::NegativeLength {
                offset,
                length: count,
            });
        }
        self.length()?;
        usize::try_from(count.unsigned_abs()).map_err(|_| AvroError::NegativeLength {
            offset,
            length: count,
        })
    }
}

#[inline]
const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends a zig-zag long.
pub fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends length-prefixed bytes.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_survive_the_round_trip() {
        for value in [
            0,
            -1,
            1,
            63,
            -64,
            64,
            8191,
            8192,
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            write_long(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.long(), Ok(value));
            assert_eq!(cursor.bytes_left(), 0);
        }
    }

    #[test]
    fn varints_of_eleven_bytes_are_refused() {
        assert_eq!(
            Cursor::new(&[0x80; 11]).long(),
            Err(AvroError::VarintTooLong { offset: 0 })
        );
        assert!(matches!(
            Cursor::new(&[0x80; 3]).long(),
            Err(AvroError::Truncated { .. })
        ));
    }
}
