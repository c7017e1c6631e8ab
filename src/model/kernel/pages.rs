//! Memory in large pages, where the system has them: it looks up and clears each page at its first touch, and a walk over
//! hundreds of megabytes needs 512 times fewer of 2 MiB than of 4 KiB.

/// Bytes of a large page; what is smaller gains nothing.
const LARGE: usize = 2 << 20;

/// Makes zeros.
pub(in crate::model) fn zeros(len: usize) -> Vec<f32> {
    let numbers = vec![0.0_f32; len];
    if size_of_val(&*numbers) >= 2 * LARGE {
        advise(&numbers);
    }
    numbers
}

/// Asks for large pages. A system that has none leaves all as it is.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "advice on whole pages within memory that is borrowed")]
fn advise(numbers: &[f32]) {
    let bytes = numbers.as_ptr_range();
    let (start, end) = (bytes.start.addr().next_multiple_of(LARGE), bytes.end.addr() / LARGE * LARGE);
    if let Some(len) = end.checked_sub(start).filter(|len| *len > 0) {
        let start = bytes.start.with_addr(start).cast_mut().cast();
        // SAFETY: the pages lie within `numbers`; the advice changes none of them.
        unsafe { libc::madvise(start, len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &[f32]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zeros_of_any_number() {
        for len in [0, 1, LARGE / 4, 3 * LARGE + 1] {
            assert!(zeros(len).iter().all(|number| number.to_bits() == 0) && zeros(len).len() == len);
        }
    }
}
