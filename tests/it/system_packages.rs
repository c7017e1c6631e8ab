//! `.ci/system-packages` on machines that lack something: it installs that, or says in one line what to run.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// A machine with these programs alone, each a script.
fn machine(programs: &[(&str, &str)], parts: &[&str]) -> Output {
    machine_with(programs, &[], parts)
}

/// The same with these libraries in `/usr/lib/x86_64-linux-gnu`.
fn machine_with(programs: &[(&str, &str)], libraries: &[&str], parts: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let library_folder = folder.path().join("usr/lib/x86_64-linux-gnu");
    fs_err::create_dir_all(&library_folder).unwrap();
    for name in libraries {
        fs_err::write(library_folder.join(name), "").unwrap();
    }
    for (name, script) in programs {
        let path = folder.path().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["env", "sh"] {
        symlink(Path::new("/usr/bin").join(name), folder.path().join(name)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/system-packages");
    Command::new("/bin/sh")
        .arg(script)
        .args(parts)
        .env_clear()
        .env("PATH", folder.path())
        .env("SYSROOT", folder.path())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

const USER: (&str, &str) = ("id", "echo 1000");
const ROOT: (&str, &str) = ("id", "echo 0");
const APT: (&str, &str) = ("apt-get", "echo apt-get $DEBIAN_FRONTEND $*");
const NO_SUDO: (&str, &str) = ("sudo", "exit 1");

#[test]
fn a_complete_machine_is_left_alone() {
    let output =
        machine(&[("g++", ""), ("cmake", ""), ("python3", ""), ("apt-get", "exit 9")], &["compiler", "cmake", "pip"]);
    assert!(output.status.success() && stderr(&output).is_empty(), "{output:?}");
}

#[test]
fn a_user_without_rights_is_told_one_line() {
    let output = machine(&[("g++", ""), USER, APT, NO_SUDO], &["compiler", "cmake", "pip"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "missing: cmake pip; please run: sudo apt-get update && sudo apt-get install -y --no-install-recommends cmake python3-pip\n"
    );
    let output = machine(&[USER], &["cmake"]);
    assert_eq!(stderr(&output), "missing: cmake; no package manager is known here, please install them by hand\n");
}

#[test]
fn root_and_sudo_install_what_is_missing() {
    let output = machine(&[ROOT, APT], &["compiler", "cmake"]);
    assert!(output.status.success(), "{output:?}");
    let installed = "installing: g++ cmake\napt-get noninteractive update\n\
                     apt-get noninteractive install -y --no-install-recommends g++ cmake\n";
    assert_eq!(stderr(&output), installed);
    let dnf = ("dnf", "echo dnf $*");
    let output = machine(&[USER, dnf, ("sudo", "[ $1 = -n ] || { echo sudo; \"$@\"; }")], &["compiler"]);
    assert_eq!(stderr(&output), "installing: gcc-c++\nsudo\ndnf install -y gcc-c++\n");
}

#[test]
fn the_library_of_the_cxx_interface_is_not_libclang() {
    let cxx_alone = machine_with(&[ROOT, APT], &["libclang-cpp.so.14"], &["libclang"]);
    assert!(stderr(&cxx_alone).starts_with("installing: libclang-dev\n"), "{cxx_alone:?}");
    let both = machine_with(&[ROOT, APT], &["libclang-cpp.so.14", "libclang-14.so.1"], &["libclang"]);
    assert!(both.status.success() && stderr(&both).is_empty(), "{both:?}");
}

#[test]
fn an_installation_that_fails_fails() {
    let output = machine(&[ROOT, ("apt-get", "exit 100")], &["cmake"]);
    assert_eq!(output.status.code(), Some(100));
}
