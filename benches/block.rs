//! What does it cost to make a block of batches: records, checksum, header?
//!
//! The same bytes are also only copied, because the copy is the part that cannot go away.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flumen::channel::wal::{BLOCK_HEADER_BYTES, BlockHeader, block_bytes};
use flumen::channel::{record_bytes, write_record};
use flumen::event::{Batch, Overlay, OverlayHeader, encode_event};
use flumen::limits::BLOCK_BYTES;

/// `count` events of 512 bytes with two headers, back to back.
fn events(count: usize) -> Vec<u8> {
    let headers = BTreeMap::from([
        ("host".to_owned(), "agent-0001.example.org".to_owned()),
        ("timestamp".to_owned(), "1700000000000".to_owned()),
    ]);
    let mut out = Vec::new();
    for _ in 0..count {
        encode_event(&mut out, &headers, &[b'x'; 512]);
    }
    out
}

/// Fills `out` with records of `batch` behind the header, and seals it. Returns the header's checksum.
fn assemble(out: &mut [u8], batch: &Batch<'_>, overlay: &[u8], records: u32) -> u32 {
    let mut used = BLOCK_HEADER_BYTES;
    for _ in 0..records {
        used += write_record(&mut out[used..], batch, overlay);
    }
    let payload = &out[BLOCK_HEADER_BYTES..used];
    let as_u32 = |value: usize| u32::try_from(value).expect("a block is small");
    let header = BlockHeader {
        shard: 0,
        segment: 1,
        epoch: 1,
        offset: 4096,
        sequence: 1,
        first_event: 0,
        event_count: records * as_u32(batch.event_count),
        record_count: records,
        payload_bytes: as_u32(payload.len()),
        block_bytes: as_u32(block_bytes(payload.len())),
        chain: 0,
        payload_crc: crc32c::crc32c(payload),
    };
    let padded = block_bytes(payload.len());
    out[used..padded].fill(0);
    header.encode(out)
}

fn block(criterion: &mut Criterion) {
    let mut overlay = Overlay::default();
    overlay.push(OverlayHeader {
        key: b"received".to_vec(),
        value: b"1700000000000".to_vec(),
        preserve_existing: false,
    });
    let mut overlay_encoded = Vec::new();
    overlay.encode(&mut overlay_encoded);
    let mut out = vec![0; BLOCK_BYTES];

    let mut group = criterion.benchmark_group("block");
    for (records, count) in [(1u32, 1usize), (4, 100), (3, 1_000)] {
        let events = events(count);
        let batch = Batch {
            pieces: &[&events],
            event_count: count,
            overlay: &overlay,
            arrival_ms: 1_700_000_000_000,
        };
        let payload = record_bytes(&batch, &overlay_encoded) * records as usize;
        let name = format!("{records}x{count}");
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(BenchmarkId::new("assemble", &name), |bencher| {
            bencher.iter(|| assemble(black_box(&mut out), &batch, &overlay_encoded, records));
        });
        group.bench_function(BenchmarkId::new("copy", &name), |bencher| {
            bencher.iter(|| {
                for record in 0..records as usize {
                    let start = record * events.len();
                    out[start..start + events.len()].copy_from_slice(black_box(&events));
                }
                black_box(&out)[0]
            });
        });
    }
    group.finish();
}

criterion_group!(benches, block);
criterion_main!(benches);
