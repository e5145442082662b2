//! Who can reach the daemon, and what they can read on the way.

use std::net::SocketAddr;

use super::Subject;
use crate::app::{doctor::Finding, settings::Settings};

pub(super) fn listening(subject: &Subject, settings: &Settings) -> Vec<Finding> {
    let listeners = subject.listeners.as_ref().unwrap_or(&settings.listen);
    let enforced = subject.enforced.unwrap_or(settings.auth.enabled);
    let beyond = listeners.iter().find(|address| !address.ip().is_loopback());
    match (enforced, beyond) {
        (false, Some(address)) => vec![open(address)],
        (false, None) => vec![open_to_this_machine()],
        (true, Some(address)) if settings.http.tls.is_none() => vec![unencrypted(address)],
        (true, _) => Vec::new(),
    }
}

fn open(address: &SocketAddr) -> Finding {
    Finding::error(
        "authentication",
        format!("authentication is off, and {address} can be reached from other machines"),
        "whoever can reach it can run agents on this machine",
        "set `enabled = true` in [auth] of config.toml, then `fleetctl reload`",
    )
}

fn open_to_this_machine() -> Finding {
    Finding::warning(
        "authentication",
        "authentication is off",
        "every user and every program on this machine can run agents",
        "`fleetctl rotate` makes a token; hand it out, set `enabled = true` in [auth] of \
         config.toml, then `fleetctl reload`",
    )
}

fn unencrypted(address: &SocketAddr) -> Finding {
    Finding::warning(
        "tls",
        format!("{address} can be reached from other machines, without TLS"),
        "tokens can be read on the way",
        "listen on 127.0.0.1 with a TLS proxy in front, or set http.tls.certificate and \
         http.tls.key",
    )
}

pub(super) fn proxies(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "proxies";
    let http = &settings.http;
    let all = http.trusted_proxies.iter().find(|network| network.prefix_len() == 0);
    if let Some(all) = all {
        return vec![Finding::error(
            CHECK,
            format!("http.trusted_proxies has `{all}`: everybody is believed"),
            "clients can claim any address, and the log then has it",
            "list the proxies' own addresses only",
        )];
    }
    let behind_one = settings.listen.iter().all(|address| address.ip().is_loopback())
        && http.public_url.is_some();
    if behind_one && http.trusted_proxies.is_empty() {
        return vec![Finding::warning(
            CHECK,
            "http.public_url says that a proxy is in front, but http.trusted_proxies is empty",
            "all clients look like the proxy: the log names it, and they share its limits",
            "set `trusted_proxies = [\"127.0.0.1\", \"::1\"]` in [http], and have the proxy set the \
             header that http.forwarded_header names",
        )];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::doctor::Severity,
        config::{Flags, Sources, load},
    };

    /// The severities of what is found with these settings.
    fn found(values: &[(&'static str, &str)]) -> Vec<(&'static str, Severity)> {
        let values = values.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let home = ("HOME".into(), "/nonexistent".into());
        let sources = Sources {
            environment: vec![home],
            working_dir: "/".into(),
            euid: 0,
            program: "fleet-mcp".into(),
            flags: Flags { config: None, values },
        };
        let settings = load(&sources).unwrap().settings;
        let now = jiff::Timestamp::UNIX_EPOCH;
        let subject = Subject { sources, owner: 0, listeners: None, enforced: None, now };
        let all = listening(&subject, &settings).into_iter().chain(proxies(&settings));
        all.map(|finding| (finding.check, finding.severity)).collect()
    }

    #[test]
    fn who_can_reach_and_read_what_is_found() {
        const ON: (&str, &str) = ("auth.enabled", "true");
        const WIDE: (&str, &str) = ("listen", "0.0.0.0:8000");
        const NARROW: (&str, &str) = ("listen", "127.0.0.1:8000,[::1]:8000");
        const PUBLIC: (&str, &str) = ("http.public_url", "https://fleet.example.com");
        let tls = [("http.tls.certificate", "/c"), ("http.tls.key", "/k")];

        assert_eq!(found(&[WIDE]), [("authentication", Severity::Error)]);
        assert_eq!(found(&[NARROW]), [("authentication", Severity::Warning)]);
        assert_eq!(found(&[ON, WIDE]), [("tls", Severity::Warning)]);
        assert_eq!(found(&[ON, WIDE, tls[0], tls[1]]), []);
        assert_eq!(found(&[ON, NARROW]), []);
        assert_eq!(found(&[ON, NARROW, PUBLIC]), [("proxies", Severity::Warning)]);
        let proxies = |list| ("http.trusted_proxies", list);
        assert_eq!(found(&[ON, NARROW, PUBLIC, proxies("127.0.0.1")]), []);
        let all = found(&[ON, NARROW, PUBLIC, proxies("10.0.0.0/8,0.0.0.0/0")]);
        assert_eq!(all, [("proxies", Severity::Error)]);
    }
}
