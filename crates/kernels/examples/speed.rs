//! Times the kernels at the sizes of a small model (hidden 576, 9/3 heads of 64).
//!
//! `cargo run --release -p fidelio-kernels --example speed [linear]`
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::time::Instant;

use fidelio_kernels::{
    Activation, Arithmetic, Asked, Format, Heads, Layout, Matrix, Run, Scoring, Sees, Span,
    active_path, attention, gated, linear, pack, rms_norm, token_scores,
};

fn main() {
    println!("path {}, {} threads", active_path(), rayon::current_num_threads());
    println!("linear: median ms (fastest) of f32, of int8, ratio; GFLOP/s; GB/s of weights");
    for format in Format::ALL {
        let cols = if format.block_len() == 256 { 512 } else { 576 };
        product(format, 1, cols, 1536);
    }
    for n in [1, 8, 32, 512] {
        for (cols, rows) in [(576, 192), (576, 576), (576, 1536), (1536, 576)] {
            product(Format::Q4_1, n, cols, rows);
        }
    }
    for format in [Format::Q8_0, Format::F32, Format::BF16] {
        for n in [8, 32, 512] {
            product(format, n, 576, 1536);
        }
    }
    for n in [1, 8, 32] {
        product(Format::Q8_0, n, 576, 49152);
    }
    layers(Format::Q4_1, 1);
    layers(Format::Q4_K, 1);
    layers(Format::Q8_0, 1);
    if std::env::args().any(|it| it == "linear") {
        return;
    }
    attend(1, 1023);
    attend(32, 224);
    attend(512, 0);

    let (gate, up) = (vec![0.3; 512 * 1536], vec![0.7; 512 * 1536]);
    let mut out = vec![0.0; gate.len()];
    let [[time, _]] = times([&mut || gated(Activation::Silu, &gate, &up, &mut out)]);
    println!("silu 512x1536: {:.3} ms", time * 1e3);
    let x = &gate[..512 * 576];
    let [[time, _]] = times([&mut || rms_norm(x, &up[..576], 1e-5, &mut out[..512 * 576])]);
    println!("rms_norm 512x576: {:.3} ms", time * 1e3);

    let (head, layout) = weights(Format::Q8_0, 49152, 576);
    let head = Matrix { format: Format::Q8_0, bytes: &head, rows: 49152, cols: 576, layout };
    let asked: Vec<_> = (0..32).map(|row| Asked { row, token: row * 7 }).collect();
    let mut scores = Vec::new();
    for arithmetic in [Arithmetic::F32, Arithmetic::Int8] {
        let x = &gate[..32 * 576];
        let [[time, _]] = times([&mut || token_scores(x, head, arithmetic, &asked, &mut scores)]);
        println!("token_scores 32 rows, {arithmetic:?}: {:.3} ms", time * 1e3);
    }
}

/// Median and smallest seconds of calls that take turns, so that what else happens hits all alike.
fn times<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [[f64; 2]; N] {
    let begin = Instant::now();
    let mut times = [(); N].map(|()| Vec::new());
    for call in &mut calls {
        call();
    }
    while times[0].len() < 15 || begin.elapsed().as_secs_f64() < 0.4 {
        for (call, times) in calls.iter_mut().zip(&mut times) {
            let start = Instant::now();
            call();
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 2], times[0]]
    })
}

/// Bytes that are ordinary numbers in every format, scales included; packed where that is possible.
fn weights(format: Format, rows: usize, cols: usize) -> (Vec<u8>, Layout) {
    let len = format.bytes_of_matrix(rows, cols).expect("whole blocks");
    let bytes: Vec<u8> = (0..len).map(|i| 0x20 | (i * 37 % 16) as u8).collect();
    if format.packs() {
        let w = Matrix { format, bytes: &bytes, rows, cols, layout: Layout::Rows };
        return (pack(w).as_ref().to_vec(), Layout::Eights);
    }
    (bytes, Layout::Rows)
}

fn product(format: Format, n: usize, cols: usize, rows: usize) {
    let (bytes, layout) = weights(format, rows, cols);
    let w = Matrix { format, bytes: &bytes, rows, cols, layout };
    let x: Vec<f32> = (0..n * cols).map(|i| (i % 97) as f32 - 48.0).collect();
    let (mut floats, mut integers) = (vec![0.0; n * rows], vec![0.0; n * rows]);
    let mut by_floats = || linear(&x, w, None, Arithmetic::F32, &mut floats);
    let mut by_integers = || linear(&x, w, None, Arithmetic::Int8, &mut integers);
    let both = times([&mut by_floats, &mut by_integers]);
    print(&format!("{n}x{cols}->{rows} {format:?}"), n * rows * cols, bytes.len(), both);
}

/// The products of a token with all layers, whose weights come from memory and not from a cache.
fn layers(format: Format, n: usize) {
    let cols = if format.block_len() == 256 { 512 } else { 576 };
    let (rows, count) = (2 * 1536 + 576 + 2 * 192 + 576 + 1536, 30);
    let bytes: Vec<_> = (0..count).map(|_| weights(format, rows, cols)).collect();
    let x: Vec<f32> = (0..n * cols).map(|i| (i % 97) as f32 - 48.0).collect();
    let run = |arithmetic, out: &mut [f32]| {
        for (bytes, layout) in &bytes {
            let w = Matrix { format, bytes, rows, cols, layout: *layout };
            linear(&x, w, None, arithmetic, out);
        }
    };
    let (mut floats, mut integers) = (vec![0.0; n * rows], vec![0.0; n * rows]);
    let mut by_floats = || run(Arithmetic::F32, &mut floats);
    let mut by_integers = || run(Arithmetic::Int8, &mut integers);
    let both = times([&mut by_floats, &mut by_integers]);
    let (work, read) = (n * count * rows * cols, count * bytes[0].0.len());
    print(&format!("{n}x{cols}->{count}x{rows} {format:?}"), work, read, both);
}

/// `work` in multiply-adds, `read` in bytes.
fn print(what: &str, work: usize, read: usize, [floats, integers]: [[f64; 2]; 2]) {
    println!(
        "linear {what}: {:.3} ({:.3}), {:.3} ({:.3}), {:.2}; {:.0} -> {:.0}; {:.1} -> {:.1}",
        floats[0] * 1e3,
        floats[1] * 1e3,
        integers[0] * 1e3,
        integers[1] * 1e3,
        floats[0] / integers[0],
        2e-9 * work as f64 / floats[0],
        2e-9 * work as f64 / integers[0],
        1e-9 * read as f64 / floats[0],
        1e-9 * read as f64 / integers[0],
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
    let scoring = Scoring::scaled(0.125);
    let [[time, _]] =
        times([&mut || attention(&q, &k, &k, &cache, &cache, sees, heads, scoring, &mut out)]);
    println!("attention of {t} tokens over {past} cached keys: {:.3} ms", time * 1e3);
}
