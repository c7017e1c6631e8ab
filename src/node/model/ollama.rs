//! Ollama's local store: from a model's name to its GGUF, with no download.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ModelError;
use super::origin::OllamaName;
use super::verify::Pin;
use crate::node::ollama_store;

/// The layer that holds the weights.
const MODEL_LAYER: &str = "application/vnd.ollama.image.model";

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    size: Option<u64>,
}

/// The layer of a manifest that holds the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelLayer {
    /// The SHA-256, by which Ollama names the file.
    pub(super) pin: Pin,
    /// Bytes, where the manifest says so.
    pub(super) size: Option<u64>,
}

/// Reads a manifest, as it is in the store and as registries give it.
///
/// # Errors
/// [`ModelError::BadOllamaManifest`] when it names no weights.
pub(super) fn model_layer(name: &OllamaName, manifest: &[u8]) -> Result<ModelLayer, ModelError> {
    let bad = |what: String| ModelError::BadOllamaManifest { name: name.to_string(), what };
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|error| bad(error.to_string()))?;
    let layer = manifest.layers.iter().find(|layer| layer.media_type == MODEL_LAYER);
    let layer = layer.ok_or_else(|| bad(format!("no layer is a `{MODEL_LAYER}`")))?;
    match layer.digest.parse::<Pin>() {
        Ok(pin @ Pin::Sha256(_)) => Ok(ModelLayer { pin, size: layer.size }),
        _ => Err(bad(format!("`{}` is no digest", layer.digest))),
    }
}

/// Returns where the weights of `name` lie, and their SHA-256 by which Ollama names the file; `None` when the store does
/// not have the model.
///
/// # Errors
/// [`ModelError::BadOllamaManifest`] when its manifest names no weights.
pub(super) fn locate(store: &Path, name: &OllamaName) -> Result<Option<(PathBuf, Pin)>, ModelError> {
    let manifest = store.join("manifests").join(&name.host).join(&name.namespace).join(&name.model).join(&name.tag);
    let text = match fs_err::read(&manifest) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let pin = model_layer(name, &text)?.pin;
    let path = ollama_store::blob(store, &pin.to_string());
    Ok(path.is_file().then_some((path, pin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> OllamaName {
        OllamaName {
            host: "registry.ollama.ai".into(),
            namespace: "library".into(),
            model: "tiny".into(),
            tag: "1b".into(),
        }
    }

    #[test]
    fn the_manifest_leads_to_the_blob_of_the_weights() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests/registry.ollama.ai/library/tiny");
        fs_err::create_dir_all(&manifests).unwrap();
        fs_err::create_dir_all(folder.path().join("blobs")).unwrap();
        let digits = "ab".repeat(32);
        let text = format!(
            r#"{{"schemaVersion":2,"layers":[
                {{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:00","size":1}},
                {{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{digits}","size":3}}]}}"#
        );
        fs_err::write(manifests.join("1b"), text).unwrap();
        assert_eq!(locate(folder.path(), &name()).unwrap(), None, "the blob is gone");
        let blob = folder.path().join(format!("blobs/sha256-{digits}"));
        fs_err::write(&blob, "abc").unwrap();
        assert_eq!(locate(folder.path(), &name()).unwrap(), Some((blob, Pin::Sha256(digits))));
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests/registry.ollama.ai/library/tiny");
        fs_err::create_dir_all(&manifests).unwrap();
        let text = r#"{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"../../../etc/passwd"}]}"#;
        fs_err::write(manifests.join("1b"), text).unwrap();
        assert!(matches!(locate(folder.path(), &name()), Err(ModelError::BadOllamaManifest { .. })));
    }
}
