//! The HTTP API of an Ollama server, as far as it is needed to put models there.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Tag;
use super::error::OllamaError;
use super::host;
use super::recipe::Part;
use super::settings::Settings;
use crate::net::{Client, NetError, Policy, Request, Secret, Url};
use crate::node::Run;
use crate::node::export::sending::Sending;
use crate::node::settings::environment_name;

/// The server reads a whole model before it has a word: as long as that may take.
const CREATING: Duration = Duration::from_hours(2);
/// Bytes of the server's words about one model.
const WORDS: u64 = 16 << 20;
/// A model may be sent for so long, as long as bytes move.
const SENDING: Duration = Duration::from_hours(48);

/// An Ollama server.
pub(super) struct Server<'a, 'r> {
    run: &'a Run<'r>,
    client: Client,
    base: Url,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    models: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    name: String,
    #[serde(default)]
    digest: String,
}

/// One line of what the server says while it creates.
#[derive(Default, Deserialize)]
struct Word {
    #[serde(default)]
    status: String,
    error: Option<String>,
}

impl<'a, 'r> Server<'a, 'r> {
    /// Makes the client of the server that the settings or `OLLAMA_HOST` name.
    pub(super) fn of(run: &'a Run<'r>, settings: &Settings) -> Result<Self, OllamaError> {
        let named = settings.host.clone().or_else(|| run.secrets.environment("OLLAMA_HOST"));
        let base = host::address(named.as_deref().unwrap_or_default())?;
        let mut client = Client::new(Policy { attempts: 3, total: SENDING, ..Policy::default() });
        if let Some(variable) = settings.token.as_deref().and_then(environment_name) {
            let no_token = || OllamaError::NoToken { variable: variable.to_owned() };
            let token = run.secrets.environment(variable).ok_or_else(no_token)?;
            client = client.with_token(&base, Secret::new(&token)?);
        }
        Ok(Self { run, client, base })
    }

    /// Returns the server's address, which names it in the ledger and in messages.
    pub(super) fn name(&self) -> String {
        self.base.to_string().trim_end_matches('/').to_owned()
    }

    fn url(&self, path: &str) -> Result<Url, OllamaError> {
        Ok(Url::parse(&format!("{}/api/{path}", self.name()))?)
    }

    /// Returns the server's version.
    pub(super) fn version(&self) -> Result<String, OllamaError> {
        let server = self.name();
        match self.client.send(&Request::get(self.url("version")?).json(), self.run) {
            Ok(response) => match response.json::<Version>() {
                Ok(version) => Ok(version.version),
                Err(error) => Err(OllamaError::NoOllama { server, what: error.to_string() }),
            },
            Err(cause @ NetError::Unreachable { .. }) => Err(OllamaError::Unreachable { server, cause }),
            Err(error @ (NetError::NotJson { .. } | NetError::Refused { status: 404 | 405, .. })) => {
                Err(OllamaError::NoOllama { server, what: error.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns all tags that the server has.
    pub(super) fn tags(&self) -> Result<Vec<Tag>, OllamaError> {
        let response = self.client.send(&Request::get(self.url("tags")?).json(), self.run)?;
        let listed: Listed = response.json()?;
        Ok(listed.models.into_iter().map(|model| Tag { name: model.name, digest: model.digest }).collect())
    }

    /// Returns whether the server may be on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.base.is_loopback()
    }

    /// Returns whether the server has a file.
    pub(super) fn has(&self, part: &Part) -> Result<bool, OllamaError> {
        match self.client.send(&Request::head(self.blob(part)?), self.run) {
            Ok(_) => Ok(true),
            Err(NetError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a file.
    pub(super) fn send(&self, part: &Part, version: &str) -> Result<(), OllamaError> {
        let total = fs_err::metadata(&part.path)?.len();
        let watch = Sending { run: self.run, name: &part.name, before: 0, total };
        match self.client.send(&Request::post_file(self.blob(part)?, &part.path), &watch) {
            Ok(_) => Ok(()),
            Err(NetError::Refused { status: 400, .. }) => {
                Err(OllamaError::WrongDigest { server: self.name(), file: part.name.clone() })
            }
            Err(NetError::Refused { status: 404 | 405, .. }) => Err(self.too_old(version, "it takes no files")),
            Err(error) => Err(error.into()),
        }
    }

    fn blob(&self, part: &Part) -> Result<Url, OllamaError> {
        self.url(&format!("blobs/{}", part.digest()))
    }

    /// Refuses a server of the time before models could be made of files; what has no such number is believed to be new.
    pub(super) fn check_version(&self, version: &str) -> Result<(), OllamaError> {
        let numbers: Vec<u64> = version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
        let is_old = numbers.len() == 3 && numbers != [0, 0, 0] && numbers < vec![0, 5, 5];
        if is_old { Err(self.too_old(version, "it takes no files")) } else { Ok(()) }
    }

    fn too_old(&self, version: &str, what: &'static str) -> OllamaError {
        OllamaError::TooOld { server: self.name(), version: version.to_owned(), what }
    }

    /// Creates a model of files that the server has.
    pub(super) fn create(&self, tag: &str, recipe: &Value, version: &str) -> Result<(), OllamaError> {
        let mut body = recipe.clone();
        body["model"] = json!(tag);
        body["stream"] = json!(true);
        let request = Request::post_json(self.url("create")?, &body).bounded(WORDS, CREATING);
        let failed = |what: String| match what.as_str() {
            // What servers say that know no `files`.
            what if what.contains("path or modelfile") || what.contains("modelfile are required") => {
                self.too_old(version, "it creates models of Modelfiles alone")
            }
            _ => OllamaError::Create { server: self.name(), tag: tag.to_owned(), what },
        };
        let response = match self.client.send(&request, self.run) {
            Ok(response) => response,
            Err(NetError::Refused { excerpt, .. } | NetError::Server { excerpt, .. }) => {
                return Err(failed(excerpt.trim_matches('"').to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let mut last = Word::default();
        for line in response.body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            last = said(line);
            if let Some(what) = last.error {
                return Err(failed(what));
            }
        }
        if last.status == "success" {
            return Ok(());
        }
        Err(OllamaError::BrokenOff { server: self.name(), tag: tag.to_owned(), last: last.status })
    }

    /// Lets one name mean what another one does.
    pub(super) fn copy(&self, source: &str, destination: &str) -> Result<(), OllamaError> {
        let body = json!({"source": source, "destination": destination});
        self.client.send(&Request::post_json(self.url("copy")?, &body), self.run)?;
        Ok(())
    }

    /// Deletes a name; one that is gone already is no error.
    pub(super) fn delete(&self, tag: &str) -> Result<(), OllamaError> {
        // Older servers read `name`, newer ones `model`.
        let request = Request::delete(self.url("delete")?).with_json(&json!({"model": tag, "name": tag}));
        match self.client.send(&request, self.run) {
            Ok(_) | Err(NetError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads what a server says, for the fuzz target.
pub(super) fn read_words(bytes: &[u8]) {
    drop(serde_json::from_slice::<Listed>(bytes));
    drop(serde_json::from_slice::<Version>(bytes));
    bytes.split(|byte| *byte == b'\n').for_each(|line| drop(said(line)));
}

/// Reads a word of the server; what is none says nothing.
fn said(line: &[u8]) -> Word {
    serde_json::from_slice(line).unwrap_or_default()
}
