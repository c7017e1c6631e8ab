//! Large files from servers that break off, lie, limit and redirect.

use std::path::{Path, PathBuf};

use super::*;
use crate::net::testing::breaking;

/// A file that is fetched.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

struct Fetched {
    result: Result<()>,
    bytes: Vec<u8>,
    waits: Vec<String>,
}

/// Fetches `/file` into `part`, as a client with a token for the server.
fn fetch(server: &Server, part: &Path, size: Option<u64>) -> Fetched {
    let watcher = Watcher::default();
    let mut told = Vec::new();
    let mut progress = |done, total| told.push((done, total));
    let mut download = Download { part, size, progress: &mut progress };
    let result = client(server).download(&Request::get(server.url("/file")), &mut download, &watcher);
    let bytes = fs_err::read(part).unwrap_or_default();
    assert!(told.last().is_none_or(|(done, _)| *done == bytes.len() as u64), "{told:?}");
    Fetched { result, bytes, waits: watcher.waits.take() }
}

fn space() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part");
    (folder, part)
}

/// Answers as a server that has the file, and honours ranges.
fn served(request: &Asked, content: &[u8]) -> Told {
    let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
    let start =
        range.map(|range| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse::<usize>().unwrap());
    match start {
        Some(start) if start >= content.len() => {
            { Told::builder().status(416).header("content-range", format!("bytes */{}", content.len())) }
                .body(Body::empty())
        }
        Some(start) => Told::builder()
            .status(206)
            .header("content-range", format!("bytes {start}-{}/{}", content.len() - 1, content.len()))
            .body(Body::from(content[start..].to_vec())),
        None => Told::builder().status(200).body(Body::from(content.to_vec())),
    }
    .unwrap()
}

/// Announces the whole rest and sends `count` bytes of it.
fn cut(request: &Asked, content: &[u8], count: usize) -> Told {
    let (mut head, _) = served(request, content).into_parts();
    let start = head.headers.get("content-range").map_or(0, |range| {
        range.to_str().unwrap().trim_start_matches("bytes ").split('-').next().unwrap().parse().unwrap()
    });
    head.headers.insert("content-length", (content.len() - start).into());
    let sent = content[start..(start + count).min(content.len())].to_vec();
    Told::from_parts(head, breaking(sent))
}

#[test]
fn a_connection_that_breaks_again_and_again_still_brings_the_whole_file() {
    // Seven breaks, with three tries that may fail: those that bring something are no failures.
    let server = Server::start(|number, request| match number {
        1..8 => cut(request, &content(), 150_000),
        _ => served(request, &content()),
    });
    let (_space, part) = space();
    let fetched = fetch(&server, &part, Some(1_200_000));
    fetched.result.unwrap();
    assert!(fetched.bytes == content());
    let starts: Vec<_> = (1..8).map(|request| server.header(request, "range")).collect();
    assert!(starts.iter().all(Option::is_some), "{starts:?}");
    assert_eq!(server.header(0, "range"), None);
}

#[test]
fn what_an_earlier_fetch_brought_is_not_asked_for_again() {
    let server = Server::start(|_, request| served(request, &content()));
    let (_space, part) = space();
    fs_err::write(&part, &content()[..1_000_001]).unwrap();
    let fetched = fetch(&server, &part, None);
    fetched.result.unwrap();
    assert!(fetched.bytes == content());
    assert_eq!(server.header(0, "range").as_deref(), Some("bytes=1000001-"));
    fetch(&server, &part, Some(1_200_000)).result.unwrap();
    assert_eq!(server.paths().len(), 1, "a whole file is not asked for at all");
    fetch(&server, &part, None).result.unwrap();
    assert_eq!(server.paths().len(), 2, "416 says that it is whole");
}

#[test]
fn a_server_that_knows_no_ranges_or_has_a_shorter_file_sends_it_from_the_start() {
    let server = Server::start(|_, _| Told::builder().status(200).body(Body::from(content())).unwrap());
    let (_space, part) = space();
    fs_err::write(&part, "half of another file").unwrap();
    let fetched = fetch(&server, &part, None);
    fetched.result.unwrap();
    assert!(fetched.bytes == content());
    let server = Server::start(|_, request| served(request, b"short"));
    let fetched = fetch(&server, &part, None);
    fetched.result.unwrap();
    assert_eq!(fetched.bytes, b"short");
}

#[test]
fn a_range_that_was_not_asked_for_is_not_taken() {
    let server = Server::start(|number, request| match number {
        1 => Told::builder()
            .status(206)
            .header("content-range", "bytes 0-9/1200000")
            .body(Body::from("0123456789"))
            .unwrap(),
        _ => served(request, &content()),
    });
    let (_space, part) = space();
    fs_err::write(&part, &content()[..5]).unwrap();
    let fetched = fetch(&server, &part, None);
    fetched.result.unwrap();
    assert!(fetched.bytes == content());
}

#[test]
fn a_file_of_another_size_is_refused_before_it_is_fetched() {
    let server = Server::start(|_, request| served(request, &content()));
    let (_space, part) = space();
    let fetched = fetch(&server, &part, Some(7));
    assert_eq!(fetched.bytes.len(), 0);
    let error = fetched.result.unwrap_err().to_string();
    assert!(error.ends_with("has 1200000 bytes, it should have 7"), "{error}");
}

#[test]
fn a_redirect_to_another_host_gets_no_token_and_is_taken_anew_with_each_try() {
    let store = Server::start(|number, request| match number {
        1 => cut(request, &content(), 100_000),
        _ => served(request, &content()),
    });
    let target = store.url("/blob?signature=1").to_string().replace("127.0.0.1", "localhost");
    let server = Server::start(move |_, _| told(302, &[("location", &target)], ""));
    let (_space, part) = space();
    let fetched = fetch(&server, &part, Some(1_200_000));
    fetched.result.unwrap();
    assert!(fetched.bytes == content());
    assert_eq!(server.paths().len(), 2);
    assert!(server.header(0, "authorization").is_some());
    assert_eq!((store.header(0, "authorization"), store.header(1, "authorization")), (None, None));
    assert_eq!(store.header(1, "range").as_deref(), Some("bytes=100000-"));
}

#[test]
fn limits_are_waited_for_and_refusals_are_told() {
    let server = Server::start(|number, request| match number {
        1 => told(429, &[("retry-after", "0")], "slow down"),
        2 => told(503, &[], "busy"),
        _ => served(request, &content()),
    });
    let (_space, part) = space();
    let fetched = fetch(&server, &part, None);
    fetched.result.unwrap();
    assert!(fetched.waits[0].ends_with("limits requests") && fetched.waits[1].ends_with("failed, trying again"));
    for (status, help) in [(401, "the token is wrong"), (404, "misspelt")] {
        let server = Server::start(move |_, _| told(status, &[], "no"));
        let error = fetch(&server, &part.with_extension("2"), None).result.unwrap_err();
        assert!(format!("{:?}", miette::Report::new(error)).contains(help));
    }
    let server = Server::start(|_, request| cut(request, &content(), 0));
    let error = fetch(&server, &part.with_extension("3"), None).result.unwrap_err();
    assert!(error.is_transient(), "{error}");
}
