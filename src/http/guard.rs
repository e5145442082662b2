//! Host and Origin: what keeps a web page in somebody's browser from driving this server.
//!
//! A request of HTTP/1.1 has one Host (RFC 9112, section 3.2): with another number, what it is meant for
//! is not for us to guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{HOST, ORIGIN},
    uri::{Authority, Uri},
};

use super::{
    context::info,
    error::{HttpError, closing},
};
use crate::app::{App, settings::HttpSettings};

/// The 403 for a request whose Host or Origin is not allowed; the 400 for one without exactly one Host.
///
/// While authentication is off and only loopback listens, a foreign Host is DNS rebinding.
/// Otherwise any Host will do, so that a proxy's public name works at once, unless the settings
/// list some. An Origin that is the request's own Host is no foreign page; but while authentication
/// is off, DNS rebinding could make it one, so the Host must then be one that DNS has no say in, or
/// one that the settings name.
pub(super) fn refused(app: &App, request: &Request) -> Option<Response> {
    let settings = app.settings();
    let open = !app.enforces_auth();
    let loopback_only = open && app.is_loopback_only();
    let refused =
        if !host_is_allowed(request.headers(), request.uri(), &settings.http, loopback_only) {
            ("host_not_allowed", "this server does not answer for the Host of the request")
        } else if !origin_is_allowed(request.headers(), &settings.http, open) {
            ("origin_not_allowed", "this server takes no requests from the Origin of the request")
        } else if request.version() == Version::HTTP_11
            && request.headers().get_all(HOST).iter().count() != 1
        {
            let message = "a request has exactly one Host header";
            let error = HttpError::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", message);
            return Some(closing(error.into_response()));
        } else {
            return None;
        };
    let (reason, message) = refused;
    app.refusals.forbidden(reason, &info(request));
    Some(closing(HttpError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message).into_response()))
}

fn host_is_allowed(
    headers: &HeaderMap,
    uri: &Uri,
    settings: &HttpSettings,
    loopback_only: bool,
) -> bool {
    if settings.allowed_hosts.is_empty() && !loopback_only {
        return true;
    }
    let allowed = |authority: &Authority| {
        is_loopback(authority.host())
            || settings.allowed_hosts.iter().any(|name| names(name, authority))
    };
    let mut hosts = headers.get_all(HOST).iter().map(authority).peekable();
    let named = hosts.peek().is_some() || uri.authority().is_some();
    named
        && hosts.all(|host| host.as_ref().is_some_and(allowed))
        && uri.authority().is_none_or(allowed)
}

fn origin_is_allowed(headers: &HeaderMap, settings: &HttpSettings, open: bool) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let own = headers.get(HOST).and_then(authority);
    let own = own.filter(|own| !open || is_ours_for_sure(own, settings));
    headers.get_all(ORIGIN).iter().all(|value| {
        let Ok(text) = value.to_str() else { return false };
        if settings.allowed_origins.iter().any(|origin| origin.eq_ignore_ascii_case(text)) {
            return true;
        }
        let Some(origin) = text.parse::<Uri>().ok().and_then(origin_of) else { return false };
        is_loopback(origin.host()) || own.as_ref() == Some(&origin)
    })
}

/// An origin is a scheme and an authority and nothing else.
fn origin_of(uri: Uri) -> Option<Authority> {
    let parts = uri.into_parts();
    let bare = parts.scheme.is_some() && parts.path_and_query.is_none_or(|path| path == "/");
    parts.authority.filter(|authority| bare && !authority.as_str().contains('@'))
}

/// A Host header is an authority and nothing else; user information in it is a trick.
fn authority(value: &HeaderValue) -> Option<Authority> {
    Authority::try_from(value.as_bytes()).ok().filter(|authority| !authority.as_str().contains('@'))
}

/// Whether a configured name, with or without a port, means this authority.
fn names(name: &str, authority: &Authority) -> bool {
    name.eq_ignore_ascii_case(authority.as_str()) || name.eq_ignore_ascii_case(authority.host())
}

