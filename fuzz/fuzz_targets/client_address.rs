//! `Forwarded` and `X-Forwarded-For`: only who is trusted is believed, and what the client itself adds on
//! the left changes nothing.

#![no_main]

use std::{net::SocketAddr, sync::LazyLock};

use fleet_mcp::{app::settings::ForwardedHeader, http::seen_through};
use fleet_mcp_fuzz::byte;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;

static TRUSTED: LazyLock<[IpNet; 2]> =
    LazyLock::new(|| ["127.0.0.0/8", "10.0.0.0/8"].map(|net| net.parse().expect("a network")));

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let flags = byte(&mut data);
    let header =
        if flags & 1 == 0 { ForwardedHeader::XForwardedFor } else { ForwardedHeader::Forwarded };
    let name = if flags & 1 == 0 { "x-forwarded-for" } else { "forwarded" };
    let proxy = SocketAddr::from(([127, 0, 0, 1], 4711));
    let stranger = SocketAddr::from(([203, 0, 113, 7], 4711));
    let mut headers = HeaderMap::new();
    for value in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }

    let client = seen_through(proxy, &headers, &*TRUSTED, header);

    assert_eq!(seen_through(stranger, &headers, &*TRUSTED, header), stranger);
    assert_eq!(seen_through(proxy, &headers, &[], header), proxy);
    let is_trusted =
        |of: SocketAddr| TRUSTED.iter().any(|net| net.contains(&of.ip().to_canonical()));
    if is_trusted(client) {
        return;
    }
    // Found: whatever the client sends itself stands left of what its proxy has added.
    let mut forged = HeaderMap::new();
    forged.append(name, HeaderValue::from_static("6.6.6.6, for=6.6.6.6"));
    for value in headers.get_all(name) {
        forged.append(name, value.clone());
    }
    assert_eq!(seen_through(proxy, &forged, &*TRUSTED, header), client);
});
