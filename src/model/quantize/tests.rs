//! Bytes held against the linked llama.cpp's, on every instruction set of this machine.
//!
//! A llama.cpp that was built before `.cargo/config.toml` told it to round after every operation fuses some of them, and
//! gives other bytes: then only the kept digests, which such a llama.cpp as is told gave, are compared.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::llama::quantize_rows;
use crate::model::gguf::tiny::noise;

/// Returns whether the linked llama.cpp rounds after every operation, and says so when it does not.
pub(crate) fn rounds_separately() -> bool {
    // Q4_0 multiplies each number by a factor and adds 8.5: some give another level when that is done in one step.
    let factor = |lowest: f32| 1.0 / (lowest / -8.0);
    let candidates = (0..1_000).flat_map(|step| {
        let lowest = -2.0 - step as f32 * 0.001;
        let near = move |level: u8| ((f32::from(level) + 0.499_999_52) / factor(lowest)).to_bits();
        (0..7).flat_map(move |level| (near(level) - 3..near(level) + 4).map(move |bits| (lowest, f32::from_bits(bits))))
    });
    let level = |lowest: f32, x: f32| (x * factor(lowest) + 8.5) as i32;
    let differs = |&(lowest, x): &(f32, f32)| level(lowest, x) != x.mul_add(factor(lowest), 8.5) as i32;
    let (lowest, x) = candidates.into_iter().find(differs).unwrap();
    let mut row = [0.0; 32];
    (row[0], row[1]) = (lowest, x);
    let mut bytes = [0; 18];
    quantize_rows(TensorType::from_name("Q4_0").unwrap().id(), &row, 32, None, &mut bytes).unwrap();
    let separate = i32::from(bytes[3] & 15) == level(lowest, x);
    if !separate {
        eprintln!("this llama.cpp fuses operations: build it again with `cargo clean -p llama-cpp-sys-2`");
    }
    separate
}

/// Numbers of a row: three super-blocks, so that vectors of two are not full.
const COLUMNS: usize = 768;

/// Whether the linked llama.cpp is compared with; else the vectors are held against plain floats.
static SEPARATE: LazyLock<bool> = LazyLock::new(rounds_separately);

fn types() -> impl Iterator<Item = TensorType> {
    TensorType::all().filter(|kind| makes(*kind))
}

/// Compares the bytes of one type with llama.cpp's.
fn compare(kind: TensorType, numbers: &[f32], columns: usize, importance: Option<&[f32]>) -> Result<(), String> {
    let bytes = kind.bytes(numbers.len() as u64).unwrap() as usize;
    let mut expected = vec![0xaa; bytes];
    let accepted = if *SEPARATE {
        quantize_rows(kind.id(), numbers, columns, importance, &mut expected).is_ok()
    } else {
        quantize_by(Vectors::Portable, kind, numbers, columns, importance, &mut expected)
    };
    for vectors in Vectors::available() {
        let mut found = vec![0x55; bytes];
        if quantize_by(vectors, kind, numbers, columns, importance, &mut found) != accepted {
            return Err(format!("{kind} on {vectors:?}: llama.cpp accepts it: {accepted}"));
        }
        let block = kind.block_bytes() as usize;
        let other = found.chunks(block).zip(expected.chunks(block)).position(|(found, expected)| found != expected);
        if let (true, Some(at)) = (accepted, other) {
            let elements = kind.block_elements() as usize;
            return Err(format!(
                "{kind} on {vectors:?}: block {at} of {:?}\n{:?}\nis not\n{:?}",
                &numbers[at * elements..][..elements],
                &found[at * block..][..block],
                &expected[at * block..][..block],
            ));
        }
    }
    Ok(())
}

#[track_caller]
fn check(name: &str, numbers: &[f32], columns: usize) {
    let importance: Vec<f32> = noise(9, columns).into_iter().map(|x| x * x * 3.0).collect();
    for kind in types() {
        for importance in [None, Some(&importance[..])] {
            if let Err(difference) = compare(kind, numbers, columns, importance) {
                panic!("{name}, importance {}: {difference}", importance.is_some());
            }
        }
    }
}

