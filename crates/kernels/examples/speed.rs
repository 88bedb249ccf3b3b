//! Times the kernels at the sizes of a small model (hidden 576, 9/3 heads of 64).
//!
//! `cargo run --release -p fidelio-kernels --example speed`
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::Instant;

use fidelio_kernels::{
    Asked, Format, Heads, Matrix, Run, Sees, Span, active_path, attention, linear, rms_norm,
    silu_mul, token_scores,
};

fn main() {
    println!("path {}, {} threads", active_path(), rayon::current_num_threads());
    for format in Format::ALL {
        let cols = if format.block_len() == 256 { 512 } else { 576 };
        product(format, 1, cols, 1536);
    }
    product(Format::Q8_0, 1, 576, 49152);
    for n in [2, 4, 8, 32, 512] {
        product(Format::Q4_1, n, 576, 1536);
    }
    product(Format::Q4_1, 512, 1536, 576);
    product(Format::F32, 512, 576, 1536);
    product(Format::Q8_0, 32, 576, 49152);
    attend(1, 1023);
    attend(32, 224);
    attend(512, 0);

    let (gate, up) = (vec![0.3; 512 * 1536], vec![0.7; 512 * 1536]);
    let mut out = vec![0.0; gate.len()];
    let time = best(|| silu_mul(&gate, &up, &mut out));
    println!("silu_mul 512x1536: {:.3} ms", time * 1e3);
    let x = &gate[..512 * 576];
    let time = best(|| rms_norm(x, &up[..576], 1e-5, &mut out[..512 * 576]));
    println!("rms_norm 512x576: {:.3} ms", time * 1e3);

    let head = weights(Format::Q8_0, 49152 * 576);
    let head = Matrix { format: Format::Q8_0, bytes: &head, rows: 49152, cols: 576 };
    let asked: Vec<_> = (0..32).map(|row| Asked { row, token: row * 7 }).collect();
    let mut scores = Vec::new();
    let time = best(|| token_scores(&gate[..32 * 576], head, &asked, &mut scores));
    println!("token_scores 32 rows: {:.3} ms", time * 1e3);
}

/// Seconds of the quickest call: the others waited for something else.
fn best(mut call: impl FnMut()) -> f64 {
    call();
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 7 || begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        call();
        times.push(start.elapsed().as_secs_f64());
    }
    times.into_iter().fold(f64::MAX, f64::min)
}

/// Bytes that are ordinary numbers in every format, scales included.
fn weights(format: Format, elements: usize) -> Vec<u8> {
    let len = format.bytes_of(elements).expect("whole blocks");
    (0..len).map(|i| 0x20 | (i * 37 % 16) as u8).collect()
}

fn product(format: Format, n: usize, cols: usize, rows: usize) {
    let bytes = weights(format, rows * cols);
    let w = Matrix { format, bytes: &bytes, rows, cols };
    let (x, mut out) = (vec![0.5; n * cols], vec![0.0; n * rows]);
    let time = best(|| linear(&x, w, None, &mut out));
    println!(
        "linear {n}x{cols}->{rows} {format:?}: {:.3} ms, {:.1} GFLOP/s, {:.1} GB/s of weights",
        time * 1e3,
        2e-9 * (n * rows * cols) as f64 / time,
        1e-9 * bytes.len() as f64 / time,
    );
}

/// A run of `t` tokens (or `t` runs of one, when there is a past) over `past` cached keys.
fn attend(t: u32, past: u32) {
    let heads = Heads { query: 9, key_value: 3, dim: 64 };
    let (q, k) = (vec![0.1; t as usize * 576], vec![0.2; t as usize * 192]);
    let cache = vec![0.3; past as usize * 192];
    let mut out = vec![0.0; q.len()];
    let spans = [Span { past: true, start: 0, len: past }];
    let runs: Vec<_> = if past == 0 {
        vec![Run { first: 0, len: t, spans: 0..0 }]
    } else {
        (0..t).map(|first| Run { first, len: 1, spans: 0..1 }).collect()
    };
    let sees = Sees { runs: &runs, spans: &spans, window: None };
    let time = best(|| attention(&q, &k, &k, &cache, &cache, sees, heads, 0.125, &mut out));
    println!("attention of {t} tokens over {past} cached keys: {:.3} ms", time * 1e3);
}
