//! Numbers of 16 and 32 bits as files have them, lowest byte first, read into floats of 32 bits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use half::f16;
use half::slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _};

/// Fills `numbers` with floats of 32 bits, from byte `start` of the file on.
pub(in crate::model) fn read_f32(file: &File, start: u64, numbers: &mut [f32]) -> io::Result<()> {
    file.read_exact_at(bytemuck::cast_slice_mut(numbers), start)?;
    for number in numbers {
        *number = f32::from_bits(u32::from_le(number.to_bits()));
    }
    Ok(())
}

/// Fills `numbers` with half-precision floats, from byte `start` of the file on.
pub(in crate::model) fn read_f16(file: &File, start: u64, numbers: &mut [f32]) -> io::Result<()> {
    read_halves(file, start, numbers, |halves, numbers| {
        halves.reinterpret_cast::<f16>().convert_to_f32_slice(numbers);
    })
}

/// Fills `numbers` with bfloat16s, from byte `start` of the file on.
pub(in crate::model) fn read_bf16(file: &File, start: u64, numbers: &mut [f32]) -> io::Result<()> {
    read_halves(file, start, numbers, |halves, numbers| {
        for (number, half) in numbers.iter_mut().zip(halves) {
            *number = f32::from_bits(u32::from(*half) << 16);
        }
    })
}

/// Reads numbers of 16 bits into the second half of their place and widens some of them at a time from its beginning: no
/// memory is needed but theirs.
fn read_halves(file: &File, start: u64, numbers: &mut [f32], widen: fn(&[u16], &mut [f32])) -> io::Result<()> {
    const SOME: usize = 64;
    let count = numbers.len();
    file.read_exact_at(&mut bytemuck::cast_slice_mut::<_, u8>(numbers)[2 * count..], start)?;
    let mut halves = [0; SOME];
    for first in (0..count).step_by(SOME) {
        let some = SOME.min(count - first);
        halves[..some].copy_from_slice(&bytemuck::cast_slice::<_, u16>(numbers)[count + first..][..some]);
        for half in &mut halves {
            *half = u16::from_le(*half);
        }
        widen(&halves[..some], &mut numbers[first..first + some]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use half::bf16;

    use super::*;

    #[test]
    fn numbers_come_back_from_any_place_of_a_file() {
        // Some that fill no whole step of the widening.
        let special = [0.0_f32, -0.0, 1.5, -3.25, 65_504.0, f32::INFINITY, 6.1e-5];
        let numbers: Vec<f32> = special.into_iter().chain((0..196).map(|at| (at - 98) as f32 * 0.37)).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7]).unwrap();
        for number in &numbers {
            file.write_all(&number.to_le_bytes()).unwrap();
        }
        for number in &numbers {
            file.write_all(&f16::from_f32(*number).to_le_bytes()).unwrap();
        }
        for number in &numbers {
            file.write_all(&bf16::from_f32(*number).to_le_bytes()).unwrap();
        }
        let bits = |numbers: &[f32], rounded: fn(f32) -> f32| -> Vec<u32> {
            numbers.iter().map(|&number| rounded(number).to_bits()).collect()
        };
        let mut found = vec![f32::NAN; numbers.len() - 1];
        let mut check = |start: usize, read: fn(&File, u64, &mut [f32]) -> io::Result<()>, rounded: fn(f32) -> f32| {
            read(&file, start as u64, &mut found).unwrap();
            assert_eq!(bits(&found, |number| number), bits(&numbers[1..], rounded));
        };
        let count = numbers.len();
        check(1 + 4, read_f32, |number| number);
        check(1 + 4 * count + 2, read_f16, |number| f16::from_f32(number).to_f32());
        check(1 + 6 * count + 2, read_bf16, |number| bf16::from_f32(number).to_f32());
        assert!(read_bf16(&file, 8 * count as u64, &mut found).is_err(), "the file ends early");
    }
}
