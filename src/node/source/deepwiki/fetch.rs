//! The way from a repository's name to the pages of its wiki: the MCP server first, then the page's payload.

use serde::{Deserialize, Serialize};

use super::error::{DeepwikiError, begins};
use super::mcp::Mcp;
use super::pages::{self, RawPage};
use super::payload::{self, Wiki};
use crate::net::{Client, NetError, Request, Url, Watch};
use crate::node::Run;

/// What the server says of a repository that has no wiki. It may say so without calling it an error.
const NOT_INDEXED: [&str; 3] =
    ["repository not found", "visit https://deepwiki.com to index", "error fetching wiki structure"];

/// A wiki.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Fetched {
    /// The commit it was made from; the MCP server does not tell.
    pub(super) commit: Option<String>,
    /// Its pages in order.
    pub(super) pages: Vec<RawPage>,
}

/// All that fetching needs.
pub(super) struct Fetch<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) client: &'a Client,
    pub(super) watch: &'a dyn Watch,
    pub(super) mcp: Mcp<'a>,
    /// Address of the site, without a slash at its end.
    pub(super) site: &'a str,
}

impl Fetch<'_, '_> {
    /// Fetches a wiki.
    pub(super) fn wiki(&mut self, repo: &str) -> Result<Fetched, DeepwikiError> {
        let by_mcp = match self.by_mcp(repo) {
            Err(DeepwikiError::Net(NetError::TooLarge { limit, .. })) => {
                return Err(DeepwikiError::TooLarge { repo: repo.to_owned(), limit });
            }
            Err(error) if !is_final(&error) => error,
            settled => return settled,
        };
        self.run.note(format!("{repo}: {by_mcp}; its page is read instead"));
        match self.by_payload(repo) {
            // A page that is no wiki tells less than what went wrong before.
            Err(DeepwikiError::BadPayload { .. } | DeepwikiError::Net(NetError::Refused { .. })) => Err(by_mcp),
            Err(error) if by_mcp.is_limit() && !matches!(error, DeepwikiError::Net(NetError::Cancelled)) => Err(by_mcp),
            settled => settled,
        }
    }

    fn by_mcp(&mut self, repo: &str) -> Result<Fetched, DeepwikiError> {
        let structure = self.tool("read_wiki_structure", repo)?;
        let entries = pages::structure(&structure);
        if entries.is_empty() {
            return Err(DeepwikiError::BadAnswer {
                what: format!("a structure without pages: {:?}", begins(&structure)),
            });
        }
        self.run.progress(0, Some(entries.len() as u64), "pages", repo);
        let contents = self.tool("read_wiki_contents", repo)?;
        let pages = pages::split(&contents, &entries);
        if pages.is_empty() {
            return Err(DeepwikiError::BadAnswer { what: format!("contents without pages: {:?}", begins(&contents)) });
        }
        if pages.len() < entries.len() {
            let (listed, came) = (entries.len(), pages.len());
            return Err(DeepwikiError::BadAnswer { what: format!("{came} pages of the {listed} that are listed") });
        }
        Ok(Fetched { commit: None, pages })
    }

    /// Calls a tool. What it says instead of a wiki is an error and never a page.
    fn tool(&mut self, tool: &str, repo: &str) -> Result<String, DeepwikiError> {
        let told = self.mcp.call(tool, repo)?;
        let start: String = told.text.trim_start().chars().take(200).collect::<String>().to_lowercase();
        if NOT_INDEXED.iter().any(|words| start.contains(words)) && !start.starts_with('#') {
            return Err(DeepwikiError::NotIndexed { repo: repo.to_owned(), told: begins(&told.text) });
        }
        if told.is_error || start.starts_with("error") {
            return Err(DeepwikiError::ToolFailed { tool: tool.to_owned(), told: begins(&told.text) });
        }
        Ok(told.text)
    }

    fn by_payload(&self, repo: &str) -> Result<Fetched, DeepwikiError> {
        let url = Url::parse(&format!("{}/{repo}", self.site))?;
        let page = self.client.send(&Request::get(url.clone()).stays(), self.watch)?;
        if let Ok(wiki) = payload::read(&page.body) {
            return Ok(wiki.into());
        }
        // Bare rows, without the page around them.
        let request = Request::get(url).header("rsc", "1").header("next-url", format!("/{repo}")).stays();
        let rows = self.client.send(&request, self.watch)?;
        let bad = |what| DeepwikiError::BadPayload { repo: repo.to_owned(), what };
        Ok(payload::read(&rows.body).map_err(bad)?.into())
    }
}

impl From<Wiki> for Fetched {
    fn from(wiki: Wiki) -> Self {
        Self { commit: wiki.commit, pages: wiki.pages }
    }
}

/// Returns whether the page would tell no more than the MCP server did.
fn is_final(error: &DeepwikiError) -> bool {
    matches!(
        error,
        DeepwikiError::NotIndexed { .. } | DeepwikiError::Net(NetError::Cancelled) | DeepwikiError::Store(_)
    )
}
