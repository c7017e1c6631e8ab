//! Where Ollama keeps its models on this machine.

use std::path::{Path, PathBuf};

/// Returns the folder of Ollama's models, from the variables that Ollama itself reads; `None` when neither is set.
pub(super) fn folder(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let in_home = || environment("HOME").map(|home| Path::new(&home).join(".ollama/models"));
    environment("OLLAMA_MODELS").map(PathBuf::from).or_else(in_home)
}

/// Returns where the file of a digest, `sha256:` and lower-case hexadecimal, lies in such a folder.
pub(super) fn blob(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs").join(digest.replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_that_ollama_uses() {
        let set = |variable: &'static str| move |name: &str| (name == variable).then(|| "/x".to_owned());
        assert_eq!(folder(set("OLLAMA_MODELS")).unwrap(), Path::new("/x"));
        assert_eq!(folder(set("HOME")).unwrap(), Path::new("/x/.ollama/models"));
        assert_eq!(folder(|_| None), None);
    }
}
