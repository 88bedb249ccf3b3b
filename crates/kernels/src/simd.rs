//! The instruction sets, and how a kernel is compiled once for each.
//!
//! A [`Kernel`] is written once, generically over [`Simd`], all of it `#[inline(always)]`.
//! [`Path::run`] inlines it into a function that has the features of the chosen set, so that both the
//! explicit vector operations and the loops that the compiler vectorises use them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

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
    /// Eight floats, on every path.
    type Eight: Copy;
    /// Eight integers, on every path, or the bytes or pairs of halves that they consist of.
    type Ints: Copy;
    /// As many pairs of brain floats as a register has floats, the first of each in the lower half.
    type Pairs: Copy;
    /// The same in memory: `[u32; LANES]`.
    type PairChunk: Copy;
    /// The bytes of as many brain floats as a register has floats: `[[u8; 2]; LANES]`.
    type BrainChunk: Copy;

    /// Runs a kernel that is compiled apart, so that what several kernels need is compiled once.
    fn call<K: Kernel>(self, kernel: K) -> K::Out;

    fn chunks(x: &[f32]) -> (&[Self::Chunk], &[f32]);
    fn chunks_mut(x: &mut [f32]) -> (&mut [Self::Chunk], &mut [f32]);
    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &Self::Chunk) -> Self::V;
    fn store(self, v: Self::V, to: &mut Self::Chunk);
    /// `a · b + c`
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The sum of all lanes.
    fn sum(self, v: Self::V) -> f32;
    fn brain_chunks(x: &[u8]) -> &[Self::BrainChunk];
    /// Brain floats, little endian, as floats.
    fn brains(self, from: &Self::BrainChunk) -> Self::V;
    /// An IEEE half.
    fn half(self, bytes: [u8; 2]) -> f32;
    /// IEEE halves to floats, as many as fit both.
    fn halves(self, bytes: &[[u8; 2]], out: &mut [f32]);
    /// `(q - center) · scale (+ offset)` for the eight bytes `q`, every step rounded.
    fn affine(self, q: u64, center: i32, scale: f32, offset: Option<f32>, out: &mut [f32; 8]);
    /// `table[q] · scale` for the eight bytes `q`, all below 16.
    fn lookup(self, q: u64, table: &[f32; 16], scale: f32, out: &mut [f32; 8]);

    fn eight(self, from: &[f32; 8]) -> Self::Eight;
    fn splat_eight(self, x: f32) -> Self::Eight;
    fn store_eight(self, v: Self::Eight, to: &mut [f32; 8]);
    fn mul_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
    fn add_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
    /// Integers as floats, rounded to nearest even.
    fn float(self, v: Self::Ints) -> Self::Eight;
    /// Eight IEEE halves.
    fn eight_halves(self, bytes: &[[u8; 8]; 2]) -> Self::Eight;
    /// `a · b + c`
    fn fma_eight(self, a: Self::Eight, b: Self::Eight, c: Self::Eight) -> Self::Eight;

    /// Asks for the memory there, which need not exist, to be brought near.
    fn prefetch(self, at: *const u8);

    fn ints(self, from: &[i32; 8]) -> Self::Ints;
    fn splat_int(self, x: i32) -> Self::Ints;
    fn store_ints(self, v: Self::Ints, to: &mut [i32; 8]);
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Eight times four bytes.
    fn ints_of(self, from: &[[u8; 8]; 4]) -> Self::Ints;
    /// Byte `at` of each lane, with its sign.
    fn byte(self, v: Self::Ints, at: u32) -> Self::Ints;
    /// Takes `x` from every byte.
    fn sub_bytes(self, v: Self::Ints, x: u8) -> Self::Ints;
    /// `lane >> shift & mask`, without regard to signs.
    fn bits(self, v: Self::Ints, shift: u32, mask: u32) -> Self::Ints;
    /// `low | high << shift`
    fn join(self, low: Self::Ints, high: Self::Ints, shift: u32) -> Self::Ints;
    /// Bits `at` to `at + 3` of each lane as the lowest bits of its four bytes.
    fn spread(self, v: Self::Ints, at: u32) -> Self::Ints;
    /// The even and the odd bytes of each lane as signed halves.
    fn widen(self, v: Self::Ints) -> [Self::Ints; 2];
    /// Adds the products of unsigned bytes `w` and signed bytes `x` to sums that only
    /// [`Self::settle`] understands and that start at 0. The sizes of no two neighbouring bytes of
    /// `w`, added over all steps, may exceed 258, and no size of `x` 127.
    fn mul_bytes(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints;
    /// The sums of the four products in each lane.
    fn settle(self, sums: Self::Ints) -> Self::Ints;
    /// Adds the products of signed halves `w` and `x`, two in each lane.
    fn mul_halves(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints;

    fn pair_chunks(x: &[u32]) -> &[Self::PairChunk];
    fn pair_chunks_mut(x: &mut [u32]) -> &mut [Self::PairChunk];
    fn pairs(self, from: &Self::PairChunk) -> Self::Pairs;
    /// Floats rounded as [`brain_pair`] does, those of `low` in the lower halves. Subnormal numbers
    /// may become 0.
    fn round_lanes(self, low: Self::V, high: Self::V, to: &mut Self::PairChunk);
    /// The same for floats that follow each other, those of `first` before those of `second`.
    fn round_row(self, first: Self::V, second: Self::V, to: &mut Self::PairChunk);
    /// Puts four pairs of each row of 16 bytes across: the first pair of every row, then the second.
    /// There are as many rows as lanes.
    fn across(self, rows: &[&[u8; 16]], to: [&mut Self::PairChunk; 4]);
    /// Adds the two products of the pair `x` with each pair of `w`, as floats of 32 bits.
    /// Subnormal numbers may count as 0.
    fn mul_pairs(self, w: Self::Pairs, x: u32, sums: Self::V) -> Self::V;
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
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
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
        #[cfg(target_arch = "x86_64")]
        paths.extend(avx512::Avx512::detect().map(Self::Avx512));
        paths
    }

    /// Runs a kernel compiled for this set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match self {
            Self::Portable(s) => kernel.run(s),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(s) => s.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(s) => s.enter(kernel),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
        }
    }
}

