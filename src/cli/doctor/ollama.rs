//! `--ollama`: whether a user's own Ollama asks the models that were built by the tokens of training.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::super::built::Built;
use super::super::session::Session;
use super::super::{CliError, Context};
use super::{Finding, State};
use crate::engine::Mode;
use crate::graph::{Node, NodeIndex, Role};
use crate::net::{Secret, Url, Watch};
use crate::node::export::ollama_address;
use crate::node::settings::environment_name;
use crate::node::{Cancel, Content, Secrets as _};
use crate::serve::{Asked, ChatModel, Comparison, Difference, Ollama, OllamaError};
use crate::store::hexadecimal;

const CHECK: &str = "ollama";

/// A model that a server may have.
struct Target {
    /// The node that says so.
    node: String,
    /// The node of the GGUF.
    gguf: NodeIndex,
    /// Its name there; none where only its file tells it.
    name: Option<String>,
    /// What the node says of the server.
    host: Option<String>,
    /// The variable with the token for it.
    token: Option<String>,
}

/// Nobody interrupts, and nobody is told of pauses.
struct Patient;

impl Watch for Patient {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn waits(&self, _: Duration, _: &str) {}
}

/// Compares all models that were built and that servers have.
pub(super) fn findings(context: &mut Context<'_>, url: &str, names: &[String]) -> Result<Vec<Finding>, CliError> {
    let session = Session::open(context, Mode::default())?;
    let targets = targets(&session, names)?;
    if targets.is_empty() {
        let help = "add an `[export.NAME]` of the type `ollama`, or name it: `--ollama-model NAME`";
        return Ok(vec![Finding::bad(CHECK, "no node says which model an Ollama server has", help)]);
    }
    let finding =
        |target: &Target| target.finding(context, &session, url).unwrap_or_else(|error| target.failed(&error));
    Ok(targets.iter().map(finding).collect())
}

/// Returns what is compared: what the command line names, else what nodes deploy and write Modelfiles for.
fn targets(session: &Session<'_>, names: &[String]) -> Result<Vec<Target>, CliError> {
    let graph = &session.project.graph;
    let mut targets = Vec::new();
    for named in names {
        let (node, name) = named.split_once('=').map_or((None, named.as_str()), |(node, name)| (Some(node), name));
        let index = match node {
            Some(node) => session.node(node)?,
            None => only_gguf(session)?,
        };
        let gguf = gguf_of(session, index).ok_or_else(|| not_a_gguf(&graph[index]))?;
        let (node, name) = (graph[index].name.clone(), Some(name.to_owned()));
        targets.push(Target { node, gguf, name, host: None, token: None });
    }
    if !names.is_empty() {
        return Ok(targets);
    }
    for index in graph.indices() {
        let node = &graph[index];
        let setting = |key: &str| node.settings[key].as_str().map(str::to_owned);
        let is_deployed = node.kind_name == "export.ollama" && node.settings["base"].is_null();
        if !is_deployed && node.kind_name != "export.modelfile" {
            continue;
        }
        let Some(gguf) = gguf_of(session, index) else { continue };
        let (name, host, token) = (setting("name"), setting("host"), setting("token"));
        targets.push(Target { node: node.name.clone(), gguf, name, host, token });
    }
    // A Modelfile for what is deployed anyway says nothing new.
    let deployed: Vec<NodeIndex> = targets.iter().filter(|it| it.name.is_some()).map(|it| it.gguf).collect();
    targets.retain(|target| target.name.is_some() || !deployed.contains(&target.gguf));
    Ok(targets)
}

fn gives_gguf(node: &Node) -> bool {
    node.outputs.iter().any(|output| output.content.0 == Content::Gguf.as_str())
}

/// Returns the node of the GGUF that a node gives or reads.
fn gguf_of(session: &Session<'_>, index: NodeIndex) -> Option<NodeIndex> {
    let graph = &session.project.graph;
    if gives_gguf(&graph[index]) {
        return Some(index);
    }
    let read = graph[index].inputs.iter().filter(|edge| edge.role == Role::From).map(|edge| edge.from);
    read.into_iter().find(|from| gives_gguf(&graph[*from]))
}

/// Returns the one node that gives a GGUF.
fn only_gguf(session: &Session<'_>) -> Result<NodeIndex, CliError> {
    let graph = &session.project.graph;
    let found: Vec<NodeIndex> = graph.indices().filter(|index| gives_gguf(&graph[*index])).collect();
    match found[..] {
        [index] => Ok(index),
        _ => Err(CliError::WhichModel { names: found.iter().map(|index| graph[*index].name.clone()).collect() }),
    }
}

