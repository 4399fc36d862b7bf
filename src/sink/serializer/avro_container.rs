//! `AVRO_EVENT`: an Avro object container file of records `Event`.
//!
//! Header: `Obj` 1, the metadata map (schema and codec, in the order in which Java's map hands them
//! out), the sync marker. Then blocks: event count, byte count, the events, the sync marker. A block
//! ends when it holds `syncIntervalBytes`, or at a flush. Source: Avro 1.11 specification, "Object
//! Container Files"; the schema and its spelling are Flume 1.11's.

use std::io::Write;

use crate::event::{EventView, java_hash_map_order, write_bytes, write_long};

/// The schema as Java prints it.
const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"Event","fields":["#,
    r#"{"name":"headers","type":{"type":"map","values":"string"}},"#,
    r#"{"name":"body","type":"bytes"}]}"#
);

/// A `compressionCodec` that Avro does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("serializer.compressionCodec {0:?} is not one of null, deflate, snappy, bzip2, zstandard")]
pub struct CodecError(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Bzip2,
    Zstandard,
}

impl Codec {
    const ALL: [(&str, Self); 5] = [
        ("null", Self::Null),
        ("deflate", Self::Deflate),
        ("snappy", Self::Snappy),
        ("bzip2", Self::Bzip2),
        ("zstandard", Self::Zstandard),
    ];

    fn named(name: &str) -> Option<(&'static str, Self)> {
        Self::ALL.into_iter().find(|(known, _)| *known == name)
    }
}

/// One container file being written.
#[derive(Debug)]
pub(super) struct AvroContainer {
    codec_name: &'static str,
    codec: Codec,
    sync_interval_bytes: usize,
    sync_marker: [u8; 16],
    block: Vec<u8>,
    block_event_count: i64,
}

impl AvroContainer {
    pub(super) fn new(
        codec: &str,
        sync_interval_bytes: usize,
        sync_marker: [u8; 16],
    ) -> Result<Self, CodecError> {
        let (codec_name, codec) =
            Codec::named(codec).ok_or_else(|| CodecError(codec.to_owned()))?;
        Ok(Self {
            codec_name,
            codec,
            sync_interval_bytes,
            sync_marker,
            block: Vec::new(),
            block_event_count: 0,
        })
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Obj\x01");
        let mut metadata: [(&[u8], &[u8]); 2] = [
            (b"avro.codec", self.codec_name.as_bytes()),
            (b"avro.schema", SCHEMA.as_bytes()),
        ];
        java_hash_map_order(&mut metadata);
        write_long(out, 2);
        for (key, value) in metadata {
            write_bytes(out, key);
            write_bytes(out, value);
        }
        write_long(out, 0);
        out.extend_from_slice(&self.sync_marker);
    }

    pub(super) fn append(&mut self, event: &EventView<'_>, out: &mut Vec<u8>) {
        let headers = event.headers_in_flume_order();
        if !headers.is_empty() {
            write_long(&mut self.block, headers.len() as i64);
            for (key, value) in headers {
                write_bytes(&mut self.block, key);
                write_bytes(&mut self.block, value);
            }
        }
        write_long(&mut self.block, 0);
        write_bytes(&mut self.block, event.body());
        self.block_event_count += 1;
        if self.block.len() >= self.sync_interval_bytes {
            self.end_block(out);
        }
    }

    pub(super) fn end_block(&mut self, out: &mut Vec<u8>) {
        if self.block_event_count == 0 {
            assert!(self.block.is_empty(), "bytes belong to events");
            return;
        }
        write_long(out, self.block_event_count);
        match self.codec {
            Codec::Null => write_bytes(out, &self.block),
            Codec::Deflate | Codec::Snappy | Codec::Bzip2 | Codec::Zstandard => {
                write_bytes(out, &compressed(self.codec, &self.block));
            }
        }
        out.extend_from_slice(&self.sync_marker);
        self.block.clear();
        self.block_event_count = 0;
    }
}

/// One block's data through its codec.
fn compressed(codec: Codec, data: &[u8]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory cannot fail";
    match codec {
        Codec::Null => data.to_vec(),
        Codec::Deflate => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Codec::Snappy => {
            let mut encoder = snap::raw::Encoder::new();
            let mut block = encoder
                .compress_vec(data)
                .expect("a block is far below snappy's 4 GiB");
            // Avro adds the checksum of what was compressed: CRC-32, big-endian.
            let mut checksum = flate2::Crc::new();
            checksum.update(data);
            block.extend_from_slice(&checksum.sum().to_be_bytes());
            block
        }
        Codec::Bzip2 => {
            let level = bzip2::Compression::best();
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
            encoder.write_all(data).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        Codec::Zstandard => zstd::bulk::compress(data, 3).expect(IN_MEMORY),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{Events, Overlay, encode_event};

    #[test]
    fn any_avro_reader_reads_what_was_appended() {
        for (codec, _) in Codec::ALL {
            let mut container = AvroContainer::new(codec, 200, [7; 16]).unwrap();
            let mut file = Vec::new();
            container.begin(&mut file);
            for number in 0..100 {
                let headers = BTreeMap::from([("host".to_owned(), format!("h{number}"))]);
                let mut encoded = Vec::new();
                encode_event(&mut encoded, &headers, format!("body {number}").as_bytes());
                let overlay = Overlay::default();
                let event = Events::new(&encoded, &overlay, 0).next().unwrap().unwrap();
                container.append(&event, &mut file);
            }
            container.end_block(&mut file);
            container.end_block(&mut file);

            let reader = apache_avro::Reader::new(file.as_slice()).unwrap();
            let values: Vec<apache_avro::types::Value> = reader.map(Result::unwrap).collect();
            assert_eq!(values.len(), 100, "{codec}");
            let last = format!("{:?}", values[99]);
            assert!(last.contains("h99"), "{codec}: {last}");
        }
    }

    #[test]
    fn unknown_codecs_are_refused() {
        assert!(AvroContainer::new("lzma", 1, [0; 16]).is_err());
    }

    #[test]
    fn header_is_that_of_flume() {
        let mut file = Vec::new();
        AvroContainer::new("null", 2_048_000, [9; 16])
            .unwrap()
            .begin(&mut file);
        assert_eq!(&file[..5], b"Obj\x01\x04");
        assert!(file.ends_with(&[9; 16]));
        let text = String::from_utf8_lossy(&file);
        assert!(text.contains("avro.codec\u{8}null"), "{text}");
        assert!(text.contains(SCHEMA));
    }
}
