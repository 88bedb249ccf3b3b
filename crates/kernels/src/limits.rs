//! What this machine can reach, measured: the limits that kernels are held against.

use std::{hint::black_box, time::Instant};

use crate::simd::{Kernel, Path, Simd};

/// What all threads of the pool reach together, with the instruction set that kernels use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Multiply-adds of 32-bit floats per second.
    pub floats: f64,
    /// Multiply-adds of brain floats per second.
    pub brains: f64,
    /// Multiply-adds of bytes per second.
    pub bytes: f64,
    /// Bytes read from memory per second.
    pub memory: f64,
}

/// Measures for a quarter of a second. Something else at work makes the limits lower.
pub fn limits() -> Limits {
    let path = Path::active();
    let rate = |burst: &(dyn Fn() -> u64 + Sync)| {
        let best = (0..6).map(|_| {
            let begin = Instant::now();
            let work: u64 = rayon::broadcast(|_| burst()).into_iter().sum();
            work as f64 / begin.elapsed().as_secs_f64()
        });
        best.fold(0.0, f64::max)
    };
    let share = vec![1.0_f32; MEMORY / size_of::<f32>() / rayon::current_num_threads()];
    let shares: Vec<_> = (0..rayon::current_num_threads()).map(|_| share.clone()).collect();
    Limits {
        floats: rate(&|| path.run(Floats)),
        brains: rate(&|| path.run(Brains)),
        bytes: rate(&|| path.run(Bytes)),
        memory: rate(&|| {
            let own = &shares[rayon::current_thread_index().unwrap_or_default()];
            path.run(Memory { own })
        }),
    }
}

/// Sums that need not wait for each other.
const CHAINS: usize = 12;

/// Steps of a burst.
const STEPS: u64 = 1 << 20;

/// Bytes that are read in a burst: much more than caches hold.
const MEMORY: usize = 128 << 20;

struct Floats;

impl Kernel for Floats {
    type Out = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
        let mut sums = [s.splat(0.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.fma(a, b, *sum);
            }
        }
        black_box(sums);
        STEPS * (CHAINS * S::LANES) as u64
    }
}

struct Brains;

impl Kernel for Brains {
    type Out = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let words = black_box([0x3f00_3f00; 16]); // pairs of 0.5
        let w = s.pairs(&S::pair_chunks(&words)[0]);
        let mut sums = [s.splat(0.0); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = s.mul_pairs(w, words[0], *sum);
            }
        }
        black_box(sums);
        STEPS * (CHAINS * S::LANES * 2) as u64
    }
}

struct Bytes;

impl Kernel for Bytes {
    type Out = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let (ones, nothing) = (s.splat_int(black_box(0x0101_0101)), s.splat_int(black_box(0)));
        let (mut w, mut sums) = (ones, [s.splat_int(0); CHAINS]);
        for _ in 0..STEPS {
            w = s.add_ints(w, nothing); // or products would be computed once for all steps
            for sum in &mut sums {
                *sum = s.mul_bytes(w, ones, *sum);
            }
        }
        black_box(sums);
        STEPS * (CHAINS * 32) as u64
    }
}

struct Memory<'a> {
    own: &'a [f32],
}

impl Kernel for Memory<'_> {
    type Out = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let one = s.splat(black_box(1.0));
        let mut sums = [s.splat(0.0); CHAINS];
        for chunks in S::chunks(self.own).0.chunks_exact(CHAINS) {
            for (sum, chunk) in sums.iter_mut().zip(chunks) {
                *sum = s.fma(one, s.load(chunk), *sum);
            }
        }
        black_box(sums);
        size_of_val(self.own) as u64
    }
}
