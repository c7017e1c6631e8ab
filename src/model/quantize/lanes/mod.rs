//! Vectors of floats, one number a lane, with the rounding of the reference: every operation rounds once, nothing is
//! fused, and no sum crosses lanes.
//!
//! The formulas are written once over [`Lanes`]; `f32` itself is the vector of one lane, for machines without AVX2.

#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, Div, Mul, Sub};

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Eight, Sixteen};

/// 1.5 · 2²³: added to a number below 2²² it leaves that number, rounded to an integer, in the lowest bits.
const MAGIC: f32 = 12_582_912.0;

/// Beyond this, [`MAGIC`] no longer rounds to an integer (`nearest_int` of `ggml-quants.c`).
const LARGEST_LEVEL: f32 = 4_194_303.0;

/// The largest float below a half: what is added before a number is cut off to round halves away from zero.
const BELOW_HALF: f32 = 0.499_999_97;

/// Some floats side by side.
pub(super) trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// A truth value a lane.
    type Mask: Copy;

    /// Lanes; they divide sixteen.
    const COUNT: usize;

    /// Returns the number in every lane.
    fn splat(number: f32) -> Self;
    /// Returns the first numbers.
    ///
    /// # Panics
    /// When there are fewer than lanes.
    fn load(numbers: &[f32]) -> Self;
    /// Writes the lanes to the first places.
    ///
    /// # Panics
    /// When there are fewer than lanes.
    fn store(self, numbers: &mut [f32]);
    /// Cuts each lane off to an integer and writes its lowest byte to the first places. What is no 32-bit integer
    /// gives zero, as the instruction `cvttss2si` and a cast to a byte do.
    ///
    /// # Panics
    /// When there are fewer than lanes.
    fn store_bytes(self, bytes: &mut [u8]);
    /// Returns the lanes without their signs.
    fn magnitude(self) -> Self;
    /// Returns the square roots.
    fn root(self) -> Self;
    /// Returns numbers whose integer part is the lanes rounded, halves away from zero (`roundf`).
    fn away_from_zero(self) -> Self;
    /// Returns `if self < other { self } else { other }`.
    fn lesser(self, other: Self) -> Self;
    /// Returns `if self > other { self } else { other }`.
    fn greater(self, other: Self) -> Self;
    /// Returns where `self < other`.
    fn less(self, other: Self) -> Self::Mask;
    /// Returns where `self != other`.
    fn differs(self, other: Self) -> Self::Mask;
    /// Returns where both hold.
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// Returns whether it holds anywhere.
    fn any(mask: Self::Mask) -> bool;
    /// Returns `yes` where the mask holds, and `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Rounds to integers and clamps them: `nearest_int` with all its bits, so that numbers which are too large, or no
    /// numbers, give what they give in the reference.
    fn level(self, low: i32, high: i32) -> Self;

    /// Does the same for numbers that [`Lanes::rounds`] holds of, with fewer instructions.
    #[inline(always)]
    fn near_level(self, low: i32, high: i32) -> Self {
        let magic = Self::splat(MAGIC);
        let (low, high) = (Self::splat(MAGIC + low as f32), Self::splat(MAGIC + high as f32));
        (self + magic).greater(low).lesser(high) - magic
    }

    /// Returns where the number is small enough for [`Lanes::near_level`].
    #[inline(always)]
    fn rounds(self) -> Self::Mask {
        self.magnitude().less(Self::splat(LARGEST_LEVEL))
    }
}

/// Rounds to an integer as `nearest_int` of `ggml-quants.c` does, whatever the number is.
pub(super) fn nearest(number: f32) -> i32 {
    ((number + MAGIC).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

impl Lanes for f32 {
    type Mask = bool;
    const COUNT: usize = 1;

    #[inline(always)]
    fn splat(number: f32) -> Self {
        number
    }

    #[inline(always)]
    fn load(numbers: &[f32]) -> Self {
        numbers[0]
    }

    #[inline(always)]
    fn store(self, numbers: &mut [f32]) {
        numbers[0] = self;
    }

    #[inline(always)]
    fn store_bytes(self, bytes: &mut [u8]) {
        let fits = (-2_147_483_648.0..2_147_483_648.0).contains(&self);
        bytes[0] = if fits { self as i32 as u8 } else { 0 };
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn away_from_zero(self) -> Self {
        self + BELOW_HALF.copysign(self)
    }

    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn less(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    #[expect(clippy::float_cmp, reason = "levels are whole numbers")]
    fn differs(self, other: Self) -> bool {
        self != other
    }

    #[inline(always)]
    fn both(a: bool, b: bool) -> bool {
        a && b
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }

    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn level(self, low: i32, high: i32) -> Self {
        nearest(self).min(high).max(low) as f32
    }
}
