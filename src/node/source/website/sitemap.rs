//! Sitemaps: a list of pages, or of further sitemaps, as XML, plain text, or either in gzip.

use std::io::Read as _;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

/// Bytes of one sitemap when it is unpacked: the protocol allows 50 MB.
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// Addresses in one sitemap: the protocol allows 50,000.
const MOST_ADDRESSES: usize = 100_000;

/// Bytes of one address: the protocol allows 2,048.
const LONGEST_ADDRESS: usize = 4 << 10;

/// What a sitemap names.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sitemap {
    pub(super) pages: Vec<String>,
    pub(super) sitemaps: Vec<String>,
}

/// Why a sitemap cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SitemapProblem {
    #[error("it has more than {MOST_BYTES} bytes when it is unpacked")]
    TooLarge,
    #[error("its gzip data is damaged: {0}")]
    Gzip(String),
    #[error("its XML is wrong: {0}")]
    Xml(String),
    #[error("it names no address")]
    Empty,
}

/// Reads a sitemap.
pub(super) fn read(bytes: &[u8]) -> Result<Sitemap, SitemapProblem> {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let sitemap = if text.starts_with('<') { xml(text)? } else { plain(text) };
    if sitemap == Sitemap::default() { Err(SitemapProblem::Empty) } else { Ok(sitemap) }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, SitemapProblem> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(MOST_BYTES + 1);
    reader.read_to_end(&mut unpacked).map_err(|error| SitemapProblem::Gzip(error.to_string()))?;
    if unpacked.len() as u64 > MOST_BYTES { Err(SitemapProblem::TooLarge) } else { Ok(unpacked) }
}

/// Reads a list of one address a line.
fn plain(text: &str) -> Sitemap {
    let pages = text.lines().map(str::trim).filter(|line| line.starts_with("http") && line.len() <= LONGEST_ADDRESS);
    Sitemap { pages: pages.take(MOST_ADDRESSES).map(str::to_owned).collect(), sitemaps: Vec::new() }
}

/// Reads `<loc>` below `<url>` and `<sitemap>`. Entities that the text declares itself are not followed.
fn xml(text: &str) -> Result<Sitemap, SitemapProblem> {
    let wrong = |error: quick_xml::Error| SitemapProblem::Xml(error.to_string());
    let mut reader = Reader::from_str(text);
    let mut sitemap = Sitemap::default();
    let mut open: Vec<String> = Vec::new();
    let mut address: Option<String> = None;
    loop {
        let more = match reader.read_event().map_err(wrong)? {
            Event::Start(start) => {
                let name = local(start.name().as_ref()).to_owned();
                let is_entry = matches!(open.last().map(String::as_str), Some("url" | "sitemap"));
                address = (name == "loc" && is_entry).then(String::new);
                open.push(name);
                continue;
            }
            Event::End(_) => {
                open.pop();
                let address = address.take().map(|address| address.trim().to_owned());
                if let Some(address) = address.filter(|address| !address.is_empty()) {
                    let is_page = open.last().is_some_and(|entry| entry == "url");
                    if is_page { &mut sitemap.pages } else { &mut sitemap.sitemaps }.push(address);
                }
                if sitemap.pages.len() + sitemap.sitemaps.len() >= MOST_ADDRESSES {
                    return Ok(sitemap);
                }
                continue;
            }
            Event::Text(text) => text.to_string(),
            Event::CData(text) => text.to_string(),
            Event::GeneralRef(reference) => match (reference.resolve_char_ref(), &*reference) {
                (Ok(Some(character)), _) => character.to_string(),
                (_, "amp") => "&".to_owned(),
                (_, "apos") => "'".to_owned(),
                (_, "quot") => "\"".to_owned(),
                (_, "lt") => "<".to_owned(),
                (_, "gt") => ">".to_owned(),
                _ => continue,
            },
            Event::Eof => return Ok(sitemap),
            _ => continue,
        };
        if let Some(so_far) = &mut address
            && so_far.len() + more.len() <= LONGEST_ADDRESS
        {
            so_far.push_str(&more);
        }
    }
}

/// Returns a name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pages(text: &str) -> Vec<String> {
        read(text.as_bytes()).unwrap().pages
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn pages_and_further_sitemaps_are_told_apart() {
        let urls = "\u{feff}<?xml version='1.0'?><urlset xmlns='x' xmlns:image='y'><url><loc> https://a/?x=1&amp;y=&#50; </loc>\
            <lastmod>2026</lastmod><image:image><image:loc>https://a/i.png</image:loc></image:image></url>\
            <url><lastmod>1</lastmod><loc><![CDATA[https://a/b]]></loc></url><url><loc/></url></urlset>";
        assert_eq!(pages(urls), ["https://a/?x=1&y=2", "https://a/b"]);
        let index =
            "<s:sitemapindex xmlns:s='x'><s:sitemap><s:loc>https://a/1.xml.gz</s:loc></s:sitemap></s:sitemapindex>";
        assert_eq!(read(index.as_bytes()).unwrap().sitemaps, ["https://a/1.xml.gz"]);
        assert_eq!(read(&packed(urls.as_bytes())).unwrap().pages.len(), 2);
        assert_eq!(pages("https://a/1\r\nnot one\nhttps://a/2\n"), ["https://a/1", "https://a/2"]);
    }

    #[test]
    fn hostile_sitemaps_are_told_or_bounded() {
        let problem = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(problem(b"<html><h1>404</h1></html>").contains("names no address"));
        assert!(problem(b"").contains("names no address"));
        assert!(problem(b"<urlset><url></urlset>").contains("XML is wrong"));
        assert!(problem(&packed(b"<urlset>")[..20]).contains("gzip"));
        assert_eq!(read(&packed(&vec![b' '; MOST_BYTES as usize + 1])), Err(SitemapProblem::TooLarge));
        let laughs = "<!DOCTYPE x [<!ENTITY a 'https://a/'><!ENTITY b '&a;&a;'>]><urlset><url><loc>https://a/&b;</loc></url></urlset>";
        assert_eq!(pages(laughs), ["https://a/"]);
        let deep = format!("{}<url><loc>https://a/</loc></url>{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert_eq!(pages(&deep), ["https://a/"]);
    }
}
