//! A deployment: blobs, the manifest under its immutable tag, the alias.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::blob::Blob;
use super::error::{OciError, failure};
use super::reference::Reference;
use super::registry::{Manifest, Registry, sha256_of};
use super::settings::Settings;
use super::{Moved, Tag};
use crate::node::export::files::{NamedFile, named_files};
use crate::node::ledger::Ledger;
use crate::node::{Count, NodeError, Outcome, Run};

/// Digits of a manifest's digest in a tag: 48 bits.
const DIGITS: usize = 12;

/// How a manifest is named.
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The configuration of an artifact that has none, with its bytes.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// Puts the files into the registry and moves the alias to them.
pub(super) fn deploy(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let reference: Reference = settings.reference.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
    let files = named_files(run, &settings.paths)?;
    let manifest = manifest(settings, &files);
    let digest = sha256_of(&manifest.bytes);
    let mut ledger = Ledger::<Moved>::open(run)?;
    let registry = Registry::of(run, settings, reference).map_err(failure)?;
    let tag = Tag { name: registry.reference.tag_with(digits(&digest)), digest };
    let sent = send(&registry, &mut ledger, &files, &manifest, &tag)?;
    let moved = move_alias(&registry, &mut ledger, &manifest, &tag)?;
    let reference = &registry.reference;
    if sent == 0 && !moved {
        run.note(format!("`{reference}` is `{}` already", tag.name));
    }
    let counts = [("files sent", sent), ("aliases moved", u64::from(moved))];
    Ok(Outcome {
        outputs: BTreeMap::new(),
        fields: fields(reference, &tag.name, &tag.digest),
        report: counts.into_iter().map(|(what, count)| Count { what: what.into(), count }).collect(),
    })
}

/// Looks whether the registry would take the files, and puts nothing there.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let reference: Reference = settings.reference.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
    let files = run.inputs().next().is_some().then(|| named_files(run, &settings.paths)).transpose()?;
    let registry = Registry::of(run, settings, reference).map_err(failure)?;
    registry.may_write().map_err(failure)?;
    let reference = &registry.reference;
    let digest = files.map(|files| sha256_of(&manifest(settings, &files).bytes)).unwrap_or_default();
    let tag = if digest.is_empty() { reference.tag.clone() } else { reference.tag_with(digits(&digest)) };
    let report = vec![Count { what: "registry takes files; nothing was put there".into(), count: 1 }];
    Ok(Outcome { outputs: BTreeMap::new(), fields: fields(reference, &tag, &digest), report })
}

fn fields(reference: &Reference, tag: &str, digest: &str) -> BTreeMap<String, Value> {
    let tag = format!("{}:{tag}", reference.repository());
    let fields = [("tag", tag), ("alias", reference.to_string()), ("digest", digest.to_owned())];
    fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// Returns the manifest of the files. It has no time in it: the same files are the same artifact.
fn manifest(settings: &Settings, files: &[NamedFile]) -> Manifest {
    let layer = |file: &NamedFile| {
        json!({
            "mediaType": media_type(&file.name),
            "digest": format!("sha256:{}", file.sha256),
            "size": file.size,
            "annotations": {"org.opencontainers.image.title": file.name},
        })
    };
    let mut body = Map::new();
    body.insert("schemaVersion".into(), json!(2));
    body.insert("mediaType".into(), json!(MANIFEST_TYPE));
    body.insert("artifactType".into(), json!(settings.artifact_type));
    let config = json!({"mediaType": EMPTY_TYPE, "digest": sha256_of(EMPTY), "size": EMPTY.len(), "data": "e30="});
    body.insert("config".into(), config);
    body.insert("layers".into(), files.iter().map(layer).collect());
    if !settings.annotations.is_empty() {
        body.insert("annotations".into(), json!(settings.annotations));
    }
    Manifest { media_type: MANIFEST_TYPE.to_owned(), bytes: Value::Object(body).to_string().into_bytes() }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("json") => "application/json",
        Some("md") => "text/markdown",
        _ => "application/octet-stream",
    }
}

