//! Servers that take all the time, memory or patience that they are given.

use std::io::Write as _;

use super::*;

/// Sends `head` to each who connects, and then `more` again and again with pauses between, for as long as they stay.
fn dripping_server(head: &'static str, more: &'static [u8], pause: Duration) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _length = stream.read(&mut request).unwrap();
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    std::thread::sleep(pause);
                    sent = stream.write_all(more);
                }
            });
        }
    });
    url
}

fn ask(url: Url, policy: Policy) -> Result<Response> {
    Client::new(policy).send(&Request::get(url), &Watcher::default())
}

#[test]
fn a_slow_drip_ends_at_the_deadline() {
    let url = dripping_server("HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n", b"x", Duration::from_millis(5));
    let text = shown(ask(url, Policy { deadline: Duration::from_millis(100), attempts: 2, ..quick() }));
    assert!(text.contains("did not answer within 100ms, in 2 tries"), "{text}");
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_not_waited_for() {
    let url = dripping_server("HTTP/1.1 200 OK\r\ncontent-length: 2147483648\r\n\r\n", b"x", Duration::from_millis(5));
    let text = shown(ask(url, quick()));
    assert!(text.contains("is larger than 67108864 bytes"), "{text}");
}

#[test]
fn a_body_without_end_is_left_at_the_cap() {
    const PIECE: &[u8] = b"10\r\nsixteen bytes, x\r\n";
    let url = dripping_server("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", PIECE, Duration::ZERO);
    let text = shown(ask(url, Policy { max_bytes: 10_000, ..quick() }));
    assert!(text.contains("is larger than 10000 bytes"), "{text}");
}

#[test]
fn a_gzip_bomb_is_left_at_the_cap() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let server = Server::start(move |_, _| {
        let head = Told::builder().header("content-encoding", "gzip");
        head.body(Body::from(bomb.clone())).unwrap()
    });
    let text = shown(ask(server.url("/"), Policy { max_bytes: 1 << 20, ..quick() }));
    assert!(text.contains("is larger than 1048576 bytes"), "{text}");
    assert_eq!(server.paths().len(), 1);
}

#[test]
fn a_request_may_bring_its_own_bounds() {
    let server = Server::start(|_, _| told(200, &[], &"x".repeat(100_000)));
    let client = Client::new(Policy { max_bytes: 10, ..quick() });
    let request = Request::get(server.url("/")).bounded(100_000, Duration::from_secs(60));
    assert_eq!(client.send(&request, &Watcher::default()).unwrap().body.len(), 100_000);
    let request = Request::get(server.url("/")).bounded(99_999, Duration::from_secs(60));
    assert!(shown(client.send(&request, &Watcher::default())).contains("is larger than 99999 bytes"));
}

#[test]
fn tries_without_end_end_with_the_total_deadline() {
    let server = Server::start(|_, _| told(503, &[], "busy"));
    let pause = Duration::from_millis(10);
    let total = Duration::from_millis(300);
    let policy = Policy { attempts: u32::MAX, backoff: pause, deadline: total, total, ..Policy::default() };
    let text = shown(ask(server.url("/"), policy));
    assert!(text.contains("answered 503 in"), "{text}");
}

#[test]
fn one_try_may_take_its_deadline_even_where_that_is_longer_than_the_total() {
    let server = Server::start(|_, _| told(200, &[], "done"));
    assert_eq!(ask(server.url("/"), Policy { total: Duration::from_nanos(1), ..quick() }).unwrap().body, b"done");
}

#[test]
fn redirects_share_one_total_deadline() {
    let server = Server::start(|number, request| match request.uri().path() {
        "/end" => told(200, &[], "done"),
        _ if number % 2 == 1 => told(503, &[], "busy"),
        _ => told(302, &[("location", "/again")], ""),
    });
    // Each hop fails once and pauses longer than is left to all.
    let pause = Duration::from_millis(80);
    let total = Duration::from_millis(100);
    let policy = Policy { attempts: 20, backoff: pause, deadline: total, total, ..Policy::default() };
    let text = shown(ask(server.url("/"), policy));
    assert!(text.contains("answered 503 in"), "{text}");
}

