//! Proxies, and servers whose certificates only their owners vouch for.

use std::io::BufRead as _;
use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

fn network(variables: &[(&str, &str)]) -> Network {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Network::from_variables(find)
}

/// A proxy that leads whoever asks to `target`, whatever host they name, and remembers heads. Like many, it opens no tunnel
/// for plain HTTP: it takes absolute addresses and passes on their paths.
fn proxy(target: &Url) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (target, log) = (target.host(), asked.clone());
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let lines = reader.by_ref().lines();
            let lines: Vec<String> = lines.map_while(|line| line.ok().filter(|line| !line.is_empty())).collect();
            // What the reader has of the body already.
            let body = reader.buffer().to_vec();
            log.lock().unwrap().extend(lines.clone());
            let mut server = TcpStream::connect(&target).unwrap();
            let (method, rest) = lines[0].split_once(' ').unwrap();
            if method == "CONNECT" && !rest.contains(":443 ") {
                (&client).write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").unwrap();
                continue;
            } else if method == "CONNECT" {
                (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            } else {
                let path = rest.strip_prefix("http://").map(|rest| &rest[rest.find('/').unwrap()..]).unwrap();
                let own = |line: &&String| !line.to_ascii_lowercase().starts_with("proxy-");
                let headers: Vec<&str> = lines[1..].iter().filter(own).map(String::as_str).collect();
                write!(server, "{method} {path}\r\n{}\r\n\r\n", headers.join("\r\n")).unwrap();
                server.write_all(&body).unwrap();
            }
            pass(client.try_clone().unwrap(), server.try_clone().unwrap());
            pass(server, client);
        }
    });
    (address, asked)
}

/// Passes on what comes, and the end.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(std::net::Shutdown::Write).ok();
    });
}

#[test]
fn a_request_goes_through_the_proxy_unless_the_host_is_excepted() {
    let server = Server::start(|_, _| told(200, &[], "behind"));
    let (address, asked) = proxy(&server.base);
    let through = |variables: &[(&str, &str)], url: &str| {
        let client = Client::on(network(variables), Policy { attempts: 1, ..quick() });
        client.send(&Request::get(Url::parse(url).unwrap()), &Watcher::default())
    };
    let named = format!("http://me:secret@{address}");
    let response = through(&[("HTTP_PROXY", &named)], "http://server.invalid/x").unwrap();
    assert_eq!((response.body.as_slice(), server.paths()), (b"behind".as_slice(), vec!["/x".to_owned()]));
    let lines = std::mem::take(&mut *asked.lock().unwrap());
    assert_eq!(lines[0], "GET http://server.invalid/x HTTP/1.1");
    assert!(lines.iter().any(|line| line.eq_ignore_ascii_case("host: server.invalid")), "{lines:?}");
    assert!(lines.iter().any(|line| line.to_ascii_lowercase().starts_with("proxy-authorization: basic ")), "{lines:?}");
    let text = shown(through(&[("HTTP_PROXY", &named), ("NO_PROXY", ".invalid")], "http://server.invalid/x"));
    assert!(text.contains("no reply from") && !text.contains("secret"), "{text}");
    // This machine is never behind a proxy.
    let url = server.url("/y").to_string();
    assert_eq!(through(&[("ALL_PROXY", &named)], &url).unwrap().body, b"behind");
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn several_requests_and_what_they_send_go_through_a_proxy_without_a_tunnel() {
    let server = Server::start(|_, request| told(200, &[], request.method().as_str()));
    let (address, asked) = proxy(&server.base);
    let client = Client::on(network(&[("HTTP_PROXY", &address)]), Policy { attempts: 1, ..quick() });
    let url = |path: &str| Url::parse(&format!("http://server.invalid:8080{path}")).unwrap();
    let long = url(&format!("/{}?a=b", "x".repeat(5_000)));
    for request in [
        Request::get(url("/1")),
        Request::post_json(url("/2"), &serde_json::json!({"a": "b".repeat(40_000)})),
        Request::get(long.clone()),
    ] {
        let method = request.method.to_string();
        assert_eq!(client.send(&request, &Watcher::default()).unwrap().body, method.as_bytes());
    }
    let asked = asked.lock().unwrap();
    let first: Vec<&str> = asked.iter().map(String::as_str).filter(|line| line.ends_with(" HTTP/1.1")).collect();
    let expected = format!("GET {long} HTTP/1.1");
    assert_eq!(first[1..], ["POST http://server.invalid:8080/2 HTTP/1.1", expected.as_str()]);
    assert!(!asked.iter().any(|line| line.to_ascii_lowercase().starts_with("proxy-")), "{asked:?}");
}

#[test]
fn encrypted_requests_still_go_through_a_tunnel() {
    let (address, asked) = proxy(&tls_server());
    let client = Client::on(network(&[("HTTPS_PROXY", &address)]), Policy { attempts: 1, ..quick() });
    let url = Url::parse("https://server.invalid/x").unwrap();
    // Nobody vouches for that server's certificate.
    assert!(client.send(&Request::get(url), &Watcher::default()).is_err());
    assert_eq!(asked.lock().unwrap()[0], "CONNECT server.invalid:443 HTTP/1.1");
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name).to_str().unwrap().to_owned()
}

/// Answers every request over TLS, with a certificate that only `authority.pem` vouches for.
fn tls_server() -> Url {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = [0; 4096];
            // Who does not trust the certificate leaves here.
            if stream.read(&mut request).is_ok() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsafe").ok();
            }
        }
    });
    url
}

#[test]
fn a_certificate_of_ones_own_authority_is_trusted_when_it_is_named() {
    let url = tls_server();
    let ask = |network: Network| {
        Client::on(network, Policy { attempts: 2, ..quick() }).send(&Request::get(url.clone()), &Watcher::default())
    };
    let named = network(&[("SSL_CERT_FILE", &fixture("authority.pem"))]);
    assert_eq!(ask(named).unwrap().body, b"safe");
    for stranger in [network(&[]), Network::default()] {
        let text = shown(ask(stranger));
        assert!(text.contains("is not trusted") && text.contains("SSL_CERT_FILE"), "{text}");
    }
}

#[test]
fn a_file_without_certificates_sends_nothing() {
    for file in ["absent.pem", "server.key"] {
        let client = Client::on(network(&[("SSL_CERT_FILE", &fixture(file))]), quick());
        let text = shown(client.send(&Request::get(Url::parse("https://localhost:1/").unwrap()), &Watcher::default()));
        assert!(text.contains("name no certificate"), "{file}: {text}");
    }
}