/// About normally distributed numbers.
fn gaussian(seed: u64, count: usize, deviation: f32) -> Vec<f32> {
    let uniform = noise(seed, count * 12);
    uniform.chunks_exact(12).map(|twelve| twelve.iter().sum::<f32>() * 0.5 * deviation).collect()
}

#[test]
fn gaussian_and_uniform_rows_are_llama_cpps() {
    for (seed, deviation) in [(1, 0.02), (2, 1.0), (3, 300.0)] {
        check("gaussian", &gaussian(seed, 16 * COLUMNS, deviation), COLUMNS);
        let uniform: Vec<f32> = noise(seed, 8 * COLUMNS).into_iter().map(|x| x * deviation).collect();
        check("uniform", &uniform, COLUMNS);
    }
    let short = gaussian(7, 96 * 5, 0.02);
    for kind in types().filter(|kind| kind.block_elements() == 32) {
        compare(kind, &short, 96, None).unwrap();
        compare(kind, &short, 96, Some(&[0.5; 96])).unwrap();
    }
}

/// FNV-1a.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, &byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn bytes_are_those_of_a_llama_cpp_that_rounds_after_every_operation() {
    let numbers = gaussian(1, 64 * COLUMNS, 0.02);
    let importance: Vec<f32> = noise(9, COLUMNS).into_iter().map(|x| x * x * 3.0).collect();
    let mut found = String::new();
    for kind in types() {
        let [plain, weighted] = [None, Some(&importance[..])].map(|importance| {
            let mut out = vec![0; kind.bytes(numbers.len() as u64).unwrap() as usize];
            assert!(quantize(kind, &numbers, COLUMNS, importance, &mut out));
            digest(&out)
        });
        found += &format!("{kind} {plain:016x} {weighted:016x}\n");
    }
    insta::assert_snapshot!(found, @r"
    Q4_0 c3ffd720d2615c20 3cf94be81d66601d
    Q4_1 b3722f736d9b3906 85ca07939b392b6d
    Q5_0 df406b2ae0a7add8 10c1deb02b6b950a
    Q5_1 84db2a906ef40bb8 248a9b7bb020b66f
    Q8_0 6f50d7e972bab98c 6f50d7e972bab98c
    Q2_K 72fac8bc100c12c6 fdbdbd529cc2ca85
    Q3_K f88d389715c74798 f26552f367c9c83b
    Q4_K f52bfb33a5f3bf0e 869e07d9991b3941
    Q5_K 736203f6ead644d3 5db8b3e3298348bc
    Q6_K e37b476433b4d249 1e19c17940cd13fc
    ");
}

#[test]
fn rows_rounded_to_sixteen_bits_are_llama_cpps() {
    let numbers: Vec<f32> = gaussian(4, 16 * COLUMNS, 0.05).into_iter().map(as_half).collect();
    check("16 bits", &numbers, COLUMNS);
}

