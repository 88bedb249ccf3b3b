//! Products with stored weights, in the shapes of SmolLM2 135M: one token and a prompt's chunk.
#![allow(missing_docs, reason = "criterion's macros make public items without any")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fidelio_benchmarks::{stored, values};
use fidelio_kernels::{Arithmetic, Format, Layout, Matrix, linear, pack};
use std::hint::black_box;

const FORMATS: [Format; 5] = [Format::F32, Format::BF16, Format::Q8_0, Format::Q4_1, Format::Q4_0];
const ROWS: usize = 1536;
const COLS: usize = 576;

fn products(criterion: &mut Criterion) {
    for tokens in [1, 64] {
        let mut group = criterion.benchmark_group(format!("linear_{tokens}"));
        group.throughput(Throughput::Elements((tokens * ROWS * COLS) as u64));
        let x = values(tokens * COLS);
        let mut out = vec![0.0; tokens * ROWS];
        for format in FORMATS {
            let bytes = stored(format, ROWS, COLS);
            let layout = Layout::Rows;
            let mut weight = Matrix { format, bytes: &bytes, rows: ROWS, cols: COLS, layout };
            let packed;
            if format.packs() {
                packed = pack(weight);
                weight = Matrix { bytes: packed.as_ref(), layout: Layout::Eights, ..weight };
            }
            for arithmetic in [Arithmetic::F32, Arithmetic::Bf16, Arithmetic::Int8] {
                if arithmetic == Arithmetic::Int8 && !format.has_integers() {
                    continue;
                }
                let name = format!("{format:?}_{arithmetic:?}");
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter(|| linear(black_box(&x), weight, None, arithmetic, &mut out));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
