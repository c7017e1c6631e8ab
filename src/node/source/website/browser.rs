//! Chromium as a renderer: a page's address in, what its scripts make of it out.
//!
//! Each page has a process of its own with an empty profile in the run's scratch folder: no cookies, no extensions, no
//! cache, nothing of the user's but the proxies that this program takes, too. Scripts have ten seconds of the page's own clock, the process thirty of ours.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::error::WebsiteError;
use crate::net::{NetError, proxy_variables, shown};
use crate::node::Run;
use crate::node::process::{die_with_parent, end_group};

/// The names that it is installed under.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// What one page may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How often a waiting run looks at its cancel flag.
const TICK: Duration = Duration::from_millis(50);

/// Bytes of one rendered page.
const MOST_BYTES: u64 = 16 << 20;

/// Bytes of its last words that an error quotes.
const QUOTED: usize = 400;

/// How it is started, but for profile, sandbox and address.
const FLAGS: [&str; 13] = [
    "--headless",
    "--dump-dom",
    "--virtual-time-budget=10000",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--window-size=1280,2000",
];

/// An installed Chromium.
#[derive(Debug)]
pub(super) struct Browser {
    program: PathBuf,
    path: String,
    /// Variables that tell it the way to the network.
    proxies: Vec<(&'static str, String)>,
}

impl Browser {
    /// Looks for one on the PATH that the run is given.
    pub(super) fn find(run: &Run<'_>) -> Result<Self, WebsiteError> {
        let path = run.secrets.environment("PATH").unwrap_or_default();
        let folders = || path.split(':').filter(|folder| folder.starts_with('/')).map(Path::new);
        let found = NAMES.iter().find_map(|name| folders().map(|folder| folder.join(name)).find(|file| file.is_file()));
        match found {
            Some(program) => {
                let proxies = proxy_variables(|name| run.secrets.environment(name)).collect();
                Ok(Self { program, path, proxies })
            }
            None => Err(WebsiteError::NoBrowser { looked_for: NAMES.map(|name| format!("`{name}`")).join(", ") }),
        }
    }

    /// Returns the page as its scripts leave it.
    pub(super) fn render(&self, run: &Run<'_>, url: &str) -> Result<Vec<u8>, WebsiteError> {
        fs_err::create_dir_all(run.scratch())?;
        let profile = tempfile::Builder::new().prefix("browser").tempdir_in(run.scratch())?;
        let mut child = self.start(profile.path(), url)?;
        let pid = child.id();
        let rendered = collect(run, &mut child, url);
        // It starts processes of its own, which go with it.
        end_group(pid, libc::SIGKILL);
        child.wait().ok();
        rendered
    }

    fn start(&self, profile: &Path, url: &str) -> Result<Child, WebsiteError> {
        let mut command = Command::new(&self.program);
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
        if is_root() {
            // Chromium refuses to start as root with its sandbox.
            command.arg("--no-sandbox");
        }
        command.arg(url).env_clear().env("PATH", &self.path).env("HOME", profile).env("TMPDIR", profile);
        command.envs(self.proxies.iter().map(|(name, value)| (name, value)));
        command.current_dir(profile).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        die_with_parent(&mut command);
        command.spawn().map_err(|cause| WebsiteError::BrowserFailed {
            url: shown(url),
            how: format!("`{}` does not start: {cause}", self.program.display()),
        })
    }
}

/// Waits for the page, as long as it may take.
fn collect(run: &Run<'_>, child: &mut Child, url: &str) -> Result<Vec<u8>, WebsiteError> {
    let end = Instant::now() + LIMIT;
    let page = read_aside(child.stdout.take());
    let words = read_aside(child.stderr.take());
    let page = loop {
        if run.cancel.is_cancelled() {
            return Err(NetError::Cancelled.into());
        }
        if Instant::now() > end {
            return Err(WebsiteError::BrowserSlow { url: shown(url), limit: LIMIT });
        }
        match page.recv_timeout(TICK) {
            Ok(page) => break page,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Vec::new(),
        }
    };
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > end => {
                return Err(WebsiteError::BrowserSlow { url: shown(url), limit: LIMIT });
            }
            None => std::thread::sleep(TICK),
        }
    };
    let failed = |how: String| Err(WebsiteError::BrowserFailed { url: shown(url), how });
    if page.len() as u64 > MOST_BYTES {
        return failed(format!("the page has more than {MOST_BYTES} bytes"));
    }
    if !status.success() || page.trim_ascii().is_empty() {
        let words = words.recv_timeout(TICK * 10).unwrap_or_default();
        let words = String::from_utf8_lossy(&words[words.len().saturating_sub(QUOTED)..]).trim().to_owned();
        return failed(format!("it ended with {status}; its last words: {words}"));
    }
    Ok(page)
}

/// Reads a stream in a thread of its own, which ends with the stream.
fn read_aside(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(stream) = stream {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok();
            sender.send(bytes).ok();
        });
    }
    receiver
}

#[expect(unsafe_code, reason = "the standard library does not tell whose process this is")]
fn is_root() -> bool {
    // SAFETY: `geteuid` touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::super::Website;
    use super::*;
    use crate::node::bench::Bench;

    #[test]
    fn a_browser_is_told_the_proxies_and_nothing_else_of_the_environment() {
        let mut bench = Bench::new();
        let program = bench.folder().join("chromium");
        fs_err::write(&program, "#!/bin/sh\n/usr/bin/env\n").unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        bench.environment = [
            ("PATH", bench.folder().display().to_string()),
            ("HTTP_PROXY", "http://plain:1".into()),
            ("ALL_PROXY", "http://all:2".into()),
            ("NO_PROXY", "intra.example".into()),
            ("GITHUB_TOKEN", "secret".into()),
        ]
        .into();
        let told = bench.with_run(&Website, &json!({}), Vec::new(), &[], |run| {
            Browser::find(run).unwrap().render(run, "http://site.example/").unwrap()
        });
        let told = String::from_utf8(told).unwrap();
        let mut names: Vec<&str> = told.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        // What a shell sets of its own.
        names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["HOME", "PATH", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"]);
        for line in ["http_proxy=http://plain:1", "https_proxy=http://all:2", "no_proxy=intra.example"] {
            assert!(told.lines().any(|said| said == line), "{told}");
        }
    }
}
