//! A registry of Ollama's: from a model's name to the digest and the bytes of its GGUF.

use super::error::ModelError;
use super::fetch::{Remote, client, fetch, net_error};
use super::ollama;
use super::origin::OllamaName;
use super::verify::Pin;
use crate::net::{NetError, Request, Url};
use crate::node::{NodeError, Run};
use std::path::PathBuf;

/// The form of manifests.
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Fetches the weights of `name`, and returns where they are and their SHA-256.
///
/// # Errors
/// [`ModelError::NotInRegistry`]; a manifest that names no weights; those of the network.
pub(super) fn pull(run: &Run<'_>, name: &OllamaName) -> Result<(PathBuf, Pin), NodeError> {
    let base = base(&name.host).map_err(net_error)?;
    let client = client(&base, None)?;
    let path = format!("{}/{}", name.namespace, name.model);
    let url = base.join(&format!("/v2/{path}/manifests/{}", name.tag)).map_err(net_error)?;
    let response =
        client.send(&Request::get(url).header("accept", MANIFEST).json(), run).map_err(|error| match error {
            NetError::Refused { status: status @ (401 | 403 | 404), .. } => {
                ModelError::NotInRegistry { name: name.to_string(), host: name.host.clone(), status }.into()
            }
            error => net_error(error),
        })?;
    let layer = ollama::model_layer(name, &response.body)?;
    let url = base.join(&format!("/v2/{path}/blobs/{}", layer.pin)).map_err(net_error)?;
    let pin = Some(layer.pin.clone());
    let remote = Remote { url, name: name.to_string(), size: layer.size, pin, of_all: (0, layer.size) };
    Ok((fetch(run, &client, &remote)?, layer.pin))
}

/// Returns where a registry is: encrypted, unless it is this machine.
fn base(host: &str) -> Result<Url, NetError> {
    let url = Url::parse(&format!("https://{host}/"))?;
    if url.is_loopback() { Url::parse(&format!("http://{host}/")) } else { Ok(url) }
}
