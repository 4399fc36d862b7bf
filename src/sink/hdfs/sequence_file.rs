//! A Hadoop SequenceFile, version 6, as Flume 1.11 writes it: key `LongWritable`, value
//! `BytesWritable` or `Text`, plain or block-compressed.
//!
//! ```text
//! header   "SEQ" 6 | key class | value class | compressed | block-compressed | [codec class]
//!          | metadata count 0 (4 bytes) | sync marker (16)
//! record   record length (4) | key length (4) | key | value                       (big-endian)
//! sync     -1 (4) | sync marker: before a record once 102,400 bytes went by, and at every flush
//! block    sync | record count | key lengths | keys | value lengths | values
//!          each of the four: compressed length, compressed bytes; counts and lengths are vints
//! ```
//!
//! Always true: `position` is the length of the file if everything appended so far were written.

use super::codec;
use crate::config::HdfsCodec;

/// Hadoop 3's distance between sync markers of plain files.
const SYNC_INTERVAL_BYTES: u64 = 5 * 1024 * (4 + 16);
/// `io.seqfile.compress.blocksize`.
const BLOCK_BYTES: usize = 1_000_000;
const LONG_CLASS: &str = "org.apache.hadoop.io.LongWritable";

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueClass {
    /// `BytesWritable`: a four-byte length and the bytes.
    Bytes,
    /// `Text`: a vint length and UTF-8.
    Text,
}

impl ValueClass {
    const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "org.apache.hadoop.io.BytesWritable",
            Self::Text => "org.apache.hadoop.io.Text",
        }
    }
}

/// Writes one sequence file.
#[derive(Debug)]
pub(crate) struct SequenceFile {
    value_class: ValueClass,
    codec: Option<HdfsCodec>,
    sync_marker: [u8; 16],
    position: u64,
    last_sync: u64,
    record: Vec<u8>,
    block: Block,
}

/// Records of a block that is not written yet.
#[derive(Debug, Default)]
struct Block {
    record_count: i64,
    key_lengths: Vec<u8>,
    keys: Vec<u8>,
    value_lengths: Vec<u8>,
    values: Vec<u8>,
}

impl SequenceFile {
    pub(crate) fn new(
        value_class: ValueClass,
        codec: Option<HdfsCodec>,
        sync_marker: [u8; 16],
    ) -> Self {
        Self {
            value_class,
            codec,
            sync_marker,
            position: 0,
            last_sync: 0,
            record: Vec::new(),
            block: Block::default(),
        }
    }

    /// Appends the file's header.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        assert_eq!(self.position, 0, "a file begins once");
        let start = out.len();
        out.extend_from_slice(b"SEQ\x06");
        write_text(out, LONG_CLASS.as_bytes());
        write_text(out, self.value_class.name().as_bytes());
        out.push(u8::from(self.codec.is_some()));
        out.push(u8::from(self.codec.is_some()));
        if let Some(codec) = self.codec {
            write_text(out, codec::class_name(codec).as_bytes());
        }
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&self.sync_marker);
        self.position += (out.len() - start) as u64;
    }

    /// Appends one record, or keeps it for the next block.
    pub(crate) fn append(&mut self, key: i64, value: &[u8], out: &mut Vec<u8>) {
        if self.codec.is_some() {
            self.append_to_block(key, value, out);
            return;
        }
        self.record.clear();
        write_value(&mut self.record, self.value_class, value);
        if self.position >= self.last_sync + SYNC_INTERVAL_BYTES {
            self.write_sync(out);
        }
        let start = out.len();
        out.extend_from_slice(&length_field(8 + self.record.len()));
        out.extend_from_slice(&length_field(8));
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&self.record);
        self.position += (out.len() - start) as u64;
    }

    /// Ends the block or places a marker: the file so far can be read to its end.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if self.codec.is_some() {
            self.end_block(out);
        } else {
            self.write_sync(out);
        }
    }

    fn append_to_block(&mut self, key: i64, value: &[u8], out: &mut Vec<u8>) {
        let block = &mut self.block;
        write_vint(&mut block.key_lengths, 8);
        block.keys.extend_from_slice(&key.to_be_bytes());
        let before = block.values.len();
        write_value(&mut block.values, self.value_class, value);
        let value_bytes = (block.values.len() - before) as i64;
        write_vint(&mut block.value_lengths, value_bytes);
        block.record_count += 1;
        if block.keys.len() + block.values.len() >= BLOCK_BYTES {
            self.end_block(out);
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let Some(codec) = self.codec.filter(|_| self.block.record_count > 0) else {
            return;
        };
        self.write_sync(out);
        let start = out.len();
        write_vint(out, self.block.record_count);
        let block = &mut self.block;
        for buffer in [
            &mut block.key_lengths,
            &mut block.keys,
            &mut block.value_lengths,
            &mut block.values,
        ] {
            self.record.clear();
            codec::compress(codec, buffer, &mut self.record);
            write_vint(out, self.record.len() as i64);
            out.extend_from_slice(&self.record);
            buffer.clear();
        }
        block.record_count = 0;
        self.position += (out.len() - start) as u64;
    }

    fn write_sync(&mut self, out: &mut Vec<u8>) {
        if self.last_sync == self.position {
            return;
        }
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.extend_from_slice(&self.sync_marker);
        self.position += 20;
        self.last_sync = self.position;
    }
}

