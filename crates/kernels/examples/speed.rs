//! Times kernels at the sizes of a small model (hidden 576, 9/3 heads of 64), as shares of what this
//! machine reaches at most in the same minute.
//!
//! `cargo run --release -p fidelio-kernels --example speed [-- --check | NAME]`
//!
//! With `--check` it fails if a kernel falls below its floor, about half of what it reached when the
//! floor was written: shares do not depend on how fast a machine is, and vary less than times.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::process::ExitCode;
use std::time::Instant;

use fidelio_kernels::{
    Activation, Arithmetic, AttentionGradients, Format, Heads, Layout, Limits, Matrix, Run,
    Scoring, Sees, Span, Weighed, active_path, attention, attention_backward, cross_entropy, gated,
    limits, linear, linear_backward, pack, rms_norm,
};

/// What holds a kernel back.
#[derive(Clone, Copy)]
enum Bound {
    Floats,
    Brains,
    Bytes,
    Memory,
}

impl Bound {
    fn of(self, limits: &Limits) -> f64 {
        match self {
            Self::Floats => limits.floats,
            Self::Brains => limits.brains,
            Self::Bytes => limits.bytes,
            Self::Memory => limits.memory,
        }
    }
}

struct Case {
    name: String,
    bound: Bound,
    /// Multiply-adds, or bytes.
    work: usize,
    /// The smallest share of the limit that `--check` lets pass.
    floor: f64,
    call: Box<dyn FnMut()>,
}

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let check = wanted.as_deref() == Some("--check");
    println!("path {}, {} threads", active_path(), rayon::current_num_threads());
    let mut low = Vec::new();
    for mut case in cases() {
        if !check && wanted.as_ref().is_some_and(|wanted| !case.name.contains(wanted)) {
            continue;
        }
        let mut share = measure(&mut case);
        for _ in 0..4 {
            if check && share < case.floor {
                share = share.max(measure(&mut case));
            }
        }
        if share < case.floor {
            low.push(format!("{}: {share:.2} of the limit, at least {}", case.name, case.floor));
        }
    }
    if !check || active_path() == "portable" {
        return ExitCode::SUCCESS;
    }
    for low in &low {
        println!("too slow: {low}");
    }
    if low.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The share of its limit that the fastest call reaches; the limit is measured anew.
