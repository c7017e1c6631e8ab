//! From the pages to start from to all pages of the site: level by level of links, so that the order, and what is left
//! out where there are too many, is the same each time.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::address::{self, Scope};
use super::error::WebsiteError;
use super::page::{self, Page};
use super::settings::Settings;
use super::sitemap::{self, Sitemap};
use super::visit::{Found, Visit, Visitor, origin};
use crate::net::{self, Request};
use crate::record::Counts;

/// So many pages in a row that do not come mean that the site is down.
const MOST_FAILURES: usize = 5;

/// How deep an index of sitemaps may lead to further ones, and how many there may be.
const SITEMAP_LEVELS: usize = 3;
const MOST_SITEMAPS: usize = 1_000;

/// Addresses that are told apart; a site with more of them makes them up.
const MOST_ADDRESSES: usize = 500_000;

/// A page that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Where it was found.
    pub(super) url: Url,
    /// What it holds.
    pub(super) page: Page,
}

/// What a crawl found.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// Pages by their key.
    pub(super) pages: BTreeMap<String, Read>,
    /// What became of the rest.
    pub(super) counts: Counts,
}

/// A crawl that goes on.
pub(super) struct Crawl<'a, 'v, 'r> {
    visitor: &'a Visitor<'v, 'r>,
    scope: &'a Scope,
    settings: &'a Settings,
    site: Site,
    /// Keys of all addresses that were met.
    met: BTreeSet<String>,
    /// Addresses that did not come, each with the reason.
    pending: Vec<String>,
    visits: u64,
    failures_in_a_row: usize,
}

impl<'a, 'v, 'r> Crawl<'a, 'v, 'r> {
    pub(super) fn new(visitor: &'a Visitor<'v, 'r>, scope: &'a Scope, settings: &'a Settings) -> Self {
        let (site, met, pending) = (Site::default(), BTreeSet::new(), Vec::new());
        Self { visitor, scope, settings, site, met, pending, visits: 0, failures_in_a_row: 0 }
    }

    /// Reads the site to its end, or to the number of pages that the settings allow.
    ///
    /// # Errors
    /// [`WebsiteError::Pending`] when pages did not come: all others are kept for the next try.
    pub(super) fn run(mut self) -> Result<Site, WebsiteError> {
        let mut level = self.first_level()?;
        while !level.is_empty() {
            let mut next = BTreeMap::new();
            let mut waiting = level.len() as u64;
            for (key, url) in level {
                waiting -= 1;
                if self.visits >= self.settings.max_pages || self.failures_in_a_row >= MOST_FAILURES {
                    self.site.counts.add("not asked for: more pages than `max-pages`", 1);
                    continue;
                }
                for link in self.page(&key, &url)? {
                    let key = address::key(&link);
                    if self.met.insert(key.clone()) {
                        next.insert(key, link);
                    }
                }
                let known = self.visits + waiting + next.len() as u64;
                self.visitor.run.progress(self.visits, Some(known), "pages", url.path());
            }
            level = next;
        }
        if !self.pending.is_empty() {
            return Err(WebsiteError::Pending { pending: self.pending });
        }
        let left = self.site.counts.get("not asked for: more pages than `max-pages`");
        if left > 0 {
            let most = self.settings.max_pages;
            self.visitor.run.warn(format!(
                "{left} pages were not asked for, since `max-pages` is {most}: raise it, or narrow `prefix`, `include` and `exclude`"
            ));
        }
        Ok(self.site)
    }

    /// Returns the pages to start from and those of the sitemaps.
    fn first_level(&mut self) -> Result<BTreeMap<String, Url>, WebsiteError> {
        let mut level = BTreeMap::new();
        for start in self.settings.starts() {
            if !self.visitor.may_read(&start)? {
                return Err(WebsiteError::Robots { site: origin(&start), url: net::shown(start.as_str()) });
            }
            level.insert(address::key(&start), start);
        }
        for url in self.sitemap_pages()? {
            if self.admits(&url)? {
                level.entry(address::key(&url)).or_insert(url);
            }
        }
        self.met.extend(level.keys().cloned());
        Ok(level)
    }

    /// Returns the addresses that the sitemaps name, in order.
    fn sitemap_pages(&mut self) -> Result<BTreeSet<Url>, WebsiteError> {
        let mut pages = BTreeSet::new();
        let mut level: BTreeSet<Url> = self.settings.sitemaps().into_iter().collect();
        let mut read: BTreeSet<Url> = BTreeSet::new();
        for _ in 0..SITEMAP_LEVELS {
            let mut next = BTreeSet::new();
            for url in level {
                if read.len() >= MOST_SITEMAPS || !read.insert(url.clone()) {
                    continue;
                }
                let sitemap = self.sitemap(&url)?;
                pages.extend(sitemap.pages.iter().filter_map(|page| address::resolved(&url, page)));
                let further = sitemap.sitemaps.iter().filter_map(|further| address::resolved(&url, further));
                // A sitemap of another host says nothing about this one.
                next.extend(further.filter(|further| further.origin() == url.origin()));
            }
            level = next;
        }
        self.site.counts.add("sitemaps read", read.len() as u64);
        Ok(pages)
    }

