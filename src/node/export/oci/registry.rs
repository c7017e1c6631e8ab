//! The HTTP API of a registry, as far as it is needed to put artifacts there.

use std::cell::RefCell;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::auth::Challenge;
use super::error::OciError;
use super::reference::Reference;
use super::settings::Settings;
use crate::net::{Client, NetError, Policy, Request, Response, Secret, Url, Watch, shown};
use crate::node::Run;
use crate::node::settings::environment_name;
use crate::store::hexadecimal;

/// A file may be sent for so long, as long as bytes move.
const SENDING: Duration = Duration::from_hours(48);
/// The most bytes of a manifest: registries take no larger ones.
const MANIFEST: u64 = 4 << 20;
/// What a tag may name that somebody else put there.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                              application/vnd.docker.distribution.manifest.v2+json, \
                              application/vnd.docker.distribution.manifest.list.v2+json";

/// A repository in a registry.
pub(super) struct Registry<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) reference: Reference,
    base: Url,
    login: Option<(String, Secret)>,
    /// Shows what the registry asked for, once it did.
    client: RefCell<Client>,
}

/// A manifest as it lies in the registry.
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a, 'r> Registry<'a, 'r> {
    /// Makes the client of the registry that the settings name.
    pub(super) fn of(run: &'a Run<'r>, settings: &Settings, reference: Reference) -> Result<Self, OciError> {
        let base = reference.registry()?;
        let login = match (&settings.username, settings.password.as_deref().and_then(environment_name)) {
            (Some(username), Some(variable)) => {
                let no_password = || OciError::NoPassword { variable: variable.to_owned() };
                let password = run.secrets.environment(variable).ok_or_else(no_password)?;
                Some((username.clone(), Secret::new(&password)?))
            }
            _ => None,
        };
        Ok(Self { run, reference, base, login, client: RefCell::new(client(4)) })
    }

    pub(super) fn bad_answer(&self, what: impl Into<String>) -> OciError {
        OciError::BadAnswer { host: self.reference.host.clone(), what: what.into() }
    }

    pub(super) fn url(&self, rest: &str) -> Result<Url, OciError> {
        Ok(Url::parse(&format!("{}v2/{}/{rest}", self.base, self.reference.name))?)
    }

    /// Sends a request, logs in where that is asked for, and tells a refusal in words that fit. A request that takes
    /// statuses of its own takes 401 with them.
    pub(super) fn ask(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Response, OciError> {
        let response = self.client.borrow().send(request, watch).map_err(|error| self.told(error))?;
        if response.status != 401 {
            return Ok(response);
        }
        let header = response.header("www-authenticate").unwrap_or_default();
        let Some(challenge) = Challenge::parse(&header) else {
            return Err(self.bad_answer("it asks to log in and does not say how"));
        };
        let logged_in = self.log_in(challenge)?;
        self.client.replace(logged_in);
        let response = self.client.borrow().send(request, watch).map_err(|error| self.told(error))?;
        if response.status == 401 {
            Err(self.refused(401, String::from_utf8_lossy(&response.body).into()))
        } else {
            Ok(response)
        }
    }

    fn log_in(&self, challenge: Challenge) -> Result<Client, OciError> {
        let Challenge::Bearer { realm, service, scope } = challenge else {
            let Some((name, password)) = &self.login else {
                return Err(self.refused(401, "it asks for a name and a password".into()));
            };
            return Ok(client(4).with_login(&self.base, name, password.clone()));
        };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull,push", self.reference.name));
        let mut address = realm.clone();
        for (key, value) in [("service", service), ("scope", Some(scope))] {
            let Some(value) = value else { continue };
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str(&format!("{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
        }
        let url = Url::parse(&address)?;
        let mut asking = client(4);
        if let Some((name, password)) = &self.login {
            if realm.starts_with("http://") && !url.is_loopback() {
                return Err(OciError::Plain { host: self.reference.host.clone(), realm: shown(&realm) });
            }
            asking = asking.with_login(&url, name, password.clone());
        }
        let response = asking.send(&Request::get(url).json().stays(), self.run).map_err(|error| self.told(error))?;
        let token: Token = response.json()?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.bad_answer("its server of tokens gives none"))?;
        Ok(client(4).with_token(&self.base, Secret::new(&token)?))
    }

    fn told(&self, error: NetError) -> OciError {
        match error {
            NetError::Refused { status: status @ (400..=405 | 413), excerpt, .. } => self.refused(status, excerpt),
            error => error.into(),
        }
    }

    fn refused(&self, status: u16, what: String) -> OciError {
        let (host, name) = (self.reference.host.clone(), self.reference.name.clone());
        let help = match (status, &self.login) {
            (401, None) => "set `username` and `password = \"env:NAME\"`".to_owned(),
            (401, Some((user, _))) => format!("`{user}` or the password is wrong, or the token expired"),
            (403, _) => format!("let the one who logs in write to `{name}`, or make the repository there first"),
            (404, _) => "check the name: some registries want a repository to be made first".to_owned(),
            (413, _) => "the registry, or a proxy before it, takes no files of this size".to_owned(),
            _ => "the registry's log may say more".to_owned(),
        };
        OciError::Refused { host, name, status, what, help }
    }

    /// Returns the digest that a tag, or a digest, names; nothing where there is none.
    pub(super) fn digest(&self, tag: &str) -> Result<Option<String>, OciError> {
        let Some(response) = self.manifest_request(Request::head, tag)? else { return Ok(None) };
        match response.header("docker-content-digest") {
            Some(digest) => Ok(Some(digest)),
            // Not all registries say it; the bytes do.
            None => Ok(self.manifest(tag)?.map(|manifest| sha256_of(&manifest.bytes))),
        }
    }

    /// Returns what a tag, or a digest, names.
    pub(super) fn manifest(&self, tag: &str) -> Result<Option<Manifest>, OciError> {
        let Some(response) = self.manifest_request(Request::get, tag)? else { return Ok(None) };
        let media_type = response.header("content-type").unwrap_or_default();
        Ok(Some(Manifest { media_type, bytes: response.body }))
    }

    fn manifest_request(
        &self,
        method: impl Fn(Url) -> Request<'static>,
        tag: &str,
    ) -> Result<Option<Response>, OciError> {
        let request = method(self.url(&format!("manifests/{tag}"))?).header("accept", MANIFEST_TYPES);
        let request = request.takes(&[401, 404]).bounded(MANIFEST, Policy::default().deadline);
        let response = self.ask(&request, self.run)?;
        Ok(Some(response).filter(|response| response.status != 404))
    }

    /// Lets a tag name a manifest, and holds what the registry took against what was sent.
    pub(super) fn put_manifest(&self, tag: &str, manifest: &Manifest) -> Result<(), OciError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let request = Request::put(url).with_bytes(manifest.bytes.clone(), &manifest.media_type);
        let response = self.ask(&request.takes(&[401]), self.run)?;
        let digest = sha256_of(&manifest.bytes);
        self.same(&response, &format!("the manifest `{tag}`"), &digest)?;
        match self.digest(tag)? {
            Some(found) if found == digest => Ok(()),
            found => {
                let (host, file) = (self.reference.host.clone(), format!("the manifest `{tag}`"));
                Err(OciError::WrongDigest { host, file, found: found.unwrap_or_else(|| "nothing".into()) })
            }
        }
    }

    /// Refuses an answer that names another digest than what was sent has.
    pub(super) fn same(&self, response: &Response, file: &str, digest: &str) -> Result<(), OciError> {
        match response.header("docker-content-digest") {
            Some(found) if found != digest => {
                Err(OciError::WrongDigest { host: self.reference.host.clone(), file: file.to_owned(), found })
            }
            _ => Ok(()),
        }
    }

    /// Deletes a tag; one that is gone already is no error. Returns whether the registry deletes tags.
    pub(super) fn delete(&self, tag: &str) -> Result<bool, OciError> {
        let request = Request::delete(self.url(&format!("manifests/{tag}"))?).takes(&[400, 401, 404, 405]);
        let response = self.ask(&request, self.run)?;
        Ok(!matches!(response.status, 400 | 405))
    }
}

/// Reads what a server of tokens says, for the fuzz target.
pub(super) fn read_token(bytes: &[u8]) {
    drop(serde_json::from_slice::<Token>(bytes));
}

/// Makes a client without credentials.
fn client(attempts: u32) -> Client {
    Client::new(Policy { attempts, total: SENDING, ..Policy::default() })
}

/// Returns a digest as registries write it.
pub(super) fn sha256_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(&Sha256::digest(bytes)))
}
