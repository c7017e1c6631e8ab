//! The way to the network that a machine has: proxies, and whose certificates are trusted.
//!
//! Both are told by the variables that other programs read, too: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`
//! in either case, `SSL_CERT_FILE` and `SSL_CERT_DIR`. Without the last two the platform's own certificates are trusted,
//! and where it has none, Mozilla's. They belong to the process, like its clock: whoever starts it sets them once.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use ureq::Proxy;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{NetError, Result, Url};

/// Proxies and trusted certificates.
#[derive(Clone, Debug, Default)]
pub struct Network {
    http: Option<Chosen>,
    https: Option<Chosen>,
    /// Hosts that no proxy stands before.
    direct: Vec<Host>,
    /// Where trusted certificates are; nothing for Mozilla's.
    certificates: Option<Arc<Certificates>>,
}

/// Trusted certificates, read when they are needed first.
#[derive(Debug)]
struct Certificates {
    file: Option<PathBuf>,
    folder: Option<PathBuf>,
    read: OnceLock<Roots>,
}

/// What was read: certificates, or why there are none where some were named.
#[derive(Debug)]
enum Roots {
    Mozilla,
    Found(Arc<Vec<Certificate<'static>>>),
    Absent(String),
}

/// A variable's proxy, or its name when the value is none.
#[derive(Clone, Debug)]
enum Chosen {
    Proxy(Proxy),
    Wrong(&'static str),
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// `*`.
    All,
    /// A name and all names below it, at a port or at any.
    Name(String, Option<u16>),
    /// Addresses with the same first bits.
    Addresses(IpAddr, u8),
}

/// The variables that name the proxy of addresses without TLS, of those with it, and the hosts that none stands before: of
/// each the first that is set.
const HTTP: &[&str] = &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const HTTPS: &[&str] = &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const DIRECT: &[&str] = &["no_proxy", "NO_PROXY"];

/// Returns the first of some variables that is set, with its name.
fn first(names: &[&'static str], value: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, set(name, &value)?)))
}

/// Returns a variable that is set to something.
fn set(name: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    value(name).filter(|value| !value.trim().is_empty())
}

/// Returns the variables that tell another program the same proxies as this one.
pub fn proxy_variables(value: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = (&'static str, String)> {
    let told = [("http_proxy", HTTP), ("https_proxy", HTTPS), ("no_proxy", DIRECT)];
    told.into_iter().filter_map(move |(name, names)| Some((name, first(names, &value)?.1)))
}

static OF_PROCESS: OnceLock<Network> = OnceLock::new();

impl Network {
    /// Reads the variables that `value` gives.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let proxy = |names: &[&'static str]| {
            let (name, value) = first(names, &value)?;
            Some(Proxy::new(value.trim()).map_or(Chosen::Wrong(name), Chosen::Proxy))
        };
        let direct = first(DIRECT, &value).map(|(_, hosts)| hosts).unwrap_or_default();
        let direct = direct.split([',', ' ']).filter_map(Host::parse).collect();
        let path = |name: &str| set(name, &value).map(PathBuf::from);
        let (file, folder) = (path("SSL_CERT_FILE"), path("SSL_CERT_DIR"));
        Self {
            http: proxy(HTTP),
            https: proxy(HTTPS),
            direct,
            certificates: Some(Arc::new(Certificates { file, folder, read: OnceLock::new() })),
        }
    }

    /// Makes this the way of all clients of the process that are made from now on, unless there is one already.
    pub fn set_for_process(self) {
        OF_PROCESS.set(self).ok();
    }

    /// Returns the process' way to the network: a direct one, where nobody said otherwise.
    pub(super) fn of_process() -> Self {
        OF_PROCESS.get().cloned().unwrap_or_default()
    }

    /// Returns the proxy before a host, if one stands there.
    ///
    /// # Errors
    /// A variable's value is no proxy, or no certificate is where one was named: nothing is sent another way.
    pub(super) fn proxy(&self, url: &Url) -> Result<Option<Proxy>> {
        if let (Some(Roots::Absent(why)), false) = (self.certificates.as_ref().map(|it| it.roots()), url.is_plain()) {
            return Err(NetError::NoCertificates { why: why.clone() });
        }
        let chosen = if url.is_plain() { &self.http } else { &self.https };
        match chosen {
            _ if url.is_loopback() || self.direct.iter().any(|host| host.is_of(url)) => Ok(None),
            None => Ok(None),
            Some(Chosen::Proxy(proxy)) => Ok(Some(proxy.clone())),
            Some(Chosen::Wrong(variable)) => Err(NetError::BadProxy { variable }),
        }
    }

    /// Returns whom to trust.
    pub(super) fn tls(&self) -> TlsConfig {
        let roots = match self.certificates.as_ref().map(|certificates| certificates.roots()) {
            Some(Roots::Found(roots)) => RootCerts::Specific(Arc::clone(roots)),
            // Where none was found although some were named, nothing is sent at all.
            Some(Roots::Mozilla | Roots::Absent(_)) | None => RootCerts::WebPki,
        };
        TlsConfig::builder().root_certs(roots).build()
    }
}

impl Certificates {
    fn roots(&self) -> &Roots {
        self.read.get_or_init(|| {
            let is_named = self.file.is_some() || self.folder.is_some();
            let found = if is_named {
                load_certs_from_paths(self.file.as_deref(), self.folder.as_deref())
            } else {
                load_native_certs()
            };
            if !found.certs.is_empty() {
                let certificates = found.certs.iter().map(|found| Certificate::from_der(found).to_owned());
                return Roots::Found(Arc::new(certificates.collect()));
            }
            match (is_named, found.errors.first()) {
                (false, _) => Roots::Mozilla,
                (true, Some(error)) => Roots::Absent(error.to_string()),
                (true, None) => Roots::Absent("no certificate is in it".to_owned()),
            }
        })
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Some(Self::Addresses(address, bits));
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Addresses(address, 128));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        Some(Self::Name(name.to_owned(), port))
    }

