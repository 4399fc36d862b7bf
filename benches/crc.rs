//! How fast is the checksum at the sizes it meets: an event, a sector, a batch of 100, a full block?

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn crc(criterion: &mut Criterion) {
    let data: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let mut group = criterion.benchmark_group("crc32c");
    for bytes in [512, 4 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(bytes),
            &data[..bytes],
            |bencher, data| {
                bencher.iter(|| crc32c::crc32c(black_box(data)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, crc);
criterion_main!(benches);