fn length_field(length: usize) -> [u8; 4] {
    i32::try_from(length)
        .expect("an event is below limits::EVENT_BYTES_MAX")
        .to_be_bytes()
}

fn write_value(out: &mut Vec<u8>, class: ValueClass, value: &[u8]) {
    match class {
        ValueClass::Bytes => {
            out.extend_from_slice(&length_field(value.len()));
            out.extend_from_slice(value);
        }
        ValueClass::Text => write_text(out, value),
    }
}

/// Hadoop's `Text`: vint length and bytes.
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_vint(out, text.len() as i64);
    out.extend_from_slice(text);
}

/// Hadoop's `WritableUtils.writeVLong`: one byte from -112 to 127, else a byte that says sign and
/// length, then the magnitude, big-endian.
fn write_vint(out: &mut Vec<u8>, value: i64) {
    if let Ok(byte) = i8::try_from(value)
        && byte >= -112
    {
        out.push(byte.cast_unsigned());
        return;
    }
    let (base, magnitude) = if value < 0 {
        (-120i8, (!value).cast_unsigned())
    } else {
        (-112i8, value.cast_unsigned())
    };
    let bytes = magnitude.to_be_bytes();
    let skipped = magnitude.leading_zeros() / 8;
    let count = i8::try_from(8 - skipped).expect("at most 8");
    out.push((base - count).cast_unsigned());
    out.extend_from_slice(&bytes[skipped as usize..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vints_are_those_of_writable_utils() {
        for (value, wanted) in [
            (0, &[0u8][..]),
            (127, &[127]),
            (-112, &[0x90]),
            (128, &[0x8f, 128]),
            (255, &[0x8f, 255]),
            (256, &[0x8e, 1, 0]),
            (-113, &[0x87, 112]),
            (1_000_000, &[0x8d, 0x0f, 0x42, 0x40]),
        ] {
            let mut out = Vec::new();
            write_vint(&mut out, value);
            assert_eq!(out, wanted, "{value}");
        }
    }

    #[test]
    fn plain_records_have_lengths_and_a_marker_at_each_flush() {
        let mut file = SequenceFile::new(ValueClass::Bytes, None, [5; 16]);
        let mut out = Vec::new();
        file.begin(&mut out);
        let header = out.len();
        file.append(7, b"ab", &mut out);
        file.flush(&mut out);
        file.flush(&mut out);
        let mut wanted = vec![0, 0, 0, 14, 0, 0, 0, 8];
        wanted.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b']);
        wanted.extend([255; 4]);
        wanted.extend([5; 16]);
        assert_eq!(&out[header..], wanted);
        assert_eq!(file.position, out.len() as u64);
    }

    #[test]
    fn long_plain_files_get_markers_between_records() {
        let mut file = SequenceFile::new(ValueClass::Text, None, [5; 16]);
        let mut out = Vec::new();
        file.begin(&mut out);
        for _ in 0..300 {
            file.append(1, &[b'x'; 1000], &mut out);
        }
        let markers = out
            .windows(20)
            .filter(|window| window.starts_with(&[255; 4]) && window.ends_with(&[5; 16]));
        assert_eq!(markers.count(), 2);
        assert_eq!(file.position, out.len() as u64);
    }

    #[test]
    fn compressed_records_wait_for_their_block() {
        let mut file = SequenceFile::new(ValueClass::Bytes, Some(HdfsCodec::Gzip), [5; 16]);
        let mut out = Vec::new();
        file.begin(&mut out);
        let header = out.len();
        file.append(7, b"ab", &mut out);
        assert_eq!(out.len(), header);
        file.flush(&mut out);
        assert_eq!(
            &out[header..header + 21],
            [&[255; 4][..], &[5; 16], &[1]].concat()
        );
        assert_eq!(file.position, out.len() as u64);
    }
}