#[test]
fn adversarial_blocks_are_llama_cpps() {
    let row = |number: &dyn Fn(usize) -> f32| (0..COLUMNS).map(number).collect::<Vec<_>>();
    let gauss = gaussian(5, COLUMNS, 0.02);
    for (name, numbers) in [
        ("zeros", row(&|_| 0.0)),
        ("negative zeros", row(&|at| if at % 3 == 0 { -0.0 } else { 0.0 })),
        ("ones", row(&|_| 1.0)),
        ("minus ones", row(&|_| -1.0)),
        ("alternating signs", row(&|at| if at % 2 == 0 { 0.37 } else { -0.37 })),
        ("one outlier a block", row(&|at| if at % 256 == 77 { 1_000.0 } else { gauss[at] })),
        ("one negative outlier", row(&|at| if at == 5 { -60_000.0 } else { gauss[at] })),
        ("one number that is not zero", row(&|at| if at == 300 { 0.5 } else { 0.0 })),
        ("zero sub-blocks", row(&|at| if at / 16 % 2 == 0 { gauss[at] } else { 0.0 })),
        ("all positive", row(&|at| gauss[at].abs() + 3.0)),
        ("all negative", row(&|at| -gauss[at].abs() - 3.0)),
        ("tiny range", row(&|at| 1.0 + at as f32 * f32::EPSILON)),
        ("tiny range around zero", row(&|at| gauss[at] * 1e-12)),
        ("at the limit of zeros", row(&|at| gauss[at] * 1e-13)),
        ("below it", row(&|at| gauss[at] * 1e-16)),
        ("squares vanish", row(&|at| gauss[at] * 1e-25)),
        ("denormals", row(&|at| f32::from_bits((at as u32 * 7_919) % 8_388_608))),
        ("signed denormals", row(&|at| f32::from_bits(((at as u32 * 7_919) % 8_388_608) | (at as u32 % 2) << 31))),
        ("smallest", row(&|at| f32::from_bits(at as u32 % 3))),
        (
            "around the smallest normal",
            row(&|at| f32::from_bits(8_388_608 + at as u32 * 1_000) * if at % 2 == 0 { 1.0 } else { -1.0 }),
        ),
        ("large", row(&|at| gauss[at] * 1e6)),
        ("beyond 16 bits", row(&|at| gauss[at] * 1e9)),
        ("huge", row(&|at| gauss[at] * 1e36)),
        ("the largest", row(&|at| if at % 2 == 0 { f32::MAX } else { -f32::MAX })),
        ("integers", row(&|at| (at % 16) as f32)),
        ("halves", row(&|at| (at % 31) as f32 * 0.5 - 7.5)),
        ("ties of a signed byte", row(&|at| if at % 32 == 0 { 127.0 } else { (at % 120) as f32 + 0.5 })),
        ("negative ties", row(&|at| if at % 32 == 0 { -127.0 } else { -((at % 120) as f32) - 0.5 })),
        (
            "just below ties",
            row(&|at| if at % 32 == 0 { 127.0 } else { f32::from_bits(((at % 120) as f32 + 0.5).to_bits() - 1) }),
        ),
        ("equal magnitudes", row(&|at| if at % 5 == 0 { -0.75 } else { 0.75 })),
        ("a ramp", row(&|at| at as f32 - 384.0)),
        ("powers", row(&|at| 2.0_f32.powi((at % 40) as i32 - 20) * if at % 7 == 0 { -1.0 } else { 1.0 })),
    ] {
        check(name, &numbers, COLUMNS);
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for number in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut numbers = gaussian(6, COLUMNS, 0.02);
        numbers[200] = number;
        for kind in types() {
            for vectors in Vectors::available() {
                let mut out = vec![0; kind.bytes(COLUMNS as u64).unwrap() as usize];
                assert!(!quantize_by(vectors, kind, &numbers, COLUMNS, None, &mut out), "{kind} with {number}");
            }
        }
    }
}

#[test]
fn importances_of_zero_and_of_very_different_sizes_are_llama_cpps() {
    let numbers = gaussian(8, 4 * COLUMNS, 0.02);
    let alternating: Vec<f32> = (0..COLUMNS).map(|at| if at % 2 == 0 { 0.0 } else { 1e6 }).collect();
    for importance in [vec![0.0; COLUMNS], alternating, vec![1e-20; COLUMNS], vec![1e20; COLUMNS]] {
        for kind in types() {
            compare(kind, &numbers, COLUMNS, Some(&importance)).unwrap();
        }
    }
}

/// A float of any size, or one that others are likely to be equal to.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -1.0_f32..1.0,
        2 => (-20.0_f32..20.0, -1.0_f32..1.0).prop_map(|(power, x)| x * power.exp2()),
        1 => Just(0.0_f32),
        1 => Just(0.125_f32),
        1 => (0_u32..0x7f7f_ffff, any::<bool>()).prop_map(|(bits, negative)| {
            f32::from_bits(bits | u32::from(negative) << 31)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_blocks_are_llama_cpps(
        numbers in prop::collection::vec(number(), 512),
        importance in prop::option::of(prop::collection::vec(0.0_f32..4.0, 512)),
    ) {
        for kind in types() {
            compare(kind, &numbers, 512, importance.as_deref()).map_err(TestCaseError::fail)?;
        }
    }
}
