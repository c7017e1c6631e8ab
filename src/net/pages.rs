//! Listings: page after page by the `Link` header, never by a number of our own.

use std::collections::BTreeSet;

use super::{Client, NetError, Request, Response, Result, Url, Watch};

/// The pages of a listing, in order. After an error there are no more.
pub struct Pages<'a> {
    client: &'a Client,
    watch: &'a dyn Watch,
    origin: String,
    next: Option<Request<'a>>,
    seen: BTreeSet<Url>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(client: &'a Client, request: Request<'a>, watch: &'a dyn Watch) -> Self {
        Self { client, watch, origin: request.url().origin(), next: Some(request), seen: BTreeSet::new() }
    }

    fn page(&mut self, request: &Request<'a>) -> Result<Response> {
        self.seen.insert(request.url().clone());
        let response = self.client.send(request, self.watch)?;
        self.next = match response.link.as_deref().and_then(|header| link(header, "next")) {
            Some(link) => Some(request.at(self.checked(&response.url, link)?)),
            None => None,
        };
        Ok(response)
    }

    /// Reads a next link, which must lead to a page of the same origin that was not read yet.
    fn checked(&self, page: &Url, link: &str) -> Result<Url> {
        let bad = |next: String, why| self.client.told(NetError::BadNextPage { url: page.to_string(), next, why });
        let next = page.join(link).map_err(|_| bad(link.to_owned(), "that is no address"))?;
        if next.origin() != self.origin {
            return Err(bad(next.to_string(), "it is on another origin"));
        }
        if self.seen.contains(&next) {
            return Err(bad(next.to_string(), "it was read already"));
        }
        if self.seen.len() >= self.client.policy().max_pages as usize {
            return Err(bad(next.to_string(), "the listing has more pages than any real one"));
        }
        Ok(next)
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Response>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.next.take()?;
        Some(self.page(&request))
    }
}

impl Response {
    /// Returns how many pages the listing has that this is a page of, where its `Link: rel="last"` counts them.
    pub fn last_page(&self) -> Option<u64> {
        let last = link(self.link.as_deref()?, "last")?;
        let query = last.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
    }
}

/// Returns the target of the first link with this relation (RFC 8288).
fn link<'h>(header: &'h str, relation: &str) -> Option<&'h str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = end_of_parameters(after);
        if has_relation(&after[..end], relation) {
            return Some(target.trim());
        }
        rest = &after[end..];
    }
    None
}

/// Returns where the parameters of one link end: at a comma outside quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn has_relation(parameters: &str, wanted: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let relations = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && relations.split_whitespace().any(|relation| relation.eq_ignore_ascii_case(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::link;

    fn next_link(header: &str) -> Option<&str> {
        link(header, "next")
    }

    #[test]
    fn the_next_link_is_found_among_foreign_relations() {
        let header = r#"<https://github.blog/x>; rel="deprecation"; type="text/html", <https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last""#;
        assert_eq!(next_link(header), Some("https://a/?page=2"));
        assert_eq!(
            next_link(r#"<https://a/?q=1,2>; title="x, <y>; rel=next"; rel="prev next""#),
            Some("https://a/?q=1,2")
        );
        assert_eq!(next_link("<?page=2>;REL=next"), Some("?page=2"));
    }

    #[test]
    fn a_header_without_a_next_link_ends_the_listing() {
        for header in
            ["", "<", "<https://a/>", r#"<https://a/>; rel="prev""#, r#"<https://a/>; rel="nextest""#, "rel=next"]
        {
            assert_eq!(next_link(header), None, "{header}");
        }
    }
}
