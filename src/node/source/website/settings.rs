//! The settings of `source.website`.

use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::address::{self, Scope};
use crate::node::SettingProblem;

/// How a page gets its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Render {
    /// From the server alone.
    #[default]
    None,
    /// From the page's scripts, in an installed Chromium.
    Browser,
}

/// The settings of `source.website`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// Pages to start from; the links on them are followed.
    #[serde(default)]
    pub(super) start: Vec<String>,
    /// Sitemaps whose pages are read, as XML, plain text or `.gz`. Links are followed only where `start` is named too.
    #[serde(default)]
    pub(super) sitemap: Vec<String>,
    /// Addresses that a page's must begin with. Nothing: the folders of `start` and `sitemap`.
    #[serde(default)]
    pub(super) prefix: Vec<String>,
    /// Which paths are read, as globs.
    #[serde(default = "everything")]
    pub(super) include: Vec<String>,
    /// Which paths are left out, as globs.
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    /// Whether addresses that differ in their query alone are different pages. Else such addresses are not followed.
    #[serde(default)]
    pub(super) queries: bool,
    /// How many pages are asked for at most.
    #[serde(default = "max_pages")]
    pub(super) max_pages: u64,
    /// Characters that a page's text must have.
    #[serde(default = "min_characters")]
    pub(super) min_characters: u64,
    /// The share of pages from which on a line that stands on all of them is none of their text.
    #[serde(default = "repeated")]
    pub(super) repeated: f64,
    /// Whether pages are rendered by an installed Chromium, for those that JavaScript makes: `none` or `browser`.
    #[serde(default)]
    pub(super) render: Render,
    /// The pause between two requests. A longer one that robots.txt asks for is kept, up to a minute.
    #[serde(default = "half_a_second")]
    pub(super) delay: String,
    /// How long one request may wait for a rate limit.
    #[serde(default = "ten_minutes")]
    pub(super) max_wait: String,
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

fn max_pages() -> u64 {
    1_000
}

fn min_characters() -> u64 {
    200
}

fn repeated() -> f64 {
    0.6
}

fn half_a_second() -> String {
    "500ms".into()
}

fn ten_minutes() -> String {
    "10m".into()
}

impl Settings {
    /// Returns what is wrong.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        if self.start.is_empty() && self.sitemap.is_empty() {
            let help = "name a page in `start`, as `[\"https://HOST/docs/\"]`, or a sitemap in `sitemap`";
            problems.push(SettingProblem::new(&[], "settings::empty", "no page to start from is named", help));
        }
        for (key, addresses) in [("start", &self.start), ("sitemap", &self.sitemap), ("prefix", &self.prefix)] {
            for (index, text) in addresses.iter().enumerate() {
                if parsed(text).is_none() {
                    // The value may hold a password: it must not enter a message.
                    let message = format!("`{key}` has what is no address of a page");
                    let help = "write it as `https://HOST/PATH`, without credentials";
                    problems.push(SettingProblem::new(
                        &[key, &index.to_string()],
                        "settings::wrong_value",
                        message,
                        help,
                    ));
                }
            }
        }
        for (key, globs) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (index, text) in globs.iter().enumerate() {
                if let Err(error) = glob(text) {
                    let message = format!("`{text}` is not a glob: {}", error.kind());
                    let help = "globs are like `docs/**`, `docs/{a,b}/*`";
                    problems.push(SettingProblem::new(&[key, &index.to_string()], "settings::bad_glob", message, help));
                }
            }
        }
        for (key, value) in [("delay", &self.delay), ("max-wait", &self.max_wait)] {
            if humantime::parse_duration(value).is_err() {
                let message = format!("`{value}` is no length of time");
                problems.push(SettingProblem::new(
                    &[key],
                    "settings::wrong_value",
                    message,
                    "write it as `500ms` or `10m`",
                ));
            }
        }
        if self.max_pages == 0 {
            let message = "`max-pages` must be at least 1".to_owned();
            problems.push(SettingProblem::new(
                &["max-pages"],
                "settings::wrong_value",
                message,
                "leave it out for 1,000",
            ));
        }
        if !(self.repeated > 0.0 && self.repeated <= 1.0) {
            let message = format!("`repeated` must be a share above 0 and up to 1, not {}", self.repeated);
            let help = "leave it out for 0.6; 1 keeps all but what stands on every page";
            problems.push(SettingProblem::new(&["repeated"], "settings::wrong_value", message, help));
        }
        problems
    }

    /// Returns the pages to start from.
    pub(super) fn starts(&self) -> Vec<Url> {
        self.start.iter().filter_map(|text| parsed(text)).collect()
    }

    /// Returns the sitemaps.
    pub(super) fn sitemaps(&self) -> Vec<Url> {
        self.sitemap.iter().filter_map(|text| parsed(text)).collect()
    }

    /// Returns which addresses are the site's.
    pub(super) fn scope(&self) -> Scope {
        let folders = || self.starts().iter().chain(&self.sitemaps()).map(address::folder).collect();
        let named: Vec<Url> = self.prefix.iter().filter_map(|text| parsed(text)).collect();
        Scope {
            prefixes: if named.is_empty() { folders() } else { named },
            include: globs(&self.include),
            exclude: globs(&self.exclude),
            queries: self.queries,
        }
    }

    /// Returns the pause between two requests.
    pub(super) fn delay(&self) -> Duration {
        humantime::parse_duration(&self.delay).unwrap_or_default()
    }

    /// Returns how long one request may wait for a rate limit.
    pub(super) fn max_wait(&self) -> Duration {
        humantime::parse_duration(&self.max_wait).unwrap_or_default()
    }
}

fn parsed(text: &str) -> Option<Url> {
    address::resolved(&Url::parse(text).ok()?, "")
}

fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(text.trim_start_matches('/')).literal_separator(true).build()
}

fn globs(texts: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in texts.iter().filter_map(|text| glob(text).ok()) {
        set.add(glob);
    }
    set.build().unwrap_or_default()
}
