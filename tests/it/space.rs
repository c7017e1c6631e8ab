//! A store on a disk that is full or read-only: a clear error, nothing lost, and the next build goes on.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::program::{Ran, tunesmith, write};

/// Rows of the source; about 3 MB of text that no two chunks share.
const ROWS: usize = 12_000;
/// Sizes of the disk: from one that has not even room for the store to one that nearly has room for all, in KiB.
const SIZES: [usize; 7] = [64, 512, 1_000, 2_000, 4_000, 7_000, 10_000];
/// Enough for everything, in KiB.
const ENOUGH: usize = 64_000;

const MANIFEST: &str = "schema = 1\n[cache]\ndir = \"disk/cache\"\n\
    [source.rows]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n\
    [filter.dataset]\ntype = \"split\"\nfrom = [\"rows\"]\nout = \"train.jsonl\"\n";

/// A disk of a limited size, mounted in the test's own namespace; `None` where the right to mount is lacking.
struct Disk {
    holder: std::process::Child,
}

impl Disk {
    fn mount(folder: &Path, kib: usize) -> Option<Self> {
        fs_err::create_dir_all(folder).unwrap();
        let script =
            format!("mount -t tmpfs -o size={kib}k none '{}' && echo ready && exec sleep 600", folder.display());
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let output = holder.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut said).unwrap();
        let disk = Self { holder };
        (said == "ready\n").then_some(disk)
    }

    /// Runs a command that sees the disk.
    fn run(&self, folder: &Path, command: &[&str]) -> Ran {
        let process = self.holder.id().to_string();
        Command::new("nsenter")
            .args(["--preserve-credentials", "--user", "--mount", "--target", &process])
            .arg(format!("--wd={}", folder.display()))
            .args(command)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
            .into()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

const TUNESMITH: &str = env!("CARGO_BIN_EXE_tunesmith");

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::new();
    let mut state = 1_u64;
    for number in 0..ROWS {
        let mut words = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            write!(words, "{state:x} ").unwrap();
        }
        writeln!(rows, "{{\"instruction\":\"question {number}\",\"output\":\"{words}\"}}").unwrap();
    }
    write(folder.path(), &[("pipeline.toml", MANIFEST), ("rows.jsonl", &rows)]);
    folder
}

#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let undisturbed = project();
    tunesmith(undisturbed.path(), &["build"]).expect(0);
    let expected = fs_err::read(undisturbed.path().join("train.jsonl")).unwrap();
    for kib in SIZES {
        let space = project();
        let Some(disk) = Disk::mount(&space.path().join("disk"), kib) else { return };
        let full = disk.run(space.path(), &[TUNESMITH, "build"]);
        let out = fs_err::read(space.path().join("train.jsonl"));
        assert!(out.is_err() || out.unwrap() == expected, "{kib} KiB: a part of the output");
        if full.code != Some(0) {
            assert_eq!(full.code, Some(1), "{kib} KiB: {}", full.err);
            assert!(full.err.contains("No space left") || full.err.contains("disk is full"), "{kib} KiB: {}", full.err);
        }
        let disk_folder = space.path().join("disk").display().to_string();
        disk.run(space.path(), &["mount", "-o", &format!("remount,size={ENOUGH}k"), &disk_folder]).expect(0);
        disk.run(space.path(), &[TUNESMITH, "build"]).expect(0);
        assert!(fs_err::read(space.path().join("train.jsonl")).unwrap() == expected, "{kib} KiB");
        disk.run(space.path(), &[TUNESMITH, "cache", "verify"]).expect(0);
    }
}

#[test]
fn a_store_that_cannot_be_written_is_an_error_and_keeps_what_it_has() {
    let space = project();
    let Some(disk) = Disk::mount(&space.path().join("disk"), ENOUGH) else { return };
    disk.run(space.path(), &[TUNESMITH, "build"]).expect(0);
    let disk_folder = space.path().join("disk").display().to_string();
    disk.run(space.path(), &["mount", "-o", "remount,ro", &disk_folder]).expect(0);
    let old = fs_err::read_to_string(space.path().join("rows.jsonl")).unwrap();
    let mut rows = old.clone();
    rows.push_str("{\"instruction\":\"one more\",\"output\":\"row\"}\n");
    fs_err::write(space.path().join("rows.jsonl"), rows).unwrap();
    let before = fs_err::read(space.path().join("train.jsonl")).unwrap();
    let refused = disk.run(space.path(), &[TUNESMITH, "build"]).expect(1);
    assert!(refused.err.contains("cannot be written") && refused.err.contains("ead-only"), "{}", refused.err);
    assert!(fs_err::read(space.path().join("train.jsonl")).unwrap() == before);
    disk.run(space.path(), &["mount", "-o", "remount,rw", &disk_folder]).expect(0);
    let built = disk.run(space.path(), &[TUNESMITH, "build"]).expect(0);
    assert!(built.err.contains("2 built, 0 fresh"), "{}", built.err);
    assert!(fs_err::read(space.path().join("train.jsonl")).unwrap() != before);
    fs_err::write(space.path().join("rows.jsonl"), old).unwrap();
    let restored = disk.run(space.path(), &[TUNESMITH, "build"]).expect(0);
    assert!(restored.err.contains("0 built, 2 fresh"), "{}", restored.err);
}
