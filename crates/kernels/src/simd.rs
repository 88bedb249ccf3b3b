//! The instruction sets, and how a kernel is compiled once for each.
//!
//! A [`Kernel`] is written once, generically over [`Simd`], all of it `#[inline(always)]`.
//! [`Path::run`] inlines it into a function that has the features of the chosen set, so that both the
//! explicit vector operations and the loops that the compiler vectorises use them.

#[cfg(target_arch = "x86_64")]
mod avx2;

use std::sync::OnceLock;

use crate::dequantize::half;

/// Vector operations of one instruction set. A value of the type proves that the set is present.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector register of floats.
    type V: Copy;
    /// As many floats in memory: `[f32; LANES]`.
    type Chunk: Copy;
    /// Floats in a register.
    const LANES: usize;

    fn chunks(x: &[f32]) -> (&[Self::Chunk], &[f32]);
    fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Chunk], &mut [f32]);
    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &Self::Chunk) -> Self::V;
    fn store(self, v: Self::V, to: &mut Self::Chunk);
    /// `a · b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The sum of all lanes.
    fn sum(self, v: Self::V) -> f32;
    /// An IEEE half.
    fn half(self, bytes: [u8; 2]) -> f32;
    /// IEEE halves to floats, as many as fit both.
    fn halves(self, bytes: &[[u8; 2]], out: &mut [f32]);
    /// `(q - center) · scale (+ offset)` for the eight bytes `q`, every step rounded.
    fn affine(self, q: u64, center: i32, scale: f32, offset: Option<f32>, out: &mut [f32; 8]);
    /// `table[q] · scale` for the eight bytes `q`, all below 16.
    fn lookup(self, q: u64, table: &[f32; 16], scale: f32, out: &mut [f32; 8]);
}

/// Work that is compiled for each instruction set.
pub(crate) trait Kernel {
    type Out;
    /// Must be `#[inline(always)]`, and so must be all it calls.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Path {
    /// The best one present.
    pub(crate) fn active() -> Self {
        static ACTIVE: OnceLock<Path> = OnceLock::new();
        *ACTIVE.get_or_init(|| *Self::all().last().expect("the portable path is always there"))
    }

    /// All that this machine has, best last.
    pub(crate) fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86 adds paths"))]
        let mut paths = vec![Self::Portable(Portable)];
        #[cfg(target_arch = "x86_64")]
        paths.extend(avx2::Avx2::detect().map(Self::Avx2));
        paths
    }

    /// Runs a kernel compiled for this set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match self {
            Self::Portable(s) => kernel.run(s),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(s) => s.enter(kernel),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
        }
    }
}

/// The instruction set that kernels use on this machine: `portable` or `avx2`.
pub fn active_path() -> &'static str {
    Path::active().name()
}

/// Whatever the build's target offers; written so that compilers vectorise it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type V = [f32; 4];
    type Chunk = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    fn chunks(x: &[f32]) -> (&[Self::Chunk], &[f32]) {
        x.as_chunks()
    }

    #[inline(always)]
    fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Chunk], &mut [f32]) {
        x.as_chunks_mut()
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; 4]
    }

    #[inline(always)]
    fn load(self, from: &Self::Chunk) -> Self::V {
        *from
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut Self::Chunk) {
        *to = v;
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut sum = [0.0; 4];
        for i in 0..4 {
            sum[i] = if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                a[i].mul_add(b[i], c[i]) // one instruction there, a slow call elsewhere
            } else {
                a[i] * b[i] + c[i]
            };
        }
        sum
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }

    #[inline(always)]
    fn half(self, bytes: [u8; 2]) -> f32 {
        half(bytes)
    }

    #[inline(always)]
    fn halves(self, bytes: &[[u8; 2]], out: &mut [f32]) {
        for (out, bytes) in out.iter_mut().zip(bytes) {
            *out = half(*bytes);
        }
    }

    #[inline(always)]
    fn affine(self, q: u64, center: i32, scale: f32, offset: Option<f32>, out: &mut [f32; 8]) {
        for (out, q) in out.iter_mut().zip(q.to_le_bytes()) {
            let scaled = (i32::from(q) - center) as f32 * scale;
            *out = if let Some(offset) = offset { scaled + offset } else { scaled };
        }
    }

    #[inline(always)]
    fn lookup(self, q: u64, table: &[f32; 16], scale: f32, out: &mut [f32; 8]) {
        for (out, q) in out.iter_mut().zip(q.to_le_bytes()) {
            *out = table[usize::from(q & 15)] * scale;
        }
    }
}

/// `R` by `C` dot products at once, of rows that are all equally long.
///
/// Each product has one accumulator and runs through its row in order, so its value does not
/// depend on `R`, `C` or its neighbours.
#[inline(always)]
pub(crate) fn dots<S: Simd, const R: usize, const C: usize>(
    s: S,
    x: [&[f32]; R],
    w: [&[f32]; C],
) -> [[f32; C]; R] {
    let len = x[0].len();
    let whole = len / S::LANES;
    // Loops and not `map` or `from_fn` with closures, which may stay calls without the features.
    let mut xs: [&[S::Chunk]; R] = [&[]; R];
    let mut ws: [&[S::Chunk]; C] = [&[]; C];
    for r in 0..R {
        xs[r] = &S::chunks(x[r]).0[..whole];
    }
    for c in 0..C {
        ws[c] = &S::chunks(w[c]).0[..whole];
    }
    let mut acc = [[s.splat(0.0); C]; R];
    for i in 0..whole {
        let mut w = [s.splat(0.0); C];
        for c in 0..C {
            w[c] = s.load(&ws[c][i]);
        }
        for r in 0..R {
            let x = s.load(&xs[r][i]);
            for c in 0..C {
                acc[r][c] = s.fma(x, w[c], acc[r][c]);
            }
        }
    }
    let mut sums = [[0.0; C]; R];
    for r in 0..R {
        for c in 0..C {
            sums[r][c] = s.sum(acc[r][c]);
            for i in whole * S::LANES..len {
                sums[r][c] += x[r][i] * w[c][i];
            }
        }
    }
    sums
}
