//! What errors tell of addresses: a server may put anybody's secret into one, and the client's own token too.

use super::*;

/// Somebody else's secret, as a store of files signs an address.
const SIGNED: &str = "s1gnatureOfSomebody";

/// Returns the error as a user sees it, in which neither secret may stand.
#[track_caller]
fn told_error<T: std::fmt::Debug>(result: Result<T>) -> String {
    let text = format!("{:?} {result:?}", miette::Report::msg(result.as_ref().unwrap_err().to_string()));
    assert!(!text.contains(TOKEN) && !text.contains(SIGNED), "{text}");
    result.unwrap_err().to_string()
}

fn shown_at(server: &Server, path: &str) -> String {
    format!("{}{path}", server.base.origin())
}

#[test]
fn a_redirects_query_is_told_without_its_secrets() {
    let target = format!("/file?token={SIGNED}&page=2&seen={TOKEN}&X-Amz-Signature={SIGNED}");
    let server = Server::start(move |_, request| match request.uri().path() {
        "/file" => told(404, &[], "gone"),
        _ => told(302, &[("location", &target)], ""),
    });
    let expected = format!("`{}` answered 404", shown_at(&server, "/file?token=…&page=2&seen=***&X-Amz-Signature=…"));
    let text = told_error(get(&server, "/tarball"));
    assert!(text.starts_with(&expected), "{text}");
    assert!(server.paths()[1].contains(SIGNED) && server.paths()[1].contains(TOKEN), "what is sent is whole");
    let folder = tempfile::tempdir().unwrap();
    let mut download = Download { part: &folder.path().join("part"), size: None, progress: &mut |_, _| {} };
    let request = Request::get(server.url("/tarball"));
    let text = told_error(client(&server).download(&request, &mut download, &Watcher::default()));
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_token_is_masked_where_another_host_says_it() {
    let other = Server::start(|_, request| told(404, &[], &format!("no {}", request.uri())));
    let target = other.url(&format!("/{TOKEN}/x?echo={TOKEN}")).to_string();
    let server = Server::start(move |_, _| told(302, &[("location", &target)], ""));
    let text = told_error(get(&server, "/"));
    assert_eq!(text, format!("`{}` answered 404: \"no /***/x?echo=***\"", shown_at(&other, "/***/x?echo=***")));
}

#[test]
fn a_redirect_that_is_not_followed_is_told_without_its_secrets() {
    for (location, shown) in [
        (format!("ftp://me:{SIGNED}@host/x?jwt={SIGNED}&u={TOKEN}"), "`ftp://host/x?jwt=…&u=***`"),
        (format!("{}{TOKEN}", "http://host name/".to_owned() + &"x".repeat(190)), "`http://host name/xxx"),
    ] {
        let server = Server::start(move |_, _| told(302, &[("location", &location)], ""));
        let text = told_error(get(&server, "/"));
        assert!(text.contains(&format!("redirects to {shown}")), "{text}");
        assert!(!text.contains(&TOKEN[..8]), "half a token: {text}");
    }
}

#[test]
fn a_next_page_that_is_not_followed_is_told_without_its_secrets() {
    let query = format!("access_token={SIGNED}&page=2&u={TOKEN}");
    for link in [format!("http://127.0.0.1:1/x?{query}"), format!("ftp://x/?{query}"), format!("/?{query}")] {
        let header = format!("<{link}>; rel=\"next\"");
        let server = Server::start(move |_, _| told(200, &[("link", &header)], "[]"));
        let (client, watcher) = (client(&server), Watcher::default());
        let last = client.pages(Request::get(server.url("/")), &watcher).last().unwrap();
        let text = told_error(last);
        assert!(text.contains("?access_token=…&page=2&u=***`"), "{text}");
    }
}

#[test]
fn a_reply_whose_link_holds_the_token_is_not_kept() {
    let header = format!("</?page=2&u={TOKEN}>; rel=\"next\"");
    let server = Server::start(move |_, _| told(200, &[("link", &header), ("etag", "\"1\"")], "[]"));
    let kept = Kept::default();
    client(&server).send(&Request::get(server.url("/")).conditional(&kept), &Watcher::default()).unwrap();
    assert!(kept.0.borrow().is_empty());
}

#[test]
fn an_answer_of_another_form_is_told_without_the_token() {
    let server = Server::start(|_, _| told(200, &[], &format!(r#"["{TOKEN}"]"#)));
    let error = get(&server, "/").unwrap().json::<Vec<u64>>().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("***"), "{cause}");
    told_error(Err::<(), _>(error));
}

#[test]
fn a_login_is_masked_in_the_form_it_is_sent_in() {
    let server = Server::start(|_, request| told(401, &[], request.headers()["authorization"].to_str().unwrap()));
    let login = Client::new(quick()).with_login(&server.base, "me", Secret::new("pass word/1").unwrap());
    let text = told_error(login.send(&Request::get(server.url("/?u=pass%20word%2F1")), &Watcher::default()));
    assert_eq!(text, format!("`{}` answered 401: \"Basic ***\"", shown_at(&server, "/?u=***")));
}