    fn is_of(&self, url: &Url) -> bool {
        let host = url.host_name().trim_end_matches('.');
        match self {
            Self::All => true,
            Self::Name(name, port) => {
                let is_below =
                    host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                is_below && port.is_none_or(|port| port == url.port())
            }
            Self::Addresses(network, bits) => host.parse().is_ok_and(|address| shares(address, *network, *bits)),
        }
    }
}

/// Returns whether the first bits of two addresses are the same.
fn shares(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |a: &[u8], b: &[u8]| {
        let (whole, rest) = (usize::from(bits) / 8, bits % 8);
        let whole = whole.min(a.len());
        let mask = if whole < a.len() && rest > 0 { 0xFF << (8 - rest) } else { 0_u8 };
        a[..whole] == b[..whole] && (mask == 0 || a[whole] & mask == b[whole] & mask)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(&a.octets(), &b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(&a.octets(), &b.octets()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(variables: &[(&str, &str)]) -> Network {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Network::from_variables(find)
    }

    /// Returns the proxy of an address, as `HOST:PORT`.
    fn proxy(network: &Network, url: &str) -> Option<String> {
        let proxy = network.proxy(&Url::parse(url).unwrap()).unwrap()?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_one_may_serve_both() {
        let both =
            network(&[("HTTP_PROXY", "http://plain:1"), ("https_proxy", "http://safe:2"), ("ALL_PROXY", "all:3")]);
        assert_eq!(proxy(&both, "http://example.org/").as_deref(), Some("plain:1"));
        assert_eq!(proxy(&both, "https://example.org/").as_deref(), Some("safe:2"));
        let all = network(&[("ALL_PROXY", "socks5://all:3"), ("HTTPS_PROXY", " ")]);
        assert_eq!(proxy(&all, "https://example.org/").as_deref(), Some("all:3"));
        assert_eq!(proxy(&network(&[]), "https://example.org/"), None);
        assert_eq!(proxy(&all, "http://127.0.0.1:9/"), None);
        assert_eq!(proxy(&all, "http://localhost/"), None);
    }

    #[test]
    fn no_proxy_names_hosts_domains_ports_and_networks() {
        let check = |no_proxy: &str, url: &str| {
            proxy(&network(&[("ALL_PROXY", "http://all:3"), ("NO_PROXY", no_proxy)]), url).is_none()
        };
        for (no_proxy, url) in [
            ("*", "https://example.org/"),
            ("example.org", "https://example.org/"),
            ("other.org, example.org", "https://api.Example.org/"),
            (".example.org", "https://api.example.org/"),
            ("*.example.org", "https://api.example.org/"),
            ("example.org:8443", "https://example.org:8443/"),
            ("10.0.0.0/9", "http://10.127.0.1/"),
            ("192.168.1.7", "http://192.168.1.7:81/"),
            ("fd00::/8", "http://[fd12::1]/"),
        ] {
            assert!(check(no_proxy, url), "{no_proxy}: {url}");
        }
        for (no_proxy, url) in [
            ("", "https://example.org/"),
            ("example.org", "https://badexample.org/"),
            ("example.org", "https://example.org.evil.com/"),
            ("example.org:8443", "https://example.org/"),
            ("10.0.0.0/9", "http://10.128.0.1/"),
            ("192.168.1.7", "http://192.168.1.70/"),
        ] {
            assert!(!check(no_proxy, url), "{no_proxy}: {url}");
        }
    }

    #[test]
    fn a_value_that_is_no_proxy_sends_nothing_another_way_and_is_not_told() {
        let wrong = network(&[("HTTPS_PROXY", "gopher://me:hunter2@x")]);
        let error = wrong.proxy(&Url::parse("https://example.org/").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "`HTTPS_PROXY` is no address of a proxy");
    }
}
