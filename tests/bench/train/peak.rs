//! What the machine's cores can do at most: fused multiply-adds on registers alone.

use std::time::Instant;

/// Fused multiply-adds on vectors that one turn of the loop makes.
const CHAINS: usize = 12;

/// Returns floating-point operations per second of so many threads.
pub(super) fn flops_per_second(threads: usize, turns: usize) -> f64 {
    let start = Instant::now();
    let lanes: usize = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..threads).map(|_| scope.spawn(|| spin(std::hint::black_box(turns)))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    });
    2.0 * (lanes * CHAINS * turns) as f64 / start.elapsed().as_secs_f64()
}

/// Runs the loop on the widest vectors and returns their width.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions that the machine was asked for")]
fn spin(turns: usize) -> usize {
    // SAFETY: the machine has the instructions.
    unsafe {
        if is_x86_feature_detected!("avx512f") {
            wide(turns);
            16
        } else if is_x86_feature_detected!("fma") {
            narrow(turns);
            8
        } else {
            portable(turns)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn spin(turns: usize) -> usize {
    portable(turns)
}

/// Whatever the compiler makes of four numbers side by side.
fn portable(turns: usize) -> usize {
    let mut sums = [[1.0_f32; 4]; CHAINS];
    for _ in 0..turns {
        for sum in sums.iter_mut().flatten() {
            *sum = sum.mul_add(0.999, 1e-3);
        }
    }
    std::hint::black_box(sums);
    4
}

#[cfg(target_arch = "x86_64")]
macro_rules! spin {
    ($name:ident, $features:literal, $register:ident, $type:ident) => {
        /// The loop is written by hand: a compiler sees that it leads nowhere.
        #[expect(unsafe_code, reason = "no memory is touched")]
        #[target_feature(enable = $features)]
        unsafe fn $name(turns: usize) {
            use std::arch::x86_64::*;
            // SAFETY: registers only.
            unsafe {
                let mut sums: [$type; CHAINS] = std::mem::zeroed();
                let factor: $type = std::mem::zeroed();
                let [a, b, c, d, e, f, g, h, i, j, k, l] = &mut sums;
                std::arch::asm!(
                    "2:",
                    "vfmadd231ps {0}, {12}, {12}", "vfmadd231ps {1}, {12}, {12}", "vfmadd231ps {2}, {12}, {12}",
                    "vfmadd231ps {3}, {12}, {12}", "vfmadd231ps {4}, {12}, {12}", "vfmadd231ps {5}, {12}, {12}",
                    "vfmadd231ps {6}, {12}, {12}", "vfmadd231ps {7}, {12}, {12}", "vfmadd231ps {8}, {12}, {12}",
                    "vfmadd231ps {9}, {12}, {12}", "vfmadd231ps {10}, {12}, {12}", "vfmadd231ps {11}, {12}, {12}",
                    "dec {13}", "jnz 2b",
                    inout($register) *a, inout($register) *b, inout($register) *c, inout($register) *d,
                    inout($register) *e, inout($register) *f, inout($register) *g, inout($register) *h,
                    inout($register) *i, inout($register) *j, inout($register) *k, inout($register) *l,
                    in($register) factor, inout(reg) turns => _,
                    options(nomem, nostack)
                );
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
spin!(wide, "avx512f", zmm_reg, __m512);
#[cfg(target_arch = "x86_64")]
spin!(narrow, "avx2,fma", ymm_reg, __m256);
