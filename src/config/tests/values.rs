//! What single values may be, and what follows from them.

use super::*;
use crate::app::settings::ForwardedHeader;

#[test]
fn booleans_are_understood_or_refused() {
    let variable = |text: &str| Machine::new().variable("FLEET_MCP_AUTH_ENABLED", text);
    for (text, expected) in [
        ("true", true),
        ("TRUE", true),
        ("True", true),
        ("1", true),
        ("yes", true),
        ("On", true),
        ("false", false),
        ("False", false),
        ("0", false),
        ("NO", false),
        ("off", false),
    ] {
        assert_eq!(variable(text).settings().auth.enabled, expected, "{text}");
    }
    for text in ["yess", " true", "true ", "true\n", "2", "t", "enabled", "\"true\"", "тrue", "01"]
    {
        let problems = variable(text).problems();
        let shown = text.escape_debug();
        let expected =
            format!("FLEET_MCP_AUTH_ENABLED: `{shown}` is not a boolean; use `true` or `false`");
        assert_eq!(problems, [expected]);
    }
    assert_eq!(
        variable("").problems(),
        ["FLEET_MCP_AUTH_ENABLED: an empty text is not a boolean; use `true` or `false`"]
    );
    let file = |text: &str| Machine::new().config(&format!("auth.enabled = {text}"));
    assert!(file("true").settings().auth.enabled);
    assert!(file("\"on\"").settings().auth.enabled);
    assert!(file("[true]").problems()[0].contains("an array is not a boolean"));
    assert!(file("1.0").problems()[0].contains("a number with a fraction is not a boolean"));
}

