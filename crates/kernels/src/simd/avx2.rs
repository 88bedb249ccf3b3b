//! AVX2 with fused multiply-add and half-precision conversion: x86 since 2013.
#![expect(unsafe_code, reason = "vector intrinsics")]

use std::arch::{
    asm,
    x86_64::{
        __m256, __m256i, _CMP_UNORD_Q, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtph_ps,
        _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehdup_ps,
        _mm_movehl_ps, _mm_prefetch, _mm_set_epi64x, _mm256_add_epi16, _mm256_add_epi32,
        _mm256_add_ps, _mm256_and_si256, _mm256_blend_epi16, _mm256_blendv_ps, _mm256_castpd_ps,
        _mm256_castps_pd, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_castsi128_si256,
        _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
        _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
        _mm256_inserti128_si256, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_mullo_epi32, _mm256_or_si256,
        _mm256_permute4x64_pd, _mm256_permutevar8x32_ps, _mm256_set1_epi8, _mm256_set1_epi16,
        _mm256_set1_epi32, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_sll_epi32, _mm256_slli_epi16,
        _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srai_epi32, _mm256_srl_epi32,
        _mm256_srli_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi8,
        _mm256_sub_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
        _mm256_unpacklo_epi64,
    },
};

use super::{Kernel, SPREAD, Simd};

/// Proof that AVX2, FMA and F16C were detected: only [`Avx2::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        .then_some(Self(()))
    }

    pub(crate) fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: `self` proves that the features are present.
        unsafe { with_features(self, kernel) }
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(s: Avx2, kernel: K) -> K::Out {
    kernel.run(s)
}

