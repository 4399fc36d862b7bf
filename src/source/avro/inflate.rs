//! `compression-type = deflate`: one zlib stream per direction for the life of a connection, with a
//! sync flush after each reply. Plain, deflated and TLS clients are told apart by their first bytes.
//!
//! Owned by one connection. Inflates into whatever room the frames offer, so a bomb costs no memory
//! beyond one frame.

#![deny(clippy::indexing_slicing)]

use flate2::{Decompress, FlushDecompress};

use crate::limits::{INFLATE_FREE_BYTES, INFLATE_RATIO_MAX};

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniffed {
    /// One more byte is needed.
    Unknown,
    /// Pack frames.
    Plain,
    /// A zlib stream.
    Zlib,
    /// A TLS record.
    Tls,
}

/// Looks at the first bytes of a connection (or of what was inflated).
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    match bytes {
        [] | [0x78 | 0x16] => Sniffed::Unknown,
        // CM 8, window 32 KiB, no preset dictionary, and the header's checksum holds.
        [0x78, flags, ..] if (0x7800 + u16::from(*flags)) % 31 == 0 && flags & 0x20 == 0 => {
            Sniffed::Zlib
        }
        [0x16, 0x03, ..] => Sniffed::Tls,
        _ => Sniffed::Plain,
    }
}

/// Why the stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// No zlib.
    #[error("the zlib stream is damaged after {inflated_bytes} bytes")]
    Damaged {
        /// Bytes inflated before.
        inflated_bytes: u64,
    },
    /// A bomb.
    #[error(
        "{received_bytes} bytes inflated to {inflated_bytes}; at most {INFLATE_RATIO_MAX} for one \
         are accepted"
    )]
    Ratio {
        /// Bytes taken in.
        received_bytes: u64,
        /// Bytes given out.
        inflated_bytes: u64,
    },
}

/// Both directions of a deflated connection.
#[derive(Debug)]
pub struct Inflate {
    stream: Decompress,
    ended: bool,
}

impl Default for Inflate {
    fn default() -> Self {
        Self {
            stream: Decompress::new(true),
            ended: false,
        }
    }
}

impl Inflate {
    /// Inflates as much of `input` as fits `space`; returns bytes taken and bytes given.
    ///
    /// # Errors
    /// [`InflateError`].
    pub fn step(&mut self, input: &[u8], space: &mut [u8]) -> Result<(usize, usize), InflateError> {
        let (received, inflated) = (self.stream.total_in(), self.stream.total_out());
        let damaged = InflateError::Damaged {
            inflated_bytes: inflated,
        };
        if self.ended {
            return Err(damaged);
        }
        let status = self
            .stream
            .decompress(input, space, FlushDecompress::Sync)
            .map_err(|_| damaged)?;
        self.ended = status == flate2::Status::StreamEnd;
        let (received_bytes, inflated_bytes) = (self.stream.total_in(), self.stream.total_out());
        let allowed = received_bytes.saturating_mul(INFLATE_RATIO_MAX as u64);
        if inflated_bytes > INFLATE_FREE_BYTES as u64 && inflated_bytes > allowed {
            return Err(InflateError::Ratio {
                received_bytes,
                inflated_bytes,
            });
        }
        let taken = usize::try_from(received_bytes - received).unwrap_or(input.len());
        let given = usize::try_from(inflated_bytes - inflated).unwrap_or(space.len());
        Ok((taken, given))
    }
}

/// The direction to the client: stored blocks, each frame followed by an empty one, as a sync flush
/// leaves it. Replies are some 30 bytes, which Flume's level 6 makes longer, and a compressor would
/// hold a quarter of a MiB for each connection.
#[derive(Debug, Default)]
pub(crate) struct Deflate {
    begun: bool,
}

impl Deflate {
    /// Appends `frame` deflated and flushed.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, frame: &[u8]) {
        if !std::mem::replace(&mut self.begun, true) {
            // RFC 1950: deflate, window of 32 KiB, fastest level.
            out.extend_from_slice(&[0x78, 0x01]);
        }
        for part in frame.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = u16::try_from(part.len()).expect("chunks fit a stored block");
            // RFC 1951: not the last block, stored; its length, and that inverted.
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_layers() {
        for second in [0x01, 0x5e, 0x9c, 0xda] {
            assert_eq!(sniff(&[0x78, second]), Sniffed::Zlib);
        }
        assert_eq!(sniff(&[0x78]), Sniffed::Unknown);
        assert_eq!(sniff(&[0x78, 0x9d]), Sniffed::Plain);
        assert_eq!(sniff(&[0x16, 0x03, 0x01]), Sniffed::Tls);
        assert_eq!(sniff(&[0x16, 0x00]), Sniffed::Plain);
        assert_eq!(sniff(&[0]), Sniffed::Plain);
    }

    #[test]
    fn every_flushed_frame_comes_out_at_once() {
        let mut deflate = Deflate::default();
        let mut inflate = Inflate::default();
        for length in [0, 1, 23, 5000, 65_535, 65_536, 200_000] {
            let frame: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut wire = Vec::new();
            deflate.append(&mut wire, &frame);
            assert!(wire.ends_with(&[0, 0, 0xff, 0xff]));
            let mut back = Vec::new();
            let mut rest = wire.as_slice();
            loop {
                let mut space = [0; 700];
                let (taken, given) = inflate.step(rest, &mut space).unwrap();
                rest = rest.get(taken..).unwrap();
                back.extend_from_slice(space.get(..given).unwrap());
                if rest.is_empty() && given < space.len() {
                    break;
                }
            }
            assert_eq!(back, frame);
        }
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = flate2::Compress::new(flate2::Compression::new(9), true);
        let mut wire = Vec::with_capacity(64 * 1024);
        bomb.compress_vec(&vec![0; 4 << 20], &mut wire, flate2::FlushCompress::Sync)
            .unwrap();
        let mut inflate = Inflate::default();
        let mut space = vec![0; 1 << 20];
        let mut rest = wire.as_slice();
        let error = loop {
            match inflate.step(rest, &mut space) {
                Ok((taken, _)) => rest = rest.get(taken..).unwrap(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, InflateError::Ratio { .. }));
        assert!(matches!(
            Inflate::default().step(b"\x78\x9c\xff\xff", &mut space),
            Err(InflateError::Damaged { .. })
        ));
    }
}