#[test]
fn listening_follows_authentication_unless_told() {
    let listen = |machine: Machine| {
        machine.settings().listen.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let on = || Machine::new().variable("FLEET_MCP_AUTH_ENABLED", "true");
    assert_eq!(listen(on()), ["0.0.0.0:8000"]);
    assert_eq!(listen(on().flag("listen", "localhost:0")), ["127.0.0.1:0"]);
    let several = Machine::new().variable("FLEET_MCP_LISTEN", "127.0.0.1:0, 127.0.0.1:0,[::1]:80");
    assert_eq!(listen(several), ["127.0.0.1:0", "127.0.0.1:0", "[::1]:80"]);
    for text in [
        "",
        ",",
        "8000",
        ":8000",
        "1.2.3.4",
        "::1:x",
        "[::1]",
        "a b:1",
        "1.2.3.4:65536",
        "http://x:1",
    ] {
        let problems = Machine::new().variable("FLEET_MCP_LISTEN", text).problems();
        assert!(problems[0].starts_with("FLEET_MCP_LISTEN: "), "{text}: {problems:?}");
    }
    assert!(
        Machine::new().flag("listen", "[::1]:1,[::1]:1").problems()[0].ends_with("is listed twice")
    );
    assert!(Machine::new().config("listen = []").problems()[0].contains("the list is empty"));
}

#[test]
fn values_outside_their_range_are_told_the_range() {
    for (key, good, bad, range) in [
        ("http.max_connections", ["1", "1000000"], ["0", "1000001"], "from 1 to 1000000"),
        ("http.max_requests", ["1", "1000000"], ["-1", "+1"], "from 1 to 1000000"),
        ("fleet.max_agents", ["1", "100000"], ["0", "100001"], "from 1 to 100000"),
        ("fleet.max_tasks", ["1", "100000"], ["0", "100001"], "from 1 to 100000"),
        ("fleet.max_log", ["64 KiB", "1 GiB"], ["65535", "2 GiB"], "from 64 KiB to 1024 MiB"),
        ("fleet.open_timeout", ["100ms", "24h"], ["0", "25h"], "from 100ms to 24h"),
        ("fleet.turn_timeout", ["100ms", "7d"], ["99ms", "169h"], "from 100ms to 7d"),
        ("fleet.silence_timeout", ["1.5s", "7d"], ["0", "169h"], "from 100ms to 7d"),
        ("fleet.answer_timeout", ["100ms", "7d"], ["0", "169h"], "from 100ms to 7d"),
        ("fleet.cancel_timeout", ["100ms", "1h"], ["0", "2h"], "from 100ms to 1h"),
        ("fleet.close_grace", ["1", "10m"], ["0", "601s"], "from 1s to 10m"),
        ("fleet.close_grace", ["5s", "1m 30s"], ["500ms", "1.5s"], "in whole seconds"),
        (
            "http.max_body_bytes",
            ["1 KiB", "1GiB"],
            ["1023", "99999999999 GiB"],
            "from 1 KiB to 1024 MiB",
        ),
        ("http.max_body_bytes", ["4096", "4 mb"], ["4 MiBs", "KiB"], "from 1 KiB to 1024 MiB"),
        ("http.header_timeout", ["100ms", "10m"], ["99ms", "11m"], "from 100ms to 10m"),
        ("http.body_timeout", ["1s", "1h"], ["0", "-5s"], "from 100ms to 1h"),
        ("http.idle_timeout", ["75", "1m 30s"], ["soon", "3601"], "from 100ms to 1h"),
        ("http.shutdown_timeout", ["0", "PT5M"], ["1.5.5s", ""], "from 0s to 10m"),
    ] {
        for text in good {
            let machine = Machine::new().flag(key, text);
            assert_eq!(machine.load().map(|_| ()), Ok(()), "{key} {text}");
        }
        for text in bad {
            let problems = Machine::new().flag(key, text).problems();
            assert!(problems[0].contains(range), "{problems:?}");
        }
    }
}

#[test]
fn a_control_socket_too_long_to_bind_is_refused() {
    let longest = format!("/{}", "s".repeat(106));
    let machine = Machine::new().flag("control_socket", &longest);
    assert_eq!(machine.settings().control_socket, Path::new(&longest));

    let problems = Machine::new().flag("control_socket", &format!("{longest}s")).problems();

    assert!(problems[0].starts_with("--control-socket: "));
    assert!(problems[0].contains("has 108 bytes, and a Unix socket's path at most 107"));
}

#[test]
fn texts_of_http_are_normalized_or_refused() {
    let http = |key, text| Machine::new().flag(key, text).settings().http;
    assert_eq!(
        http("http.allowed_hosts", "A.example, ::1,[::1],10.0.0.1").allowed_hosts,
        ["a.example", "[::1]", "[::1]", "10.0.0.1"]
    );
    assert_eq!(http("http.allowed_hosts", "").allowed_hosts.len(), 0);
    assert_eq!(
        http("http.allowed_origins", "HTTPS://A.b:443,http://[::1]:3000").allowed_origins,
        ["https://a.b", "http://[::1]:3000"]
    );
    let networks: Vec<String> = http("http.trusted_proxies", "10.0.0.0/8,::1")
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(http("http.max_requests", "1").forwarded_header, ForwardedHeader::XForwardedFor);
    assert_eq!(
        http("http.forwarded_header", "Forwarded").forwarded_header,
        ForwardedHeader::Forwarded
    );
    assert_eq!(
        http("http.public_url", "https://a.b/mcp/").public_url.as_deref(),
        Some("https://a.b/mcp")
    );
    for (key, text) in [
        ("http.allowed_hosts", "a:80"),
        ("http.allowed_hosts", "http://a"),
        ("http.allowed_hosts", "*"),
        ("http.allowed_hosts", "a,,b"),
        ("http.allowed_origins", "null"),
        ("http.allowed_origins", "https://a/"),
        ("http.allowed_origins", "https://*.a"),
        ("http.trusted_proxies", "10.0.0.0/33"),
        ("http.forwarded_header", "x-real-ip"),
        ("http.public_url", "ftp://a"),
        ("http.public_url", "a.b"),
        ("http.public_url", "https://a.b:0"),
    ] {
        assert_eq!(Machine::new().flag(key, text).problems().len(), 1, "{key} {text}");
    }
    let problems = Machine::new().flag("http.public_url", "https://me:hunter2@a.b").problems();
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn log_filters_are_levels_and_targets_with_levels() {
    for text in ["off", "INFO", "warn,fleet_mcp=debug", "info, hyper=off"] {
        let settings = Machine::new().variable("FLEET_MCP_LOG", text).settings();
        assert_eq!(settings.log.filter, text.replace(' ', ""));
    }
    for text in ["", "debg", "info,", "fleet_mcp", "fleet_mcp=loud", "=info", "a=", "a[b]=info"] {
        let problems = Machine::new().variable("FLEET_MCP_LOG", text).problems();
        assert!(problems[0].contains("is not a log filter"), "{text}: {problems:?}");
    }
}

#[test]
fn tls_needs_both_files() {
    let both = Machine::new().config("http.tls = { certificate = 'c.pem', key = '/k.pem' }");
    let tls = both.settings().http.tls.unwrap();
    assert_eq!(tls.certificate, both.path("home/.config/fleet-mcp/c.pem"));
    assert_eq!(tls.key, Path::new("/k.pem"));

    let one = Machine::new().config("\nhttp.tls.certificate = 'c.pem'");

    let expected = "home/.config/fleet-mcp/config.toml:2: http.tls.certificate: is set without `http.tls.key`; set both or neither";
    assert_eq!(one.problems(), [expected]);
}

#[test]
fn the_table_of_keys_is_consistent() {
    for key in KEYS {
        let expected = match key.path {
            "log.filter" => "FLEET_MCP_LOG".to_owned(),
            path => format!("FLEET_MCP_{}", path.replace('.', "_").to_uppercase()),
        };
        assert_eq!(key.variable, expected);
        assert_eq!(KEYS.iter().filter(|other| other.path == key.path).count(), 1, "{}", key.path);
        assert!(key.help.ends_with('.'), "{}", key.path);
    }
}

#[test]
fn only_what_a_running_daemon_cannot_take_over_needs_a_restart() {
    let base = || Machine::new().flag("state_dir", "/s");
    let old = base().settings();
    for (key, value, expected) in [
        ("listen", "127.0.0.1:1", vec!["listen"]),
        ("state_dir", "/t", vec!["state_dir", "control_socket", "auth.token_file"]),
        ("control_socket", "/c", vec!["control_socket"]),
        ("auth.token_file", "/a", vec!["auth.token_file"]),
        ("auth.enabled", "true", vec!["listen"]),
        ("http.max_connections", "9", vec![]),
        ("http.max_requests", "9", vec![]),
        ("http.idle_timeout", "9", vec![]),
        ("log.filter", "debug", vec![]),
        ("log.access_file", "/l", vec![]),
        ("log.journal_socket", "/j", vec!["log.journal_socket"]),
    ] {
        let new = base().flag(key, value).settings();
        assert_eq!(needs_restart(&old, &new), expected, "{key}");
    }
    let tls = |name: &str| {
        base().flag("http.tls.certificate", name).flag("http.tls.key", name).settings()
    };
    assert_eq!(needs_restart(&old, &tls("/a")), ["http.tls"]);
    assert_eq!(needs_restart(&tls("/a"), &tls("/b")).len(), 0);
    let mut on = old.clone();
    on.auth.enabled = true;
    assert_eq!(needs_restart(&on, &old), ["auth.enabled"]);
}

#[test]
fn a_broken_configuration_still_tells_where_the_daemon_is() {
    let of = |text: &str| Machine::new().config(text);
    let meaningless = of("state_dir = '/s'\n[auth]\nenabled = 'yess'\nnone = 1\n");
    let no_toml = of("[auth]\nenabled = fales\n");
    assert_eq!(meaningless.problems().len(), 2);
    assert!(!no_toml.problems().is_empty());

    assert_eq!(control_socket(&meaningless.sources()), Some("/s/run/control.sock".into()));
    let usual = no_toml.path("home/.fleet-mcp/run/control.sock");
    assert_eq!(control_socket(&no_toml.sources()), Some(usual));
}
