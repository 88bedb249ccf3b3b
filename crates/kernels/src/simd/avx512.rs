//! AVX-512 with its products of bytes (VNNI) and of brain floats (BF16): servers since 2020, AMD's
//! processors since Zen 4. Registers of eight numbers stay those of AVX2.
#![expect(unsafe_code, reason = "vector intrinsics")]

use std::arch::x86_64::{
    __m256, __m256bh, __m256i, __m512, __m512bh, __m512i, _mm_loadu_si128, _mm256_castpd_ps,
    _mm256_dpbusd_epi32, _mm256_dpwssd_epi32, _mm256_loadu_si256, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_castsi128_si512, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_extractf64x4_pd,
    _mm512_fmadd_ps, _mm512_inserti32x4, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{Kernel, Simd, avx2::Avx2};

/// Proof that the instructions were detected: only [`Avx512::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(Avx2);

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512bf16"))
        .then(Avx2::detect)
        .flatten()
        .map(Self)
    }

    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: `self` proves that the features are present.
        unsafe { with_features(self, kernel) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")]
fn with_features<K: Kernel>(s: Avx512, kernel: K) -> K::Out {
    kernel.run(s)
}

/// Methods that are those of AVX2.
macro_rules! as_avx2 {
    ($(fn $name:ident(self $(, $argument:ident: $type:ty)*) $(-> $out:ty)?;)*) => {
        $(
            #[inline(always)]
            fn $name(self $(, $argument: $type)*) $(-> $out)? {
                self.0.$name($($argument),*)
            }
        )*
    };
}

impl Simd for Avx512 {
    type V = __m512;
    type Chunk = [f32; 16];
    const LANES: usize = 16;
    type Eight = __m256;
    type Ints = __m256i;
    type Pairs = __m512i;
    type PairChunk = [u32; 16];
    type BrainChunk = [[u8; 2]; 16];

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Out {
        self.enter(kernel)
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
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, from: &Self::Chunk) -> Self::V {
        // SAFETY: `self` proves the feature; a chunk is 16 floats; any alignment will do.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut Self::Chunk) {
        // SAFETY: `self` proves the feature; a chunk is 16 floats; any alignment will do.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: `self` proves that the feature is present.
        let [low, high] = unsafe { halves(v) };
        self.0.sum(self.0.add_eight(low, high))
    }

    #[inline(always)]
    fn brain_chunks(x: &[u8]) -> &[Self::BrainChunk] {
        x.as_chunks().0.as_chunks().0
    }

    #[inline(always)]
    fn brains(self, from: &Self::BrainChunk) -> Self::V {
        // SAFETY: `self` proves that the features are present.
        unsafe { brain_floats(from) }
    }

    as_avx2! {
        fn half(self, bytes: [u8; 2]) -> f32;
        fn halves(self, bytes: &[[u8; 2]], out: &mut [f32]);
        fn affine(self, q: u64, center: i32, scale: f32, offset: Option<f32>, out: &mut [f32; 8]);
        fn lookup(self, q: u64, table: &[f32; 16], scale: f32, out: &mut [f32; 8]);
        fn eight(self, from: &[f32; 8]) -> Self::Eight;
        fn splat_eight(self, x: f32) -> Self::Eight;
        fn store_eight(self, v: Self::Eight, to: &mut [f32; 8]);
        fn mul_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
        fn add_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
        fn float(self, v: Self::Ints) -> Self::Eight;
        fn eight_halves(self, bytes: &[[u8; 8]; 2]) -> Self::Eight;
        fn fma_eight(self, a: Self::Eight, b: Self::Eight, c: Self::Eight) -> Self::Eight;
        fn prefetch(self, at: *const u8);
        fn ints(self, from: &[i32; 8]) -> Self::Ints;
        fn splat_int(self, x: i32) -> Self::Ints;
        fn store_ints(self, v: Self::Ints, to: &mut [i32; 8]);
        fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
        fn ints_of(self, from: &[[u8; 8]; 4]) -> Self::Ints;
        fn byte(self, v: Self::Ints, at: u32) -> Self::Ints;
        fn sub_bytes(self, v: Self::Ints, x: u8) -> Self::Ints;
        fn bits(self, v: Self::Ints, shift: u32, mask: u32) -> Self::Ints;
        fn join(self, low: Self::Ints, high: Self::Ints, shift: u32) -> Self::Ints;
        fn spread(self, v: Self::Ints, at: u32) -> Self::Ints;
        fn widen(self, v: Self::Ints) -> [Self::Ints; 2];
    }

    #[inline(always)]
    fn mul_bytes(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { _mm256_dpbusd_epi32(sums, w, x) }
    }

    #[inline(always)]
    fn settle(self, sums: Self::Ints) -> Self::Ints {
        sums
    }

    #[inline(always)]
    fn mul_halves(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { _mm256_dpwssd_epi32(sums, w, x) }
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
        // SAFETY: `self` proves the feature; 64 bytes are readable; any alignment will do.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn round_lanes(self, low: Self::V, high: Self::V, to: &mut Self::PairChunk) {
        // SAFETY: `self` proves that the features are present.
        unsafe { lanes_rounded(low, high, to) }
    }

    #[inline(always)]
    fn round_row(self, first: Self::V, second: Self::V, to: &mut Self::PairChunk) {
        // SAFETY: `self` proves that the features are present.
        unsafe { row_rounded(first, second, to) }
    }

    #[inline(always)]
    fn across(self, rows: &[&[u8; 16]], to: [&mut Self::PairChunk; 4]) {
        let rows: &[_; 16] = rows.first_chunk().expect("as many rows as lanes");
        // SAFETY: `self` proves that the features are present.
        unsafe { across(rows, to) }
    }

    #[inline(always)]
    fn mul_pairs(self, w: Self::Pairs, x: u32, sums: Self::V) -> Self::V {
        // SAFETY: `self` proves that the features are present.
        unsafe { pairs_multiplied(w, x, sums) }
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn brain_floats(from: &[[u8; 2]; 16]) -> __m512 {
    // SAFETY: 32 bytes are readable; any alignment will do.
    let words = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn halves(v: __m512) -> [__m256; 2] {
    let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v));
    [_mm512_castps512_ps256(v), _mm256_castpd_ps(high)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs_multiplied(w: __m512i, x: u32, sums: __m512) -> __m512 {
    let x: __m512bh = as_brains(_mm512_set1_epi32(x.cast_signed()));
    _mm512_dpbf16_ps(sums, as_brains(w), x)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bf16")]
fn lanes_rounded(low: __m512, high: __m512, to: &mut [u32; 16]) {
    // SAFETY: both are 32 bytes, any of which are a value.
    let bits = |brains: __m256bh| unsafe { std::mem::transmute::<__m256bh, __m256i>(brains) };
    let low = _mm512_cvtepu16_epi32(bits(_mm512_cvtneps_pbh(low)));
    let high = _mm512_cvtepu16_epi32(bits(_mm512_cvtneps_pbh(high)));
    let words = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
    // SAFETY: 64 bytes are writable; any alignment will do.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn row_rounded(first: __m512, second: __m512, to: &mut [u32; 16]) {
    *to = as_words(_mm512_cvtne2ps_pbh(second, first));
}

/// The same bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn as_words(brains: __m512bh) -> [u32; 16] {
    // SAFETY: both are 64 bytes, any of which are a value.
    unsafe { std::mem::transmute(brains) }
}

/// The same bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn as_brains(words: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes, any of which are a value.
    unsafe { std::mem::transmute(words) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn across(rows: &[&[u8; 16]; 16], to: [&mut [u32; 16]; 4]) {
    // SAFETY: 16 bytes are readable; any alignment will do.
    let load = |i: usize| unsafe { _mm_loadu_si128(rows[i].as_ptr().cast()) };
    // Rows `i`, `i + 4`, `i + 8` and `i + 12`, a quarter each.
    let four = |i| {
        let one = _mm512_castsi128_si512(load(i));
        let two = _mm512_inserti32x4::<1>(one, load(i + 4));
        let three = _mm512_inserti32x4::<2>(two, load(i + 8));
        _mm512_inserti32x4::<3>(three, load(i + 12))
    };
    let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_rest, cd_rest) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    let words = [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_rest, cd_rest),
        _mm512_unpackhi_epi64(ab_rest, cd_rest),
    ];
    for (to, words) in to.into_iter().zip(words) {
        // SAFETY: 64 bytes are writable; any alignment will do.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), words) }
    }
}
