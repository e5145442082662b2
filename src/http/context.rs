//! What is known of a request before anyone looks inside: the connection's peer, the client behind
//! it, and the request's name in the log.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::extract::Request;
use http::{HeaderMap, HeaderValue, Method, Uri, header::USER_AGENT};
use ipnet::IpNet;

use crate::app::audit::RequestInfo;

/// The other end of the TCP connection; the accept loop adds it to each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Added to each request by the outermost layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// The client, seen through trusted proxies.
    pub(crate) client: SocketAddr,
    number: u64,
}

impl Context {
    /// Names the request and finds out who sent it.
    pub(crate) fn of(request: &Request, trusted_proxies: &[IpNet]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = request.extensions().get::<Peer>().map_or(unknown, |peer| peer.0);
        let client = seen_through(peer, request.headers(), trusted_proxies);
        Self { client, number: NUMBER.fetch_add(1, Relaxed) }
    }

    /// The request's name: unique over restarts for all practical purposes.
    fn request_id(&self) -> String {
        static START: LazyLock<u32> = LazyLock::new(rand::random);
        format!("{:08x}-{:x}", *START, self.number)
    }
}

/// The context that the outermost layer added.
pub(crate) fn context(request: &Request) -> Context {
    let missing = || Context::of(request, &[]);
    request.extensions().get::<Context>().copied().unwrap_or_else(missing)
}

/// What the log may know of a request; outlives it at the price of a few reference counts.
pub(crate) struct Outline {
    context: Context,
    method: Method,
    uri: Uri,
    user_agent: Option<HeaderValue>,
}

impl Outline {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            context: context(request),
            method: request.method().clone(),
            uri: request.uri().clone(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
        }
    }

    /// The request's name.
    pub(crate) fn request_id(&self) -> String {
        self.context.request_id()
    }

    /// Lends it to the log.
    pub(crate) fn tell<T>(&self, log: impl FnOnce(&RequestInfo<'_>) -> T) -> T {
        log(&RequestInfo {
            client: self.context.client,
            method: self.method.as_str(),
            path: self.uri.path(),
            user_agent: self.user_agent.as_ref().and_then(|value| value.to_str().ok()),
            request_id: &self.request_id(),
        })
    }
}

/// The client behind a trusted proxy: the right-most address that is not itself a trusted proxy's,
/// since everything left of it is what the client claims. Anything unreadable ends the search at
/// the last address that was vouched for.
fn seen_through(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> SocketAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip.to_canonical()));
    let mut client = peer;
    let mut hops = forwarded_for(headers).into_iter().rev();
    while is_trusted(client.ip()) {
        match hops.next() {
            Some(Some(hop)) => client = hop,
            Some(None) | None => break,
        }
    }
    client
}

/// The addresses of `Forwarded`, or else of `X-Forwarded-For`, from client to proxy; `None` where
/// an entry is no address.
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<SocketAddr>> {
    let entries = |name: &'static str| {
        let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
        headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(",")
    };
    let forwarded = entries("forwarded");
    if forwarded.is_empty() {
        let list = entries("x-forwarded-for");
        return list.split(',').filter(|entry| !entry.is_empty()).map(address).collect();
    }
    forwarded.split(',').map(|element| address(for_parameter(element)?)).collect()
}

/// `for=` of one element of a `Forwarded` header.
fn for_parameter(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// An address with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    ip.or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, header: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().unwrap());
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        seen_through(peer.parse().unwrap(), &headers, &trusted).ip().to_string()
    }

    #[test]
    fn a_trusted_proxy_names_the_client_and_nobody_else_can() {
        let table = [
            ("127.0.0.1:1", "x-forwarded-for", "203.0.113.7", "203.0.113.7"),
            ("198.51.100.1:1", "x-forwarded-for", "203.0.113.7", "198.51.100.1"),
            ("127.0.0.1:1", "x-forwarded-for", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("127.0.0.1:1", "x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
            ("127.0.0.1:1", "x-forwarded-for", "203.0.113.7:4711", "203.0.113.7"),
            ("127.0.0.1:1", "x-forwarded-for", "2001:db8::7", "2001:db8::7"),
            ("127.0.0.1:1", "x-forwarded-for", "nonsense", "127.0.0.1"),
            ("127.0.0.1:1", "x-forwarded-for", "203.0.113.7, nonsense", "127.0.0.1"),
            ("127.0.0.1:1", "x-forwarded-for", "", "127.0.0.1"),
            ("127.0.0.1:1", "forwarded", "for=203.0.113.7;proto=https", "203.0.113.7"),
            ("127.0.0.1:1", "forwarded", "For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("127.0.0.1:1", "forwarded", "for=1.1.1.1, for=203.0.113.7;by=10.0.0.9", "203.0.113.7"),
            ("127.0.0.1:1", "forwarded", "for=unknown", "127.0.0.1"),
            ("[::ffff:127.0.0.1]:1", "x-forwarded-for", "203.0.113.7", "203.0.113.7"),
        ];
        for (peer, header, value, expected) in table {
            assert_eq!(client(peer, header, value), expected, "{peer} {header}: {value}");
        }
    }
}
