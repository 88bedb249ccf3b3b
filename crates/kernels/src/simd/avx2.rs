//! AVX2 with fused multiply-add and half-precision conversion: x86 since 2013.
#![expect(unsafe_code, reason = "vector intrinsics")]

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtsi64_si128,
    _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm_set_epi64x, _mm256_add_ps, _mm256_blendv_ps,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps,
    _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_storeu_ps, _mm256_sub_epi32,
};

use super::{Kernel, Simd};

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

#[target_feature(enable = "avx2,fma,f16c")]
fn with_features<K: Kernel>(s: Avx2, kernel: K) -> K::Out {
    kernel.run(s)
}

impl Simd for Avx2 {
    type V = __m256;
    type Chunk = [f32; 8];
    const LANES: usize = 8;

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
