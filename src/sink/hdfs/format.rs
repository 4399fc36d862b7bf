//! What a file holds (`hdfs.fileType`): serializer output, the same compressed, or a sequence file.
//!
//! Belongs to one open file. Events go in, bytes come out into the file's buffer; after
//! [`Format::flush`] everything so far can be read to its end, whatever happens next.

use super::codec;
use super::sequence_file::{SequenceFile, ValueClass};
use crate::config::{HdfsCodec, HdfsFileType, HdfsSinkConfig};
use crate::event::EventView;
use crate::sink::escape::TIMESTAMP_HEADER;
use crate::sink::serializer::{CodecError, Serializer};

/// Plain bytes that a compressed stream holds back at most, when a batch is larger.
const MEMBER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The content of one file.
#[derive(Debug)]
pub(super) enum Format {
    /// `DataStream`.
    Data(Serializer),
    /// `CompressedStream`.
    Compressed {
        serializer: Serializer,
        codec: HdfsCodec,
        plain: Vec<u8>,
    },
    /// `SequenceFile`.
    Sequence(Box<SequenceFile>),
}

impl Format {
    /// The format of a new file, and the bytes it begins with.
    pub(super) fn begin(
        config: &HdfsSinkConfig,
        sync_marker: [u8; 16],
        out: &mut Vec<u8>,
    ) -> Result<Self, CodecError> {
        let sequence = |value_class, out: &mut Vec<u8>| {
            let mut file = SequenceFile::new(value_class, config.codec, sync_marker);
            file.begin(out);
            Self::Sequence(Box::new(file))
        };
        let codec = config.codec;
        Ok(match (config.file_type, codec) {
            (HdfsFileType::SequenceWritable, _) => sequence(ValueClass::Bytes, out),
            (HdfsFileType::SequenceText, _) => sequence(ValueClass::Text, out),
            (HdfsFileType::CompressedStream, Some(codec)) => {
                let serializer = Serializer::new(&config.serializer, sync_marker)?;
                let mut plain = Vec::new();
                serializer.begin(&mut plain);
                Self::Compressed {
                    serializer,
                    codec,
                    plain,
                }
            }
            // A compressed stream without a codec is refused by the configuration.
            (HdfsFileType::DataStream | HdfsFileType::CompressedStream, _) => {
                let serializer = Serializer::new(&config.serializer, sync_marker)?;
                serializer.begin(out);
                Self::Data(serializer)
            }
        })
    }

    /// Appends one event. `now_ms` is the key of a sequence file's record without a timestamp.
    #[inline]
    pub(super) fn append(&mut self, event: &EventView<'_>, now_ms: u64, out: &mut Vec<u8>) {
        match self {
            Self::Data(serializer) => serializer.append(event, out),
            Self::Compressed {
                serializer,
                codec,
                plain,
            } => {
                serializer.append(event, plain);
                if plain.len() >= MEMBER_BYTES_MAX {
                    codec::compress(*codec, plain, out);
                    plain.clear();
                }
            }
            Self::Sequence(file) => file.append(record_key(event, now_ms), event.body(), out),
        }
    }

    /// Ends what is held back: a member, an Avro block, a sequence file's block or marker.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Data(serializer) => serializer.flush(out),
            Self::Compressed {
                serializer,
                codec,
                plain,
            } => {
                serializer.flush(plain);
                if !plain.is_empty() {
                    codec::compress(*codec, plain, out);
                    plain.clear();
                }
            }
            Self::Sequence(file) => file.flush(out),
        }
    }
}

fn record_key(event: &EventView<'_>, now_ms: u64) -> i64 {
    event
        .header(TIMESTAMP_HEADER)
        .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
        .unwrap_or(now_ms.cast_signed())
}