impl Simd for Avx2 {
    type V = __m256;
    type Chunk = [f32; 8];
    const LANES: usize = 8;
    type Eight = __m256;
    type Ints = __m256i;
    type Pairs = __m256i;
    type PairChunk = [u32; 8];
    type BrainChunk = [[u8; 2]; 8];

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
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, from: &Self::Chunk) -> Self::V {
        // SAFETY: `self` proves the feature; a chunk is eight floats; any alignment will do.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut Self::Chunk) {
        // SAFETY: `self` proves the feature; a chunk is eight floats; any alignment will do.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        // SAFETY: `self` proves that the features are present.
        unsafe { sum(v) }
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

    #[inline(always)]
    fn half(self, bytes: [u8; 2]) -> f32 {
        // SAFETY: `self` proves that the features are present.
        unsafe { one_half(bytes) }
    }

    #[inline(always)]
    fn halves(self, bytes: &[[u8; 2]], out: &mut [f32]) {
        let ((eights, few), (chunks, rest)) = (bytes.as_chunks::<8>(), Self::chunks_mut(out));
        for (chunk, eight) in chunks.iter_mut().zip(eights) {
            // SAFETY: `self` proves that the features are present.
            self.store(unsafe { halves(*eight) }, chunk);
        }
        for (out, bytes) in rest.iter_mut().zip(few) {
            *out = self.half(*bytes);
        }
    }

    #[inline(always)]
    fn affine(self, q: u64, center: i32, scale: f32, offset: Option<f32>, out: &mut [f32; 8]) {
        // SAFETY: `self` proves that the features are present.
        let scaled = unsafe { scaled(q, center, scale) };
        let value = match offset {
            // SAFETY: `self` proves that the feature is present.
            Some(offset) => unsafe { _mm256_add_ps(scaled, self.splat(offset)) },
            None => scaled,
        };
        self.store(value, out);
    }

    #[inline(always)]
    fn lookup(self, q: u64, table: &[f32; 16], scale: f32, out: &mut [f32; 8]) {
        let (halves, _) = table.as_chunks();
        let (low, high) = (self.load(&halves[0]), self.load(&halves[1]));
        // SAFETY: `self` proves that the features are present.
        self.store(unsafe { looked_up(q, low, high, scale) }, out);
    }

    #[inline(always)]
    fn eight(self, from: &[f32; 8]) -> Self::Eight {
        self.load(from)
    }

    #[inline(always)]
    fn splat_eight(self, x: f32) -> Self::Eight {
        self.splat(x)
    }

    #[inline(always)]
    fn store_eight(self, v: Self::Eight, to: &mut [f32; 8]) {
        self.store(v, to);
    }

    #[inline(always)]
    fn mul_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn add_eight(self, a: Self::Eight, b: Self::Eight) -> Self::Eight {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn float(self, v: Self::Ints) -> Self::Eight {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_cvtepi32_ps(v) }
    }

    #[inline(always)]
    fn eight_halves(self, bytes: &[[u8; 8]; 2]) -> Self::Eight {
        // SAFETY: `self` proves that the features are present.
        unsafe { halves(bytemuck::cast(*bytes)) }
    }

    #[inline(always)]
    fn fma_eight(self, a: Self::Eight, b: Self::Eight, c: Self::Eight) -> Self::Eight {
        self.fma(a, b, c)
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: nothing is read or written, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 8]) -> Self::Ints {
        // SAFETY: `self` proves the feature; 32 bytes are readable; any alignment will do.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::Ints {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    fn store_ints(self, v: Self::Ints, to: &mut [i32; 8]) {
        // SAFETY: `self` proves the feature; 32 bytes are writable; any alignment will do.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the feature is present.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn ints_of(self, from: &[[u8; 8]; 4]) -> Self::Ints {
        // SAFETY: `self` proves the feature; 32 bytes are readable; any alignment will do.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn byte(self, v: Self::Ints, at: u32) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { byte(v, at) }
    }

    #[inline(always)]
    fn sub_bytes(self, v: Self::Ints, x: u8) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { lessened(v, x) }
    }

    #[inline(always)]
    fn bits(self, v: Self::Ints, shift: u32, mask: u32) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { bits(v, shift, mask) }
    }

    #[inline(always)]
    fn join(self, low: Self::Ints, high: Self::Ints, shift: u32) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { joined(low, high, shift) }
    }

    #[inline(always)]
    fn spread(self, v: Self::Ints, at: u32) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { spread(v, at) }
    }

    #[inline(always)]
    fn widen(self, v: Self::Ints) -> [Self::Ints; 2] {
        // SAFETY: `self` proves that the features are present.
        unsafe { widened(v) }
    }

    #[inline(always)]
    fn mul_bytes(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { bytes_multiplied(w, x, sums) }
    }

    #[inline(always)]
    fn settle(self, sums: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { settled(sums) }
    }

    #[inline(always)]
    fn mul_halves(self, w: Self::Ints, x: Self::Ints, sums: Self::Ints) -> Self::Ints {
        // SAFETY: `self` proves that the features are present.
        unsafe { halves_multiplied(w, x, sums) }
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
        // SAFETY: `self` proves the feature; 32 bytes are readable; any alignment will do.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
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
        let rows: &[_; 8] = rows.first_chunk().expect("as many rows as lanes");
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
#[target_feature(enable = "avx2,fma,f16c")]
fn brain_floats(from: &[[u8; 2]; 8]) -> __m256 {
    // SAFETY: 16 bytes are readable; any alignment will do.
    let words = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(words)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scaled(q: u64, center: i32, scale: f32) -> __m256 {
    let q = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(q.cast_signed()));
    let centered = _mm256_sub_epi32(q, _mm256_set1_epi32(center));
    _mm256_mul_ps(_mm256_cvtepi32_ps(centered), _mm256_set1_ps(scale))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn looked_up(q: u64, low: __m256, high: __m256, scale: f32) -> __m256 {
    let q = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(q.cast_signed()));
    // The three lower bits choose within a half, the fourth, as the sign, between the halves.
    let (low, high) = (_mm256_permutevar8x32_ps(low, q), _mm256_permutevar8x32_ps(high, q));
    let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(q));
    _mm256_mul_ps(_mm256_blendv_ps(low, high, upper), _mm256_set1_ps(scale))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn one_half(bytes: [u8; 2]) -> f32 {
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bytes)))))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves(bytes: [[u8; 2]; 8]) -> __m256 {
    let bytes = u128::from_le_bytes(bytemuck::cast(bytes));
    _mm256_cvtph_ps(_mm_set_epi64x((bytes >> 64) as i64, bytes as i64))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn byte(v: __m256i, at: u32) -> __m256i {
    let highest = _mm256_sll_epi32(v, _mm_cvtsi32_si128(24 - 8 * at.cast_signed()));
    _mm256_srai_epi32::<24>(highest)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lessened(v: __m256i, x: u8) -> __m256i {
    _mm256_sub_epi8(v, _mm256_set1_epi8(x.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bits(v: __m256i, shift: u32, mask: u32) -> __m256i {
    let moved = _mm256_srl_epi32(v, _mm_cvtsi32_si128(shift.cast_signed()));
    _mm256_and_si256(moved, _mm256_set1_epi32(mask.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn joined(low: __m256i, high: __m256i, shift: u32) -> __m256i {
    _mm256_or_si256(low, _mm256_sll_epi32(high, _mm_cvtsi32_si128(shift.cast_signed())))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn spread(v: __m256i, at: u32) -> __m256i {
    let spread = _mm256_mullo_epi32(bits(v, at, 15), _mm256_set1_epi32(SPREAD));
    _mm256_and_si256(spread, _mm256_set1_epi8(1))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widened(v: __m256i) -> [__m256i; 2] {
    [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v)]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes_multiplied(w: __m256i, x: __m256i, sums: __m256i) -> __m256i {
    in_order(_mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x)))
}

/// The same, unknown to the compiler, which otherwise puts long sums of integers in an order that
/// needs more registers than there are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_order(mut v: __m256i) -> __m256i {
    // SAFETY: there is no instruction.
    unsafe { asm!("/* {0} */", inout(ymm_reg) v, options(pure, nomem, nostack, preserves_flags)) };
    v
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn settled(sums: __m256i) -> __m256i {
    _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves_multiplied(w: __m256i, x: __m256i, sums: __m256i) -> __m256i {
    in_order(_mm256_add_epi32(sums, _mm256_madd_epi16(w, x)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pairs_multiplied(w: __m256i, x: u32, sums: __m256) -> __m256 {
    let x = _mm256_set1_epi32(x.cast_signed());
    let upper = _mm256_set1_epi32(-1 << 16);
    let floats = _mm256_castsi256_ps;
    let (w_upper, x_upper) = (_mm256_and_si256(w, upper), _mm256_and_si256(x, upper));
    let sums = _mm256_fmadd_ps(floats(w_upper), floats(x_upper), sums);
    let (w_lower, x_lower) = (_mm256_slli_epi32::<16>(w), _mm256_slli_epi32::<16>(x));
    _mm256_fmadd_ps(floats(w_lower), floats(x_lower), sums)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn across(rows: &[&[u8; 16]; 8], to: [&mut [u32; 8]; 4]) {
    // SAFETY: 16 bytes are readable; any alignment will do.
    let load = |i: usize| unsafe { _mm_loadu_si128(rows[i].as_ptr().cast()) };
    // Row `i` in the lower half, row `i + 4` in the upper.
    let two = |i| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(i)), load(i + 4));
    let [a, b, c, d] = [two(0), two(1), two(2), two(3)];
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_rest, cd_rest) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let words = [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_rest, cd_rest),
        _mm256_unpackhi_epi64(ab_rest, cd_rest),
    ];
    for (to, words) in to.into_iter().zip(words) {
        // SAFETY: 32 bytes are writable; any alignment will do.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words) }
    }
}

/// Brain floats in the upper halves, something in the lower.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn brains(v: __m256) -> __m256i {
    let bits = _mm256_castps_si256(v);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(1 << 22));
    let floats = _mm256_castsi256_ps;
    let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v);
    _mm256_castps_si256(_mm256_blendv_ps(floats(rounded), floats(quiet), is_nan))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lanes_rounded(low: __m256, high: __m256, to: &mut [u32; 8]) {
    let low = _mm256_srli_epi32::<16>(brains(low));
    let words = _mm256_blend_epi16::<0b1010_1010>(low, brains(high));
    // SAFETY: 32 bytes are writable; any alignment will do.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn row_rounded(first: __m256, second: __m256, to: &mut [u32; 8]) {
    // Every other one, two of `first` and two of `second` in each half; then those of `first` first.
    let in_order =
        |v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v)));
    let even = in_order(_mm256_shuffle_ps::<0b10_00_10_00>(first, second));
    let odd = in_order(_mm256_shuffle_ps::<0b11_01_11_01>(first, second));
    lanes_rounded(even, odd, to);
}