fn digits(digest: &str) -> &str {
    let digits = digest.trim_start_matches("sha256:");
    &digits[..DIGITS.min(digits.len())]
}

/// Sends what the registry has not, and lets the immutable tag name it. Returns how many files were sent.
fn send(
    registry: &Registry<'_, '_>,
    ledger: &mut Ledger<'_, Moved>,
    files: &[NamedFile],
    manifest: &Manifest,
    tag: &Tag,
) -> Result<u64, NodeError> {
    let found = registry.digest(&tag.name).map_err(failure)?;
    if found.as_ref() == Some(&tag.digest) {
        return Ok(0);
    }
    let empty = registry.run.scratch().join("empty.json");
    fs_err::write(&empty, EMPTY).map_err(|error| failure(error.into()))?;
    let config = Blob { name: "the empty configuration", path: &empty, digest: &sha256_of(EMPTY), size: 2 };
    registry.send(&config).map_err(failure)?;
    let mut sent = 0;
    for file in files {
        registry.run.check_cancelled()?;
        let digest = format!("sha256:{}", file.sha256);
        let blob = Blob { name: &file.name, path: &file.path, digest: &digest, size: file.size };
        if registry.send(&blob).map_err(failure)? {
            registry.run.note(format!("sent `{}`", file.name));
            sent += 1;
        }
    }
    if found.is_none() {
        ledger.make(&tag.name)?;
    }
    registry.put_manifest(&tag.name, manifest).map_err(failure)?;
    registry.run.note(format!("made `{}:{}`", registry.reference.repository(), tag.name));
    Ok(sent)
}

/// Moves the alias to the tag, unless it names it. Returns whether it was moved.
fn move_alias(
    registry: &Registry<'_, '_>,
    ledger: &mut Ledger<'_, Moved>,
    manifest: &Manifest,
    tag: &Tag,
) -> Result<bool, NodeError> {
    let (repository, alias) = (registry.reference.repository(), registry.reference.tag.clone());
    let before = registry.digest(&alias).map_err(failure)?;
    if before.as_ref() == Some(&tag.digest) {
        return Ok(false);
    }
    let before = before.map(|digest| kept(registry, ledger, digest)).transpose()?;
    let moved = Moved { repository, alias: alias.clone(), before, after: tag.clone() };
    // A run that was broken off right here noted the same.
    if ledger.last() != Some(&moved) {
        ledger.push(moved.clone())?;
    }
    registry.put_manifest(&alias, manifest).map_err(failure)?;
    let before = moved.before.map_or_else(|| "nothing".to_owned(), |before| format!("`{}`", before.name));
    registry.run.note(format!("`{}` is `{}` now, was {before}", registry.reference, tag.name));
    Ok(true)
}

/// Returns a tag that goes on naming what the alias names: registries clear away what has no tag.
fn kept(registry: &Registry<'_, '_>, ledger: &mut Ledger<'_, Moved>, digest: String) -> Result<Tag, NodeError> {
    let ours = registry.reference.tag_with(digits(&digest));
    if registry.digest(&ours).map_err(failure)?.as_ref() == Some(&digest) {
        return Ok(Tag { name: ours, digest });
    }
    let name = registry.reference.tag_with(&format!("before-{}", digits(&digest)));
    let gone = || OciError::Gone {
        repository: registry.reference.repository(),
        tag: digest.clone(),
        alias: registry.reference.tag.clone(),
    };
    let manifest = registry.manifest(&digest).map_err(failure)?.ok_or_else(|| failure(gone()))?;
    ledger.make(&name)?;
    registry.put_manifest(&name, &manifest).map_err(failure)?;
    registry.run.note(format!("`{}` was not deployed by this node: it is kept as `{name}`", registry.reference));
    Ok(Tag { name, digest })
}
