//! Vectors of AVX2 and AVX-512.

#![expect(unsafe_code, reason = "vector instructions; only `super::super::run` starts code that uses these types")]

use std::arch::x86_64::{
    __m256, __m512, __mmask16, _CMP_LT_OQ, _CMP_NEQ_UQ, _mm_packus_epi16, _mm_packus_epi32, _mm_storel_epi64,
    _mm_storeu_si128, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_andnot_ps, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvttps_epi32, _mm256_div_ps,
    _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_max_epi32, _mm256_max_ps, _mm256_min_epi32, _mm256_min_ps,
    _mm256_movemask_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_sqrt_ps,
    _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps, _mm512_abs_ps, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps,
    _mm512_cvttps_epi32, _mm512_div_ps, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_epi32, _mm512_max_ps,
    _mm512_min_epi32, _mm512_min_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_sqrt_ps,
    _mm512_storeu_ps, _mm512_sub_epi32, _mm512_sub_ps,
};
use std::ops::{Add, Div, Mul, Sub};

use super::{BELOW_HALF, Lanes, MAGIC};

/// Eight floats, on machines with AVX2.
#[derive(Clone, Copy)]
pub(in crate::model::quantize) struct Eight(__m256);

/// Sixteen floats, on machines with AVX-512.
#[derive(Clone, Copy)]
pub(in crate::model::quantize) struct Sixteen(__m512);

macro_rules! arithmetic {
    ($vector:ident: $($operator:ident $method:ident $instruction:ident),+) => {
        $(impl $operator for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: code with these vectors runs on machines that have them.
                Self(unsafe { $instruction(self.0, other.0) })
            }
        })+
    };
}

arithmetic!(Eight: Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps);
arithmetic!(Sixteen: Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps);

impl Lanes for Eight {
    type Mask = __m256;
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_set1_ps(number) })
    }

    #[inline(always)]
    fn load(numbers: &[f32]) -> Self {
        // SAFETY: as for the arithmetic; the slice is as long as the vector.
        Self(unsafe { _mm256_loadu_ps(numbers[..8].as_ptr()) })
    }

    #[inline(always)]
    fn store(self, numbers: &mut [f32]) {
        // SAFETY: as for the arithmetic; the slice is as long as the vector.
        unsafe { _mm256_storeu_ps(numbers[..8].as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn store_bytes(self, bytes: &mut [u8]) {
        // SAFETY: as for the arithmetic; the slice takes eight bytes.
        unsafe {
            let integers = _mm256_and_si256(_mm256_cvttps_epi32(self.0), _mm256_set1_epi32(0xff));
            let pairs = _mm_packus_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
            _mm_storel_epi64(bytes[..8].as_mut_ptr().cast(), _mm_packus_epi16(pairs, pairs));
        }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    fn root(self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn away_from_zero(self) -> Self {
        // SAFETY: as for the arithmetic.
        unsafe {
            let sign = _mm256_and_ps(_mm256_set1_ps(-0.0), self.0);
            Self(_mm256_add_ps(self.0, _mm256_or_ps(sign, _mm256_set1_ps(BELOW_HALF))))
        }
    }

    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> __m256 {
        // SAFETY: as for the arithmetic.
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn differs(self, other: Self) -> __m256 {
        // SAFETY: as for the arithmetic.
        unsafe { _mm256_cmp_ps::<_CMP_NEQ_UQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn both(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as for the arithmetic.
        unsafe { _mm256_and_ps(a, b) }
    }

    #[inline(always)]
    fn any(mask: __m256) -> bool {
        // SAFETY: as for the arithmetic.
        unsafe { _mm256_movemask_ps(mask) != 0 }
    }

    #[inline(always)]
    fn select(mask: __m256, yes: Self, no: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm256_blendv_ps(no.0, yes.0, mask) })
    }

    #[inline(always)]
    fn level(self, low: i32, high: i32) -> Self {
        // SAFETY: as for the arithmetic.
        unsafe {
            let bits = _mm256_castps_si256(_mm256_add_ps(self.0, _mm256_set1_ps(MAGIC)));
            let bits = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
            let integers = _mm256_sub_epi32(bits, _mm256_set1_epi32(0x0040_0000));
            let integers = _mm256_min_epi32(integers, _mm256_set1_epi32(high));
            Self(_mm256_cvtepi32_ps(_mm256_max_epi32(integers, _mm256_set1_epi32(low))))
        }
    }
}

impl Lanes for Sixteen {
    type Mask = __mmask16;
    const COUNT: usize = 16;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_set1_ps(number) })
    }

    #[inline(always)]
    fn load(numbers: &[f32]) -> Self {
        // SAFETY: as for the arithmetic; the slice is as long as the vector.
        Self(unsafe { _mm512_loadu_ps(numbers[..16].as_ptr()) })
    }

    #[inline(always)]
    fn store(self, numbers: &mut [f32]) {
        // SAFETY: as for the arithmetic; the slice is as long as the vector.
        unsafe { _mm512_storeu_ps(numbers[..16].as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn store_bytes(self, bytes: &mut [u8]) {
        // SAFETY: as for the arithmetic; the slice takes sixteen bytes.
        unsafe {
            let integers = _mm512_cvttps_epi32(self.0);
            _mm_storeu_si128(bytes[..16].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(integers));
        }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn root(self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn away_from_zero(self) -> Self {
        // SAFETY: as for the arithmetic.
        unsafe {
            let sign = _mm512_and_si512(_mm512_set1_epi32(i32::MIN), _mm512_castps_si512(self.0));
            let half = _mm512_or_si512(sign, _mm512_castps_si512(_mm512_set1_ps(BELOW_HALF)));
            Self(_mm512_add_ps(self.0, _mm512_castsi512_ps(half)))
        }
    }

    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn less(self, other: Self) -> __mmask16 {
        // SAFETY: as for the arithmetic.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn differs(self, other: Self) -> __mmask16 {
        // SAFETY: as for the arithmetic.
        unsafe { _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn both(a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }

    #[inline(always)]
    fn any(mask: __mmask16) -> bool {
        mask != 0
    }

    #[inline(always)]
    fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
        // SAFETY: as for the arithmetic.
        Self(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
    }

    #[inline(always)]
    fn level(self, low: i32, high: i32) -> Self {
        // SAFETY: as for the arithmetic.
        unsafe {
            let bits = _mm512_castps_si512(_mm512_add_ps(self.0, _mm512_set1_ps(MAGIC)));
            let bits = _mm512_and_si512(bits, _mm512_set1_epi32(0x007f_ffff));
            let integers = _mm512_sub_epi32(bits, _mm512_set1_epi32(0x0040_0000));
            let integers = _mm512_min_epi32(integers, _mm512_set1_epi32(high));
            Self(_mm512_cvtepi32_ps(_mm512_max_epi32(integers, _mm512_set1_epi32(low))))
        }
    }
}