    /// Returns a sitemap that came earlier in this round, or fetches it.
    fn sitemap(&self, url: &Url) -> Result<Sitemap, WebsiteError> {
        if !self.visitor.may_read(url)? {
            return Err(WebsiteError::Robots { site: origin(url), url: net::shown(url.as_str()) });
        }
        let part = format!("sitemap {url}");
        if let Some(sitemap) = self.visitor.kept.of_this_round(&part) {
            return Ok(sitemap);
        }
        let request = Request::get(net::Url::parse(url.as_str())?).stays();
        let response = self.visitor.send(&request)?;
        let bad = |problem| WebsiteError::BadSitemap { url: net::shown(url.as_str()), problem };
        let sitemap = sitemap::read(&response.body).map_err(bad)?;
        self.visitor.kept.keep(&part, &sitemap)?;
        Ok(sitemap)
    }

    /// Returns whether an address is to be read, and counts it where it is not.
    fn admits(&mut self, url: &Url) -> Result<bool, WebsiteError> {
        let reason = match self.scope.refuses(url) {
            Some(reason) => Some(reason),
            None if self.met.len() >= MOST_ADDRESSES => Some("more than half a million"),
            None if !self.visitor.may_read(url)? => Some("robots.txt"),
            None => None,
        };
        if let Some(reason) = reason
            && self.met.len() < MOST_ADDRESSES
            && self.met.insert(format!("{reason} {}", address::key(url)))
        {
            self.site.counts.add(format!("address not followed: {reason}"), 1);
        }
        Ok(reason.is_none())
    }

    /// Reads one page and returns the links on it that are to be followed.
    fn page(&mut self, key: &str, url: &Url) -> Result<Vec<Url>, WebsiteError> {
        self.visits += 1;
        let visit = match self.visitor.visit(key, url) {
            Ok(visit) => visit,
            Err(error) if error.is_of_one_page() => {
                self.failures_in_a_row += 1;
                self.pending.push(error.to_string());
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        self.failures_in_a_row = 0;
        let Some(read) = self.read(key, visit)? else { return Ok(Vec::new()) };
        let mut links = Vec::new();
        if !self.settings.start.is_empty() {
            for link in &read.page.links {
                if self.admits(link)? {
                    links.push(link.clone());
                }
            }
        }
        // A page to start from may lie outside of what is kept.
        if self.scope.refuses(&read.url).is_none() || key_is_kept(self.scope, &read.url) {
            self.site.pages.insert(address::key(&read.url), read);
        } else {
            self.site.counts.add("page read for its links alone", 1);
        }
        Ok(links)
    }

    /// Reads what a visit found, and counts it where that is no page of the site.
    fn read(&mut self, key: &str, visit: Visit) -> Result<Option<Read>, WebsiteError> {
        let dropped = |site: &mut Site, why: String| {
            site.counts.add(format!("dropped page: {why}"), 1);
            Ok(None)
        };
        let (body, kind) = match visit.found {
            Found::Page(body, kind) => (body, kind),
            Found::Nothing(why) => return dropped(&mut self.site, why),
        };
        let Ok(mut url) = Url::parse(&visit.url) else { return dropped(&mut self.site, "an address of no use".into()) };
        if address::key(&url) != key {
            // What a redirect puts into a query is a session, and another one each time.
            if !self.settings.queries {
                url.set_query(None);
            }
            let found_at = address::key(&url);
            if self.site.pages.contains_key(&found_at) {
                self.site.counts.add("merged page: leads to another one", 1);
                return Ok(None);
            }
            if !self.scope.holds(&url) || !self.visitor.may_read(&url)? {
                return dropped(&mut self.site, "leads out of the site".into());
            }
            self.met.insert(found_at);
        }
        match page::read(&self.visitor.body(&body)?, &kind, &url) {
            Ok(page) => Ok(Some(Read { url, page })),
            Err(problem) => dropped(&mut self.site, problem.to_string()),
        }
    }
}

/// Returns whether a page to start from is kept though its address has a query: somebody named it.
fn key_is_kept(scope: &Scope, url: &Url) -> bool {
    let mut bare = url.clone();
    bare.set_query(None);
    scope.refuses(&bare).is_none()
}
