//! What does it cost to prove 1,000 events, against decoding them?
//!
//! The scan is all that happens to a batch on the way in besides a copy and a checksum. `apache-avro`
//! stands beside it to show what a general decoder costs, and because both must agree.

use std::collections::BTreeMap;
use std::hint::black_box;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flumen::event::{Cursor, Events, Overlay, encode_event, write_long};
use flumen::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use flumen::source::avro::{EventLimits, Pieces, scan_array};

const EVENTS: usize = 1_000;

/// The array of one `appendBatch`: 512-byte bodies, two headers.
fn array() -> Vec<u8> {
    let headers = BTreeMap::from([
        ("host".to_owned(), "agent-0001.example.org".to_owned()),
        ("timestamp".to_owned(), "1700000000000".to_owned()),
    ]);
    let mut out = Vec::new();
    write_long(&mut out, EVENTS as i64);
    let letters: Vec<u8> = (b'0'..=b'z').cycle().take(512 + 75).collect();
    for event in 0..EVENTS {
        let body = &letters[event % 75..event % 75 + 512];
        encode_event(&mut out, &headers, body);
    }
    write_long(&mut out, 0);
    out
}

/// The events without the array around them, as the log stores them.
fn events(array: &[u8]) -> &[u8] {
    let mut cursor = Cursor::new(array);
    cursor
        .block_count()
        .expect("an array begins with its count");
    &array[cursor.offset()..array.len() - 1]
}

fn scan(criterion: &mut Criterion) {
    let array = array();
    let events = events(&array);
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(EVENTS as u64));

    group.bench_function("scan", |bencher| {
        let limits = EventLimits {
            batch_events_max: BATCH_EVENTS_MAX,
            event_bytes_max: EVENT_BYTES_MAX,
        };
        bencher.iter(|| {
            let mut pieces = Pieces::default();
            scan_array(&mut Cursor::new(black_box(&array)), &limits, &mut pieces)
                .expect("the events are well formed")
        });
    });
    group.bench_function("skip", |bencher| {
        bencher.iter(|| {
            let mut cursor = Cursor::new(black_box(events));
            while cursor.bytes_left() > 0 {
                Events::skip(&mut cursor).expect("the events are well formed");
            }
            cursor.offset()
        });
    });
    group.bench_function("view", |bencher| {
        let overlay = Overlay::default();
        bencher.iter(|| {
            Events::new(black_box(events), &overlay, 0)
                .map(|event| event.expect("the events are well formed").body().len())
                .sum::<usize>()
        });
    });
    group.bench_function("apache-avro", |bencher| {
        let schema = Schema::parse_str(
            r#"{"type":"array","items":{"type":"record","name":"AvroFlumeEvent","fields":[
                {"name":"headers","type":{"type":"map","values":"string"}},
                {"name":"body","type":"bytes"}]}}"#,
        )
        .expect("the schema is Flume's");
        let reader = GenericDatumReader::builder(&schema)
            .build()
            .expect("the schema stands alone");
        bencher.iter(|| {
            reader
                .read_value(&mut black_box(&array[..]))
                .expect("the events are well formed")
        });
    });
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
