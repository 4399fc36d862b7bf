//! Hadoop's compression codecs (`hdfs.codeC`): one call makes one whole member, frame or block chain.
//!
//! Flume finishes and resets its compressor at every flush, so a compressed file is a chain of whole
//! members and each flush leaves a file that can be read to its end. Source of the Snappy framing:
//! Hadoop 3.4 `BlockCompressorStream` (buffer of 256 KiB less the codec's overhead).

use std::io::Write;

use crate::config::HdfsCodec;

const IN_MEMORY: &str = "writing to memory cannot fail";
/// Hadoop's Snappy buffer, and the overhead it subtracts.
const SNAPPY_BUFFER_BYTES: usize = 256 * 1024;
const SNAPPY_CHUNK_BYTES: usize = SNAPPY_BUFFER_BYTES - (SNAPPY_BUFFER_BYTES / 6 + 32);

/// The extension that Hadoop gives files of this codec.
pub(crate) const fn extension(codec: HdfsCodec) -> &'static str {
    match codec {
        HdfsCodec::Gzip => ".gz",
        HdfsCodec::Bzip2 => ".bz2",
        HdfsCodec::Snappy => ".snappy",
        HdfsCodec::Zstd => ".zst",
        HdfsCodec::Deflate => ".deflate",
    }
}

/// The Hadoop class that reads it, named in sequence files.
pub(crate) const fn class_name(codec: HdfsCodec) -> &'static str {
    match codec {
        HdfsCodec::Gzip => "org.apache.hadoop.io.compress.GzipCodec",
        HdfsCodec::Bzip2 => "org.apache.hadoop.io.compress.BZip2Codec",
        HdfsCodec::Snappy => "org.apache.hadoop.io.compress.SnappyCodec",
        HdfsCodec::Zstd => "org.apache.hadoop.io.compress.ZStandardCodec",
        HdfsCodec::Deflate => "org.apache.hadoop.io.compress.DeflateCodec",
    }
}

/// Appends `data`, compressed, as something a reader can read to its end.
pub(crate) fn compress(codec: HdfsCodec, data: &[u8], out: &mut Vec<u8>) {
    match codec {
        HdfsCodec::Gzip => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(out, level);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY);
        }
        HdfsCodec::Deflate => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::ZlibEncoder::new(out, level);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY);
        }
        HdfsCodec::Bzip2 => {
            let level = bzip2::Compression::best();
            let mut encoder = bzip2::write::BzEncoder::new(out, level);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY);
        }
        HdfsCodec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, 3).expect(IN_MEMORY);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY);
        }
        HdfsCodec::Snappy => snappy_blocks(data, out),
    }
}

/// Each chunk: its length, then one compressed piece with its length. Lengths are big-endian.
fn snappy_blocks(data: &[u8], out: &mut Vec<u8>) {
    let mut encoder = snap::raw::Encoder::new();
    let length = |bytes: usize| u32::try_from(bytes).expect("a chunk is below 256 KiB");
    if data.is_empty() {
        out.extend_from_slice(&0u32.to_be_bytes());
    }
    for chunk in data.chunks(SNAPPY_CHUNK_BYTES) {
        let piece = encoder
            .compress_vec(chunk)
            .expect("a chunk is below snappy's 4 GiB");
        out.extend_from_slice(&length(chunk.len()).to_be_bytes());
        out.extend_from_slice(&length(piece.len()).to_be_bytes());
        out.extend_from_slice(&piece);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn data() -> Vec<u8> {
        (0..60_000u32)
            .flat_map(|number| format!("line {number}\n").into_bytes())
            .collect()
    }

    #[test]
    fn members_in_a_row_read_as_one_stream() {
        for codec in [HdfsCodec::Gzip, HdfsCodec::Bzip2, HdfsCodec::Zstd] {
            let mut file = Vec::new();
            compress(codec, &data(), &mut file);
            compress(codec, b"end", &mut file);
            let mut text = Vec::new();
            match codec {
                HdfsCodec::Gzip => flate2::read::MultiGzDecoder::new(file.as_slice())
                    .read_to_end(&mut text)
                    .unwrap(),
                HdfsCodec::Bzip2 => bzip2::read::MultiBzDecoder::new(file.as_slice())
                    .read_to_end(&mut text)
                    .unwrap(),
                HdfsCodec::Zstd | HdfsCodec::Snappy | HdfsCodec::Deflate => {
                    zstd::stream::read::Decoder::new(file.as_slice())
                        .unwrap()
                        .read_to_end(&mut text)
                        .unwrap()
                }
            };
            assert_eq!(text, [data().as_slice(), b"end"].concat());
        }
    }

    #[test]
    fn snappy_chunks_carry_both_lengths() {
        let mut file = Vec::new();
        compress(HdfsCodec::Snappy, &data(), &mut file);
        let mut rest = file.as_slice();
        let mut text = Vec::new();
        let mut take = |count: usize| {
            let (front, back) = rest.split_at(count);
            rest = back;
            front.to_vec()
        };
        let mut left = data().len();
        while left > 0 {
            let plain = u32::from_be_bytes(take(4).try_into().unwrap()) as usize;
            let packed = u32::from_be_bytes(take(4).try_into().unwrap()) as usize;
            assert!(plain <= SNAPPY_CHUNK_BYTES);
            let piece = snap::raw::Decoder::new()
                .decompress_vec(&take(packed))
                .unwrap();
            assert_eq!(piece.len(), plain);
            left -= plain;
            text.extend_from_slice(&piece);
        }
        assert_eq!(text, data());
    }
}