fn not_a_gguf(node: &Node) -> CliError {
    let help = "name a node that gives a GGUF or reads one".to_owned();
    CliError::NotAModel { node: node.name.clone(), kind: node.kind_name.clone(), help }
}

impl Target {
    fn finding(&self, context: &mut Context<'_>, session: &Session<'_>, url: &str) -> Result<Finding, CliError> {
        let built = Built::of(context, session, self.gguf, &Cancel::default())?;
        let model = ChatModel::open_vocabulary(&built.path)?;
        let server = self.server(context, url)?;
        Ok(match self.compared(&server, &built, &model) {
            Ok(Some((name, version, comparison))) => self.told(&server, &name, &version, &comparison),
            Ok(None) => {
                let found = format!("`{}`: {} has no model that is made of this file", self.node, server.name());
                let help = "`ollama create NAME -f Modelfile` makes one; where the server wrote the file anew, \
                            `--ollama-model NAME` names it";
                Finding::optional(CHECK, found, help)
            }
            Err(error) => self.failed(&error),
        })
    }

    /// Returns the server that is meant, and with it the node's token only where it is the node's server.
    fn server(&self, context: &Context<'_>, url: &str) -> Result<Ollama<'static>, CliError> {
        let environment = &context.surroundings.environment;
        let host = self.host.clone().or_else(|| environment.environment("OLLAMA_HOST")).unwrap_or_default();
        let address = |text: &str| ollama_address(text).map_err(OllamaError::from);
        let own = address(&host)?;
        let base: Url = if url.is_empty() { own.clone() } else { address(url)? };
        let variable = self.token.as_deref().and_then(environment_name).filter(|_| base.origin() == own.origin());
        let token = variable.and_then(|variable| environment.environment(variable));
        let token = token.map(|token| Secret::new(&token)).transpose().map_err(OllamaError::from)?;
        Ok(Ollama::new(base, token, &Patient))
    }

    /// Returns the model's name, the server's version and what the comparison found; none where no model is of the file.
    fn compared(
        &self,
        server: &Ollama<'_>,
        built: &Built,
        model: &ChatModel,
    ) -> Result<Option<(String, String, Comparison)>, CliError> {
        let version = server.version()?;
        let name = match &self.name {
            Some(name) => Some(name.clone()),
            None => server.made_of(&sha256(&built.path)?)?,
        };
        let Some(name) = name else { return Ok(None) };
        let comparison = server.compare(&Asked { name: &name, model, system: &built.system })?;
        Ok(Some((name, version, comparison)))
    }

    fn told(&self, server: &Ollama<'_>, name: &str, version: &str, comparison: &Comparison) -> Finding {
        let Comparison { conversations, tokens, is_by_token, difference } = comparison;
        let of = format!("`{name}` on {} (Ollama {version})", server.name());
        let weaker = "this server shows no text that it asks with, so only the number of tokens was compared, which is \
                      weaker: 0.12 and later show it";
        match difference {
            None if *is_by_token => {
                let count = format!("{conversations} conversations, {tokens} tokens");
                Finding::good(CHECK, format!("{of} is asked by the tokens of training: {count}"))
            }
            None => {
                let found = format!("{of} reads as many tokens as training in {conversations} conversations: {tokens}");
                Finding { state: State::Good, ..Finding::bad(CHECK, found, weaker) }
            }
            Some(Difference::Count { ours, theirs, .. }) if theirs < ours => {
                let found = format!("{of} may be asked otherwise than it was trained: {}", text(difference.as_ref()));
                let help = "some servers do not count what they still have from the question before: restart it, and \
                            look again";
                Finding::optional(CHECK, found, help)
            }
            Some(_) => {
                let found = format!("{of} is asked otherwise than it was trained: {}", text(difference.as_ref()));
                let help = format!(
                    "deploy it again: `tunesmith build {}`; then compare template and system prompt \
                                    with `ollama show --modelfile {name}`",
                    self.node
                );
                Finding::bad(CHECK, found, help)
            }
        }
    }

    fn failed(&self, error: &CliError) -> Finding {
        let help = match error {
            CliError::Ollama(OllamaError::NoModel { .. }) => {
                format!("`tunesmith build {}` deploys it; `--ollama-model NAME` names another", self.node)
            }
            error => miette::Diagnostic::help(error).map(|help| help.to_string()).unwrap_or_default(),
        };
        Finding::bad(CHECK, error.to_string(), help)
    }
}

fn text(difference: Option<&Difference>) -> String {
    difference.map(ToString::to_string).unwrap_or_default()
}

/// Returns the SHA-256 of a file, by which Ollama names it.
fn sha256(path: &Path) -> Result<String, CliError> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
