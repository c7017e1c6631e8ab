//! A real server of llama.cpp, where one is installed.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Said where there is none.
pub(crate) const ABSENT: &str =
    "TUNESMITH_XLLAMACPP_PYTHON and TUNESMITH_SMOLLM2_GGUF are not set: llama.cpp's server was not asked";

/// llama.cpp's server in Python's `xllamacpp`; ended with the test.
pub(crate) struct LlamaServer {
    child: Child,
    pub(crate) address: String,
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl LlamaServer {
    /// Starts the server with a model; nothing where it is not installed.
    #[expect(clippy::disallowed_methods, reason = "whoever installed a server says so by the environment")]
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var("TUNESMITH_XLLAMACPP_PYTHON").ok()?;
        let model = PathBuf::from(std::env::var("TUNESMITH_SMOLLM2_GGUF").ok()?);
        let code = "import sys, xllamacpp as xl\np = xl.CommonParams()\np.model.path = sys.argv[1]\np.n_ctx = 4096\n\
                    p.n_parallel = 1\np.port = 0\np.warmup = False\ns = xl.Server(p)\nprint('address', s.listening_address, flush=True)\n\
                    sys.stdin.read()\n";
        let mut child = Command::new(python)
            .args(["-c", code])
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("address ").map(str::to_owned));
        Some(Self { child, address: format!("{}/v1", address.unwrap()) })
    }
}
