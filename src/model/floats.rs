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
    read_halves(file, start, numbers.len())?.reinterpret_cast::<f16>().convert_to_f32_slice(numbers);
    Ok(())
}

/// Fills `numbers` with bfloat16s, from byte `start` of the file on.
pub(in crate::model) fn read_bf16(file: &File, start: u64, numbers: &mut [f32]) -> io::Result<()> {
    let halves = read_halves(file, start, numbers.len())?;
    for (number, half) in numbers.iter_mut().zip(halves) {
        *number = f32::from_bits(u32::from(half) << 16);
    }
    Ok(())
}

fn read_halves(file: &File, start: u64, count: usize) -> io::Result<Vec<u16>> {
    let mut halves = vec![0_u16; count];
    file.read_exact_at(bytemuck::cast_slice_mut(&mut halves), start)?;
    for half in &mut halves {
        *half = u16::from_le(*half);
    }
    Ok(halves)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use half::bf16;

    use super::*;

    #[test]
    fn numbers_come_back_from_any_place_of_a_file() {
        let numbers = [0.0_f32, -0.0, 1.5, -3.25, 65_504.0, f32::INFINITY, 6.1e-5];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7]).unwrap();
        for number in numbers {
            file.write_all(&number.to_le_bytes()).unwrap();
        }
        for number in numbers {
            file.write_all(&f16::from_f32(number).to_le_bytes()).unwrap();
        }
        for number in numbers {
            file.write_all(&bf16::from_f32(number).to_le_bytes()).unwrap();
        }
        let mut found = [f32::NAN; 6];
        let mut check = |start: u64, read: fn(&File, u64, &mut [f32]) -> io::Result<()>, rounded: fn(f32) -> f32| {
            read(&file, start, &mut found).unwrap();
            assert_eq!(
                found.map(f32::to_bits).as_slice(),
                numbers.map(|number| rounded(number).to_bits())[1..].as_ref()
            );
        };
        check(1 + 4, read_f32, |number| number);
        check(1 + 28 + 2, read_f16, |number| f16::from_f32(number).to_f32());
        check(1 + 28 + 14 + 2, read_bf16, |number| bf16::from_f32(number).to_f32());
        assert!(read_f32(&file, 50, &mut found).is_err(), "the file ends early");
    }
}