#[test]
fn a_pause_that_a_failing_server_asks_for_counts_against_the_patience_not_the_total() {
    let server = Server::start(|number, _| match number {
        1 => told(503, &[("retry-after", "1")], "busy"),
        _ => told(200, &[], "done"),
    });
    let total = Duration::from_millis(700);
    let policy = Policy { deadline: total, total, ..quick() };
    assert_eq!(ask(server.url("/"), policy.clone()).unwrap().body, b"done");
    let impatient = Policy { max_wait: Duration::from_millis(500), ..policy };
    let server = Server::start(|_, _| told(503, &[("retry-after", "1")], "busy"));
    assert!(shown(ask(server.url("/"), impatient)).contains("answered 503 in 1 tries"));
}

#[test]
fn retry_after_as_a_date_is_waited_for_by_the_servers_clock() {
    let server = Server::start(|number, _| match number {
        1 => {
            let now = ("date", "Thu, 31 Dec 2099 22:00:00 GMT");
            told(429, &[now, ("retry-after", "Thu, 31 Dec 2099 22:00:01 GMT")], "{}")
        }
        2 => told(
            403,
            &[("date", "Thu, 31 Dec 2099 22:00:00 GMT"), ("retry-after", "Thu, 31 Dec 2099 23:00:00 GMT")],
            "",
        ),
        _ => told(200, &[], "done"),
    });
    let policy = Policy { max_wait: Duration::from_secs(60), ..quick() };
    let NetError::RateLimited { wait, .. } = ask(server.url("/"), policy).unwrap_err() else { panic!("not limited") };
    assert_eq!((wait, server.paths().len()), (Duration::from_hours(1), 2));
}

#[test]
fn a_wait_beyond_all_dates_is_a_limit_as_any_other() {
    let (remaining, date) = (("x-ratelimit-remaining", "0"), ("date", "Thu, 31 Dec 2099 22:00:00 GMT"));
    for headers in [
        vec![("retry-after", "999999999999")],
        vec![("retry-after", "18446744073709551615")],
        vec![("retry-after", "99999999999999999999")],
        // Milliseconds, by a server that mistook the unit.
        vec![remaining, ("x-ratelimit-reset", "4102444800000"), date],
        vec![remaining, ("x-ratelimit-reset", "18446744073709551615")],
    ] {
        let said = headers.clone();
        // A second waited for before must not make the sum too large for a number.
        let server = Server::start(move |number, _| match number {
            1 => told(429, &[("retry-after", "1")], "{}"),
            _ => told(429, &said, "{}"),
        });
        let error = ask(server.url("/"), quick()).unwrap_err();
        assert!(matches!(error, NetError::RateLimited { .. }), "{headers:?}: {error}");
        assert!(error.to_string().contains("limits requests until after the year 9999, which is"), "{error}");
        assert_eq!(server.paths().len(), 2);
    }
}

#[test]
fn a_pause_beyond_all_time_of_a_failing_server_is_not_waited_for() {
    let server = Server::start(|number, _| match number {
        1 => told(503, &[("retry-after", "1")], "busy"),
        _ => told(503, &[("retry-after", "18446744073709551615")], "busy"),
    });
    assert!(shown(ask(server.url("/"), quick())).contains("answered 503 in 2 tries"));
}

#[test]
fn whoever_has_all_patience_waits_until_a_cancel() {
    let server = Server::start(|_, _| told(429, &[("retry-after", "18446744073709551615")], "{}"));
    let watcher = Watcher { cancels: AtomicBool::new(true), ..Watcher::default() };
    let client = Client::new(Policy { max_wait: Duration::MAX, ..quick() });
    let result = client.send(&Request::get(server.url("/")), &watcher);
    assert!(matches!(result, Err(NetError::Cancelled)), "{result:?}");
}
