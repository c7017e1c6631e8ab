//! Every seed of the fuzz targets, all that they found once, and texts near them are read without a panic.

#[path = "../fuzz/readers.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets are another crate, which calls them")]
mod readers;

use std::path::Path;

use crate::support::count;

/// Longer seeds are changed in their beginning alone: what is read of them is mostly that.
const LONGEST: usize = 1 << 16;

/// Returns the seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs_err::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target}");
    paths.iter().map(|path| fs_err::read(path).unwrap()).collect()
}

/// Numbers of chance, the same each time (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// Changes bytes in one to four places: flipped, put in, taken out, repeated, or made what readers stumble over.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        const BENT: [&[u8]; 8] = [
            b"\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\0\0\0\0",
            b"99999999999999999999",
            b"-1",
            b"{",
            b"\"",
            b"[[[[",
            b"\xf0\x9f",
        ];
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().min(LONGEST) + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.splice(at..at, BENT[self.below(BENT.len())].iter().copied())),
                2 if at < end => drop(bytes.drain(at..end)),
                3 if at < end => bytes.extend_from_within(at..end),
                _ => bytes.truncate(at.max(1)),
            }
        }
    }
}

#[test]
fn what_the_fuzz_targets_found_stays_mended() {
    for (target, reader) in readers::READERS {
        for seed in seeds(target) {
            reader(&seed);
        }
    }
}

#[test]
fn what_is_near_a_seed_is_read_or_refused() {
    for (target, reader) in readers::READERS {
        let (seeds, mut chance) = (seeds(target), Chance(0x9e37_79b9_7f4a_7c15));
        for _ in 0..count((60, 20_000)) {
            let mut bytes = seeds[chance.below(seeds.len())].clone();
            chance.change(&mut bytes);
            reader(&bytes);
        }
    }
}