/// The instruction set that kernels use on this machine: `portable`, `avx2` or `avx512` (with its
/// products of bytes and of brain floats).
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
    type Eight = [f32; 8];
    type Ints = [i32; 8];
    type Pairs = [u32; 4];
    type PairChunk = [u32; 4];
    type BrainChunk = [[u8; 2]; 4];

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Out {
        kernel.run(self)
    }

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
    fn brain_chunks(x: &[u8]) -> &[Self::BrainChunk] {
        x.as_chunks().0.as_chunks().0
    }

    #[inline(always)]
    fn brains(self, from: &Self::BrainChunk) -> Self::V {
        let mut floats = [0.0; 4];
        for i in 0..4 {
            floats[i] = of_brain(from[i]);
        }
        floats
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

    #[inline(always)]
    fn eight(self, from: &[f32; 8]) -> Self::Eight {
        *from
    }

    #[inline(always)]
    fn splat_eight(self, x: f32) -> Self::Eight {
        [x; 8]
    }

    #[inline(always)]
    fn store_eight(self, v: Self::Eight, to: &mut [f32; 8]) {
        *to = v;
    }

    #[inline(always)]
    fn mul_eight(self, mut a: Self::Eight, b: Self::Eight) -> Self::Eight {
        for i in 0..8 {
            a[i] *= b[i];
        }
        a
    }

    #[inline(always)]
    fn add_eight(self, mut a: Self::Eight, b: Self::Eight) -> Self::Eight {
        for i in 0..8 {
            a[i] += b[i];
        }
        a
    }

    #[inline(always)]
    fn float(self, v: Self::Ints) -> Self::Eight {
        let mut floats = [0.0; 8];
        for i in 0..8 {
            floats[i] = v[i] as f32;
        }
        floats
    }

    #[inline(always)]
    fn eight_halves(self, bytes: &[[u8; 8]; 2]) -> Self::Eight {
        let mut floats = [0.0; 8];
        self.halves(bytes.as_flattened().as_chunks().0, &mut floats);
        floats
    }

    #[inline(always)]
    fn fma_eight(self, a: Self::Eight, b: Self::Eight, c: Self::Eight) -> Self::Eight {
        let mut sum = [0.0; 8];
        for i in 0..8 {
            sum[i] = if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                a[i].mul_add(b[i], c[i]) // one instruction there, a slow call elsewhere
            } else {
                a[i] * b[i] + c[i]
            };
        }
        sum
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn ints(self, from: &[i32; 8]) -> Self::Ints {
        *from
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::Ints {
        [x; 8]
    }

    #[inline(always)]
    fn store_ints(self, v: Self::Ints, to: &mut [i32; 8]) {
        *to = v;
    }

    #[inline(always)]
    fn add_ints(self, mut a: Self::Ints, b: Self::Ints) -> Self::Ints {
        for i in 0..8 {
            a[i] += b[i];
        }
        a
    }

    #[inline(always)]
    fn ints_of(self, from: &[[u8; 8]; 4]) -> Self::Ints {
        let mut lanes = [0; 8];
        for (lane, bytes) in lanes.iter_mut().zip(from.as_flattened().as_chunks().0) {
            *lane = i32::from_le_bytes(*bytes);
        }
        lanes
    }

    #[inline(always)]
    fn byte(self, mut v: Self::Ints, at: u32) -> Self::Ints {
        for lane in &mut v {
            *lane = *lane << (24 - 8 * at) >> 24;
        }
        v
    }

    #[inline(always)]
    fn sub_bytes(self, mut v: Self::Ints, x: u8) -> Self::Ints {
        for lane in &mut v {
            *lane = i32::from_le_bytes(lane.to_le_bytes().map(|byte| byte.wrapping_sub(x)));
        }
        v
    }

    #[inline(always)]
    fn bits(self, mut v: Self::Ints, shift: u32, mask: u32) -> Self::Ints {
        for lane in &mut v {
            *lane = (lane.cast_unsigned() >> shift & mask).cast_signed();
        }
        v
    }

    #[inline(always)]
    fn join(self, mut low: Self::Ints, high: Self::Ints, shift: u32) -> Self::Ints {
        for i in 0..8 {
            low[i] |= high[i] << shift;
        }
        low
    }

    #[inline(always)]
    fn spread(self, mut v: Self::Ints, at: u32) -> Self::Ints {
        for lane in &mut v {
            *lane = ((*lane >> at & 15) * SPREAD) & 0x0101_0101;
        }
        v
    }

    #[inline(always)]
    fn widen(self, v: Self::Ints) -> [Self::Ints; 2] {
        let mut wide = [[0; 8]; 2];
        for i in 0..8 {
            let [a, b, c, d] = v[i].to_le_bytes().map(|byte| i16::from(byte.cast_signed()));
            wide[0][i] = pair(a, c);
            wide[1][i] = pair(b, d);
        }
        wide
    }

    #[inline(always)]
    fn mul_bytes(self, w: Self::Ints, x: Self::Ints, mut sums: Self::Ints) -> Self::Ints {
        for i in 0..8 {
            let (w, x) = (w[i].to_le_bytes(), x[i].to_le_bytes());
            for k in 0..4 {
                sums[i] += i32::from(w[k]) * i32::from(x[k].cast_signed());
            }
        }
        sums
    }

    #[inline(always)]
    fn settle(self, sums: Self::Ints) -> Self::Ints {
        sums
    }

    #[inline(always)]
    fn mul_halves(self, w: Self::Ints, x: Self::Ints, mut sums: Self::Ints) -> Self::Ints {
        for i in 0..8 {
            sums[i] +=
                i32::from(w[i] as i16) * i32::from(x[i] as i16) + (w[i] >> 16) * (x[i] >> 16);
        }
        sums
    }

    #[inline(always)]
    fn pair_chunks(x: &[u32]) -> &[Self::PairChunk] {
        x.as_chunks().0
    }

    #[inline(always)]
    fn pair_chunks_mut(x: &mut [u32]) -> &mut [Self::PairChunk] {
        x.as_chunks_mut().0
    }

    #[inline(always)]
    fn pairs(self, from: &Self::PairChunk) -> Self::Pairs {
        *from
    }

    #[inline(always)]
    fn round_lanes(self, low: Self::V, high: Self::V, to: &mut Self::PairChunk) {
        for i in 0..4 {
            to[i] = brain_pair(low[i], high[i]);
        }
    }

    #[inline(always)]
    fn round_row(self, [a, b, c, d]: Self::V, [e, f, g, h]: Self::V, to: &mut Self::PairChunk) {
        *to = [brain_pair(a, b), brain_pair(c, d), brain_pair(e, f), brain_pair(g, h)];
    }

    #[inline(always)]
    fn across(self, rows: &[&[u8; 16]], to: [&mut Self::PairChunk; 4]) {
        for (i, to) in to.into_iter().enumerate() {
            for (to, row) in to.iter_mut().zip(rows) {
                *to = u32::from_le_bytes(row.as_chunks().0[i]);
            }
        }
    }

    #[inline(always)]
    fn mul_pairs(self, w: Self::Pairs, x: u32, sums: Self::V) -> Self::V {
        let sums = self.fma(w.map(upper), [upper(x); 4], sums);
        self.fma(w.map(lower), [lower(x); 4], sums)
    }
}

/// The brain float in the lower half.
#[inline(always)]
fn lower(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

/// The brain float in the upper half.
#[inline(always)]
fn upper(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

/// Two floats as brain floats, each the nearest one, the even of two equally near; `low` in the
/// lower half.
#[inline(always)]
pub(crate) fn brain_pair(low: f32, high: f32) -> u32 {
    brain(low) >> 16 | brain(high) & 0xffff_0000
}

/// The nearest brain float in the upper half, something in the lower.
#[inline(always)]
fn brain(x: f32) -> u32 {
    const QUIET: u32 = 1 << 22; // so that a NaN stays one
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if x.is_nan() { bits | QUIET } else { rounded }
}

/// Times four bits: each as the lowest bit of a byte, among others.
const SPREAD: i32 = 1 | 1 << 7 | 1 << 14 | 1 << 21;

/// Two halves of one integer, the first being the lower one.
#[inline(always)]
pub(crate) fn pair(low: i16, high: i16) -> i32 {
    i32::from(high) << 16 | i32::from(low.cast_unsigned())
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

/// The same of a row of floats and one of brain floats, summed in the same order.
#[inline(always)]
pub(crate) fn brain_dot<S: Simd>(s: S, x: &[f32], w: &[u8]) -> f32 {
    let (chunks, rest) = S::chunks(x);
    let mut acc = s.splat(0.0);
    for (x, w) in chunks.iter().zip(S::brain_chunks(w)) {
        acc = s.fma(s.load(x), s.brains(w), acc);
    }
    let mut sum = s.sum(acc);
    for (x, w) in rest.iter().zip(&w.as_chunks().0[chunks.len() * S::LANES..]) {
        sum += x * of_brain(*w);
    }
    sum
}

/// A brain float, little endian.
#[inline(always)]
pub(crate) fn of_brain(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}
