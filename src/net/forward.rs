//! Plain HTTP through a proxy: the proxy is asked for the whole address, as browsers do.
//!
//! The client opens a tunnel by `CONNECT` for each address, which many proxies allow for port 443 alone. So for `http`
//! addresses the connection is made to the proxy itself, and the head of the request is rewritten on its way out: the
//! address becomes absolute, and the proxy's credentials join the headers. Tunnels of `https` addresses and SOCKS stay the
//! client's own. Transports of ureq are "unversioned": another minor version may want this file changed.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Error, Proxy, ProxyProtocol};

/// Connects to the proxy for plain HTTP, and as ureq does for all else.
#[derive(Debug)]
pub(super) struct Forward {
    usual: DefaultConnector,
    /// The client's settings, in which there is no proxy.
    direct: Config,
}

impl Forward {
    /// Makes the connector of a client whose settings name no proxy: requests name theirs.
    pub(super) fn new(direct: Config) -> Self {
        Self { usual: DefaultConnector::new(), direct }
    }
}

impl Connector for Forward {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        let Some(proxy) = details.config.proxy().filter(|proxy| forwards(proxy, details.uri)) else {
            return self.usual.connect(details, chained);
        };
        let at_proxy = ConnectionDetails {
            uri: proxy.uri(),
            addrs: details.resolver.resolve(proxy.uri(), &self.direct, details.timeout)?,
            config: &self.direct,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let transport = self.usual.connect(&at_proxy, chained)?;
        let head = Head::of(details.uri, proxy);
        Ok(transport.map(|transport| -> Box<dyn Transport> { Box::new(Forwarded { transport, head: Some(head) }) }))
    }
}

/// Returns whether a proxy passes on requests for an address as they are.
fn forwards(proxy: &Proxy, uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) && matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
}

/// What the head of a request has more for a proxy.
struct Head {
    /// Scheme and host, before the path.
    origin: String,
    /// The line with the proxy's credentials, if it wants some.
    credentials: String,
}

impl Head {
    fn of(uri: &Uri, proxy: &Proxy) -> Self {
        let origin = format!("http://{}", uri.authority().map_or("", |authority| authority.as_str()));
        let credentials = match (proxy.username(), proxy.password()) {
            (None, None) => String::new(),
            (name, password) => {
                let pair = format!("{}:{}", name.unwrap_or_default(), password.unwrap_or_default());
                format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair))
            }
        };
        Self { origin, credentials }
    }

    /// Returns the beginning of a request, for the proxy; it has the whole first line.
    fn written(&self, beginning: &[u8]) -> Vec<u8> {
        let path = beginning.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
        let headers = beginning.iter().position(|byte| *byte == b'\n').map_or(beginning.len(), |at| at + 1);
        let (line, headers) = beginning.split_at(headers);
        [&line[..path], self.origin.as_bytes(), &line[path..], self.credentials.as_bytes(), headers].concat()
    }
}

/// A connection to a proxy for one request: where the next one would begin is not looked for.
struct Forwarded {
    transport: Box<dyn Transport>,
    /// There until the request began.
    head: Option<Head>,
}

/// Without the credentials.
impl fmt::Debug for Forwarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Forwarded").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Transport for Forwarded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Some(head) = self.head.take() else { return self.transport.transmit_output(amount, timeout) };
        let mut rest = head.written(&self.transport.buffers().output()[..amount]);
        while !rest.is_empty() {
            let output = self.transport.buffers().output();
            let count = output.len().min(rest.len());
            output[..count].copy_from_slice(&rest[..count]);
            rest.drain(..count);
            self.transport.transmit_output(count, timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}
