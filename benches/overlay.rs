//! What do headers that interceptors added once per batch cost a sink that reads every event?

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flumen::event::{Events, Overlay, OverlayHeader, encode_event};

const EVENTS: u64 = 1_000;

fn events() -> Vec<u8> {
    let headers = BTreeMap::from([
        ("host".to_owned(), "agent-0001.example.org".to_owned()),
        ("topic".to_owned(), "web".to_owned()),
    ]);
    let mut out = Vec::new();
    for _ in 0..EVENTS {
        encode_event(&mut out, &headers, &[b'x'; 512]);
    }
    out
}

/// What the interceptors `timestamp`, `host` (which the events have already) and `static` leave.
fn overlay(count: usize) -> Overlay {
    let mut overlay = Overlay::default();
    for (key, value) in [
        ("timestamp", "1700000000000"),
        ("host", "127.0.0.1"),
        ("site", "x"),
    ]
    .iter()
    .take(count)
    {
        overlay.push(OverlayHeader {
            key: key.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
            preserve_existing: true,
        });
    }
    overlay
}

fn read_headers(criterion: &mut Criterion) {
    let events = events();
    let mut group = criterion.benchmark_group("overlay");
    group.throughput(Throughput::Elements(EVENTS));
    for count in [0, 1, 3] {
        let overlay = overlay(count);
        let views = || {
            Events::new(black_box(&events), &overlay, 0).map(|event| event.expect("well formed"))
        };
        // What a Kafka sink with `%{topic}` asks for.
        group.bench_function(BenchmarkId::new("header", count), |bencher| {
            bencher.iter(|| {
                views()
                    .filter_map(|event| event.header(b"topic"))
                    .map(<[u8]>::len)
                    .sum::<usize>()
            });
        });
        // What a sink that writes all headers asks for.
        group.bench_function(BenchmarkId::new("headers", count), |bencher| {
            bencher.iter(|| views().map(|event| event.headers().len()).sum::<usize>());
        });
    }
    group.finish();
}

criterion_group!(benches, read_headers);
criterion_main!(benches);