fn measure(case: &mut Case) -> f64 {
    let limit = case.bound.of(&limits());
    let begin = Instant::now();
    let mut times = Vec::new();
    (case.call)();
    while times.len() < 7 || begin.elapsed().as_secs_f64() < 0.2 {
        let start = Instant::now();
        (case.call)();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (fastest, median) = (times[0], times[times.len() / 2]);
    let share = case.work as f64 / fastest / limit;
    let (unit, scale) = match case.bound {
        Bound::Memory => ("GB/s", 1e-9),
        _ => ("GFLOP/s", 2e-9),
    };
    println!(
        "{:44} {:8.3} ms ({:8.3})  {:6.1} of {:6.1} {unit}: {:3.0} %",
        case.name,
        median * 1e3,
        fastest * 1e3,
        case.work as f64 / fastest * scale,
        limit * scale,
        share * 100.0,
    );
    share
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (format, floor) in [(Format::Q4_1, 0.4), (Format::BF16, 0.4), (Format::F32, 0.4)] {
        cases.push(product(format, Arithmetic::F32, 1024, floor));
    }
    cases.push(backward(Format::Q4_1, Arithmetic::F32, 0.25));
    for (format, floor) in [(Format::Q4_1, 0.35), (Format::BF16, 0.35)] {
        cases.push(product(format, Arithmetic::Bf16, 1024, floor));
        cases.push(backward(format, Arithmetic::Bf16, floor));
    }
    for (format, floor) in [(Format::Q4_1, 0.2), (Format::Q8_0, 0.1)] {
        cases.push(product(format, Arithmetic::Int8, 1024, floor));
    }
    for (format, arithmetic, floor) in [
        (Format::Q4_1, Arithmetic::Int8, 0.3),
        (Format::Q4_0, Arithmetic::Int8, 0.3),
        (Format::Q8_0, Arithmetic::Int8, 0.3),
        (Format::Q4_K, Arithmetic::Int8, 0.25),
        (Format::Q4_1, Arithmetic::F32, 0.1),
        (Format::BF16, Arithmetic::F32, 0.3),
    ] {
        cases.push(layers(format, arithmetic, floor));
    }
    cases.push(attend(4, 256, 0, 0.15));
    cases.push(attend(32, 1, 224, 0.05));
    cases.push(attend_backward(4, 256, 0.15));
    cases.push(silu(0.05));
    cases.push(norm(0.05));
    cases.push(loss(0.2));
    cases
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect()
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

fn bound(format: Format, arithmetic: Arithmetic) -> Bound {
    match arithmetic {
        Arithmetic::Bf16 => Bound::Brains,
        Arithmetic::Int8 if format.has_integers() => Bound::Bytes,
        Arithmetic::F32 | Arithmetic::Int8 => Bound::Floats,
    }
}

fn product(format: Format, arithmetic: Arithmetic, n: usize, floor: f64) -> Case {
    let (cols, rows) = (576, 1536);
    let (bytes, layout) = weights(format, rows, cols);
    let (x, mut out) = (values(n * cols), vec![0.0; n * rows]);
    Case {
        name: format!("linear {n} x {cols} to {rows}, {format:?}, {arithmetic:?}"),
        bound: bound(format, arithmetic),
        work: n * cols * rows,
        floor,
        call: Box::new(move || {
            let w = Matrix { format, bytes: &bytes, rows, cols, layout };
            linear(&x, w, None, arithmetic, &mut out);
        }),
    }
}

fn backward(format: Format, arithmetic: Arithmetic, floor: f64) -> Case {
    let (n, cols, rows) = (1024, 576, 1536);
    let (bytes, layout) = weights(format, rows, cols);
    let (g, mut out) = (values(n * rows), vec![0.0; n * cols]);
    Case {
        name: format!("linear backward {n} x {rows} to {cols}, {format:?}, {arithmetic:?}"),
        bound: bound(format, arithmetic),
        work: n * cols * rows,
        floor,
        call: Box::new(move || {
            let w = Matrix { format, bytes: &bytes, rows, cols, layout };
            linear_backward(&g, w, arithmetic, &mut out);
        }),
    }
}

/// The products of a token with all layers, whose weights come from memory and not from a cache.
fn layers(format: Format, arithmetic: Arithmetic, floor: f64) -> Case {
    let cols = if format.block_len() == 256 { 512 } else { 576 };
    let (rows, count) = (2 * 1536 + 576 + 2 * 192 + 576 + 1536, 30);
    let bytes: Vec<_> = (0..count).map(|_| weights(format, rows, cols)).collect();
    let (x, mut out) = (values(cols), vec![0.0; rows]);
    Case {
        name: format!("one row through {count} layers, {format:?}, {arithmetic:?}"),
        bound: Bound::Memory,
        work: count * bytes[0].0.len(),
        floor,
        call: Box::new(move || {
            for (bytes, layout) in &bytes {
                let w = Matrix { format, bytes, rows, cols, layout: *layout };
                linear(&x, w, None, arithmetic, &mut out);
            }
        }),
    }
}

const HEADS: Heads = Heads { query: 9, key_value: 3, dim: 64 };

/// Runs of `len` tokens, each over the same `past` cached keys.
fn attend(rows: usize, len: usize, past: usize, floor: f64) -> Case {
    let t = rows * len;
    let (q, k) = (values(t * 576), values(t * 192));
    let (cache, mut out) = (values(past * 192), vec![0.0; t * 576]);
    let seen = rows * (len * past + len * (len + 1) / 2);
    Case {
        name: format!("attention of {rows} x {len} tokens over {past} cached"),
        bound: Bound::Floats,
        work: 2 * seen * HEADS.query * HEADS.dim,
        floor,
        call: Box::new(move || {
            let spans = [Span { past: true, start: 0, len: past as u32 }];
            let runs = runs(rows, len, u32::from(past > 0));
            let sees = Sees { runs: &runs, spans: &spans, window: None };
            attention(&q, &k, &k, &cache, &cache, sees, HEADS, Scoring::scaled(0.1), &mut out);
        }),
    }
}

fn attend_backward(rows: usize, len: usize, floor: f64) -> Case {
    let t = rows * len;
    let (q, k, out) = (values(t * 576), values(t * 192), values(t * 576));
    let [mut g_q, mut g_k, mut g_v] = [576, 192, 192].map(|width| vec![0.0; t * width]);
    Case {
        name: format!("attention backward of {rows} x {len} tokens"),
        bound: Bound::Floats,
        work: 5 * rows * (len * (len + 1) / 2) * HEADS.query * HEADS.dim,
        floor,
        call: Box::new(move || {
            let runs = runs(rows, len, 0);
            let sees = Sees { runs: &runs, spans: &[], window: None };
            let gradients = AttentionGradients { q: &mut g_q, k: &mut g_k, v: &mut g_v };
            let scoring = Scoring::scaled(0.1);
            attention_backward(&q, &k, &k, &[], &[], &out, &q, sees, HEADS, scoring, gradients);
        }),
    }
}

fn runs(rows: usize, len: usize, spans: u32) -> Vec<Run> {
    let run = |i: usize| Run { first: (i * len) as u32, len: len as u32, spans: 0..spans };
    (0..rows).map(run).collect()
}

fn silu(floor: f64) -> Case {
    let (gate, up) = (values(1024 * 1536), values(1024 * 1536));
    let mut out = vec![0.0; gate.len()];
    Case {
        name: "silu of 1024 x 1536".to_owned(),
        bound: Bound::Memory,
        work: 3 * size_of_val(&gate[..]),
        floor,
        call: Box::new(move || gated(Activation::Silu, &gate, &up, &mut out)),
    }
}

fn norm(floor: f64) -> Case {
    let (x, weight, mut out) = (values(1024 * 576), values(576), vec![0.0; 1024 * 576]);
    Case {
        name: "rms_norm of 1024 x 576".to_owned(),
        bound: Bound::Memory,
        work: 2 * size_of_val(&x[..]),
        floor,
        call: Box::new(move || rms_norm(&x, &weight, 1e-5, &mut out)),
    }
}

fn loss(floor: f64) -> Case {
    let (rows, vocabulary) = (128, 49_152);
    let targets: Vec<_> =
        (0..rows).map(|row| Weighed { row, token: row * 7, weight: 1.0 }).collect();
    let mut logits = values(rows as usize * vocabulary);
    Case {
        name: format!("loss of {rows} x {vocabulary}"),
        bound: Bound::Memory,
        work: 2 * size_of_val(&logits[..]),
        floor,
        call: Box::new(move || {
            cross_entropy(&mut logits, vocabulary, &targets);
        }),
    }
}
