//! Every seed of the fuzz targets, and all that they found once, is read without a panic.

#[path = "../fuzz/readers.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets are another crate, which calls them")]
mod readers;

use std::path::Path;

#[test]
fn what_the_fuzz_targets_found_stays_mended() {
    for (target, reader) in readers::READERS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let seeds: Vec<_> = fs_err::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            reader(&fs_err::read(seed).unwrap());
        }
    }
}
