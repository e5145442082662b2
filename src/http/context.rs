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

use crate::app::{
    audit::{Origin, RequestId, RequestInfo},
    settings::ForwardedHeader,
};

/// The most proxies in a row that are looked through.
const MAX_HOPS: usize = 32;

/// Added to each request before it is routed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// The client, seen through trusted proxies.
    pub(crate) client: SocketAddr,
    number: u64,
}

impl Context {
    /// Names the request and finds out who sent it.
    pub(crate) fn of(
        peer: SocketAddr,
        headers: &HeaderMap,
        trusted: &[IpNet],
        header: ForwardedHeader,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let client = seen_through(peer, headers, trusted, header);
        Self { client, number: NUMBER.fetch_add(1, Relaxed) }
    }

    fn request_id(&self) -> RequestId {
        static DAEMON: LazyLock<u32> = LazyLock::new(rand::random);
        RequestId { daemon: *DAEMON, number: self.number }
    }

    fn info<'a>(
        &self,
        method: &'a Method,
        uri: &'a Uri,
        user_agent: Option<&'a HeaderValue>,
    ) -> RequestInfo<'a> {
        RequestInfo {
            client: self.client,
            method: method.as_str(),
            path: uri.path(),
            user_agent: user_agent.and_then(|value| value.to_str().ok()),
            request_id: self.request_id(),
        }
    }

    /// Where a call of a tool comes from.
    pub(crate) fn origin(&self) -> Origin {
        Origin { client: self.client, request: self.request_id() }
    }
}

/// The context that was added.
pub(crate) fn context(request: &Request) -> Context {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let missing = || Context::of(unknown, &HeaderMap::new(), &[], ForwardedHeader::default());
    request.extensions().get::<Context>().copied().unwrap_or_else(missing)
}

/// What the log may know of a request.
pub(crate) fn info(request: &Request) -> RequestInfo<'_> {
    let agent = request.headers().get(USER_AGENT);
    context(request).info(request.method(), request.uri(), agent)
}

/// The same of a request that is gone, at the price of a few reference counts.
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

    pub(crate) fn info(&self) -> RequestInfo<'_> {
        self.context.info(&self.method, &self.uri, self.user_agent.as_ref())
    }
}

/// The client behind a trusted proxy: the right-most address that is not itself a trusted proxy's,
/// since everything left of it is what the client claims. Anything unreadable ends the search at
/// the last address that was vouched for.
pub(super) fn seen_through(
    peer: SocketAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
    header: ForwardedHeader,
) -> SocketAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip.to_canonical()));
    let mut client = peer;
    let mut hops = hops(headers, header).take(MAX_HOPS);
    while is_trusted(client.ip()) {
        match hops.next() {
            Some(Some(hop)) => client = hop,
            Some(None) | None => break,
        }
    }
    client
}

/// The addresses that the header lists, from proxy to client; `None` where an entry is no address.
/// Nothing is read before it is asked for.
fn hops(
    headers: &HeaderMap,
    header: ForwardedHeader,
) -> impl Iterator<Item = Option<SocketAddr>> + '_ {
    let (name, read): (_, fn(&str) -> Option<SocketAddr>) = match header {
        ForwardedHeader::XForwardedFor => ("x-forwarded-for", address),
        ForwardedHeader::Forwarded => ("forwarded", |element| address(for_parameter(element)?)),
    };
    let values = headers.get_all(name).iter().rev();
    let entries = values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
    entries.filter(|entry| !entry.is_empty()).map(read)
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

    fn client(peer: &str, believed: ForwardedHeader, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        seen_through(peer.parse().unwrap(), &map, &trusted, believed).ip().to_string()
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
            let believed = match header {
                "forwarded" => ForwardedHeader::Forwarded,
                _ => ForwardedHeader::XForwardedFor,
            };
            let found = client(peer, believed, &[(header, value)]);
            assert_eq!(found, expected, "{peer} {header}: {value}");
        }
    }

    #[test]
    fn the_header_that_the_proxy_does_not_set_is_ignored() {
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "7.7.7.7")];

        let client = |believed| client("127.0.0.1:1", believed, &both);

        assert_eq!(client(ForwardedHeader::XForwardedFor), "7.7.7.7");
        assert_eq!(client(ForwardedHeader::Forwarded), "6.6.6.6");
    }

    #[test]
    fn several_headers_are_one_list_and_a_very_long_one_is_not_followed() {
        let client = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            client("127.0.0.1:1", ForwardedHeader::XForwardedFor, &headers)
        };

        assert_eq!(client(&["1.1.1.1, 7.7.7.7", "10.0.0.9,10.0.0.8"]), "7.7.7.7");
        assert_eq!(client(&["7.7.7.7", &["10.0.0.9"; MAX_HOPS - 1].join(",")]), "7.7.7.7");
        assert_eq!(client(&["7.7.7.7", &["10.0.0.9"; MAX_HOPS].join(",")]), "10.0.0.9");
    }
}
