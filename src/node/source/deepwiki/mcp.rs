//! A session with DeepWiki's MCP server over streamable HTTP.

use serde_json::{Value, json};

use super::answer::{Told, result, told};
use super::error::DeepwikiError;
use crate::net::{Client, NetError, Request, Url, Watch};

/// The version of the protocol that is asked for.
const PROTOCOL: &str = "2025-06-18";

/// The header that names a session.
const SESSION: &str = "mcp-session-id";

/// A session, begun with the first question.
pub(super) struct Mcp<'a> {
    client: &'a Client,
    watch: &'a dyn Watch,
    url: Url,
    begun: Option<Begun>,
    last_id: u64,
}

/// What the server wants to hear with each message.
struct Begun {
    session: Option<String>,
    protocol: String,
}

impl<'a> Mcp<'a> {
    /// Makes a session that has not begun.
    pub(super) fn new(client: &'a Client, watch: &'a dyn Watch, url: Url) -> Self {
        Self { client, watch, url, begun: None, last_id: 0 }
    }

    /// Calls a tool with a repository's name. A session that the server has forgotten is begun anew, once.
    pub(super) fn call(&mut self, tool: &str, repo: &str) -> Result<Told, DeepwikiError> {
        let arguments = json!({"name": tool, "arguments": {"repoName": repo}});
        let had_session = self.begun.as_ref().is_some_and(|begun| begun.session.is_some());
        self.begin()?;
        let answer = match self.ask("tools/call", &arguments) {
            Err(DeepwikiError::Net(NetError::Refused { status: 400 | 404, .. })) if had_session => {
                self.begun = None;
                self.begin()?;
                self.ask("tools/call", &arguments)
            }
            answer => answer,
        };
        told(answer?)
    }

    /// Tells the server that the session is over. What it answers changes nothing.
    pub(super) fn end(self) {
        if let Some(Begun { session: Some(_), .. }) = &self.begun {
            self.client.send(&self.headed(Request::delete(self.url.clone())), self.watch).ok();
        }
    }

    fn begin(&mut self) -> Result<(), DeepwikiError> {
        if self.begun.is_some() {
            return Ok(());
        }
        let about = json!({"name": "tunesmith", "version": env!("CARGO_PKG_VERSION")});
        let hello = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": about});
        let id = self.next_id();
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": hello});
        let response = self.client.send(&self.post(&message), self.watch)?;
        let session = response.header(SESSION);
        let result = result(&response.body, id)?;
        let protocol = result["protocolVersion"].as_str().unwrap_or(PROTOCOL).to_owned();
        self.begun = Some(Begun { session, protocol });
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.client.send(&self.post(&ready), self.watch)?;
        Ok(())
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, DeepwikiError> {
        let id = self.next_id();
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let response = self.client.send(&self.post(&message), self.watch)?;
        result(&response.body, id)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn post(&self, message: &Value) -> Request<'static> {
        let request = Request::post_json(self.url.clone(), message);
        self.headed(request.header("accept", "application/json, text/event-stream"))
    }

    fn headed<'r>(&self, request: Request<'r>) -> Request<'r> {
        let Some(begun) = &self.begun else { return request };
        let request = request.header("mcp-protocol-version", &begun.protocol);
        match &begun.session {
            Some(session) => request.header(SESSION, session),
            None => request,
        }
    }
}