/// Whether this authority can't be somebody else's name that was made to lead here.
fn is_ours_for_sure(own: &Authority, settings: &HttpSettings) -> bool {
    let public = settings.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
    unbracketed(own.host()).parse::<IpAddr>().is_ok()
        || settings.allowed_hosts.iter().any(|name| names(name, own))
        || public.is_some_and(|url| url.host().is_some_and(|host| names(host, own)))
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = unbracketed(&host);
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| IpAddr::V6(ip).to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hosts: &[&str], origins: &[&str]) -> HttpSettings {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        HttpSettings {
            allowed_hosts: owned(hosts),
            allowed_origins: owned(origins),
            ..HttpSettings::for_tests()
        }
    }

    #[test]
    fn a_restricted_server_answers_only_for_loopback_and_listed_names() {
        let some = settings(&["fleet.example.com", "other.example.com:8443"], &[]);
        let allowed = |host: &str, restricted: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let settings = if restricted { settings(&[], &[]) } else { some.clone() };
            host_is_allowed(&headers, &Uri::from_static("/mcp"), &settings, restricted)
        };

        for host in
            ["localhost", "LOCALHOST:8000", "a.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8000"]
        {
            assert!(allowed(host, true), "{host}");
        }
        for host in [
            "evil.example.com",
            "127.0.0.1.evil.com",
            "localhost.evil.com",
            "x/health?",
            "",
            "evil@localhost",
            "[::2]",
            "0.0.0.0",
            "192.168.0.1:8000",
        ] {
            assert!(!allowed(host, true), "{host}");
        }
        assert!(allowed("fleet.example.com:443", false));
        assert!(allowed("Other.Example.com:8443", false));
        assert!(!allowed("other.example.com:1", false));
        assert!(!allowed("evil.example.com", false));
    }

    #[test]
    fn a_request_without_or_with_two_hosts_is_judged_by_all_of_them() {
        let mut headers = HeaderMap::new();
        let none = settings(&[], &[]);
        assert!(!host_is_allowed(&headers, &Uri::from_static("/"), &none, true));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(!host_is_allowed(&headers, &Uri::from_static("http://evil.com/"), &none, true));
        headers.append(HOST, "evil.com".parse().unwrap());

        assert!(!host_is_allowed(&headers, &Uri::from_static("/"), &none, true));
        assert!(host_is_allowed(&headers, &Uri::from_static("/"), &none, false));
    }

    #[test]
    fn an_origin_must_be_the_own_host_loopback_or_listed() {
        let settings = settings(&[], &["https://app.example.com"]);
        let allowed = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "fleet.example.com".parse().unwrap());
            headers.insert(ORIGIN, origin.parse().unwrap());
            origin_is_allowed(&headers, &settings, false)
        };

        for origin in [
            "https://fleet.example.com",
            "https://app.example.com",
            "HTTPS://APP.EXAMPLE.COM",
            "http://localhost:3000",
            "http://127.0.0.1:9",
            "http://[::1]:9",
        ] {
            assert!(allowed(origin), "{origin}");
        }
        for origin in [
            "https://evil.com",
            "null",
            "",
            "https://app.example.com.evil.com",
            "https://localhost.evil.com",
            "https://app.example.com:444",
            "é",
        ] {
            assert!(!allowed(origin), "{origin}");
        }
        assert!(origin_is_allowed(&HeaderMap::new(), &settings, false));
    }

    #[test]
    fn without_authentication_a_name_is_the_own_host_only_if_the_settings_say_so() {
        let mut settings = settings(&["fleet.lan"], &[]);
        settings.public_url = Some("https://fleet.example.com/x".to_owned());
        let allowed = |host: &str, open| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.insert(ORIGIN, format!("http://{host}").parse().unwrap());
            origin_is_allowed(&headers, &settings, open)
        };

        for host in
            ["192.168.0.7:8000", "[2001:db8::7]:8000", "fleet.lan:8000", "Fleet.example.com"]
        {
            assert!(allowed(host, true), "{host}");
        }
        for host in ["evil.com:8000", "192.168.0.7.evil.com", "fleet.lan.evil.com"] {
            assert!(!allowed(host, true) && allowed(host, false), "{host}");
        }
    }
}
