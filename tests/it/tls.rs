//! Built-in TLS: served, reread, and never replaced by something that does not work.

use std::{fs, process::Command};

use crate::support::{Builder, Certificate, Request, TestDaemon, Wire};

/// Will serve this certificate; the files are `tls.crt` and `tls.key` in the home directory.
pub(crate) fn builder(certificate: &Certificate) -> Builder {
    let builder = TestDaemon::builder();
    certificate.install(&builder.home());
    let (crt, key) = (builder.home().join("tls.crt"), builder.home().join("tls.key"));
    builder.env("FLEET_MCP_HTTP_TLS_CERTIFICATE", crt).env("FLEET_MCP_HTTP_TLS_KEY", key)
}

fn reload(daemon: &TestDaemon) -> (bool, String) {
    let output = daemon.fleetctl(&["reload"]);
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_server_speaks_https_and_says_so() {
    let certificate = Certificate::new();
    let daemon = builder(&certificate).start();
    let send = |request: Request| certificate.send(daemon.address(), &request).unwrap();

    daemon.log_line(&format!("Server started on https://{}", daemon.address()));
    assert_eq!(daemon.status()["listeners"][0], format!("https://{}", daemon.address()));
    assert_eq!(send(daemon.get("/health")).status, 200);
    assert_eq!(send(daemon.get("/mcp/list_agents")).status, 401);
    let listed = send(daemon.get("/mcp/list_agents").bearer(&daemon.token()));
    assert_eq!((listed.status, listed.body.as_str()), (200, r#"{"agents":[],"total_count":0}"#));
    let mut tls = certificate.connect(daemon.address());
    assert_eq!(tls.health().unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(tls.alpn(), Some(b"http/1.1".as_slice()));
}

#[test]
fn curl_connects_with_each_version_that_is_safe_and_no_other() {
    let daemon = builder(&Certificate::new()).start();
    let curl = |version: &str| {
        let status = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--cacert", "tls.crt"])
            .args(["--ciphers", "DEFAULT@SECLEVEL=0", &format!("--tlsv{version}"), "--tls-max"])
            .args([version, &format!("https://{}/health", daemon.address())])
            .current_dir(daemon.home())
            .status();
        status.expect("this test needs `curl`").success()
    };

    assert_eq!(["1.1", "1.2", "1.3"].map(curl), [false, true, true]);
}

#[test]
fn a_reload_serves_the_new_certificate_and_leaves_open_connections_alone() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let daemon = builder(&old).start();
    let mut open = old.connect(daemon.address());
    assert!(open.health().is_ok());

    new.install(&daemon.home());
    assert!(new.connect(daemon.address()).health().is_err());
    assert_eq!(reload(&daemon), (true, "Configuration reloaded.\n".to_owned()));

    assert!(new.connect(daemon.address()).health().is_ok());
    assert!(old.connect(daemon.address()).health().is_err());
    assert!(open.health().is_ok());
}

#[test]
fn a_certificate_that_does_not_work_leaves_the_present_one_in_force_and_is_told() {
    let present = Certificate::new();
    let daemon = builder(&present).start();
    let file = |name: &str| daemon.home().join(name);
    let key = present.key();
    let key_line = key.lines().nth(1).unwrap();
    daemon.watch_for(key_line);

    for (name, content, told) in [
        ("tls.crt", Some(Certificate::new().pem()), "does not go with the key"),
        ("tls.crt", Some("nonsense".to_owned()), "nothing of the kind is in it"),
        ("tls.crt", Some(key.clone()), "nothing of the kind is in it"),
        ("tls.crt", Some(String::new()), "nothing of the kind is in it"),
        ("tls.crt", Some(present.pem().replace("MII", "!!!")), "can't be used"),
        ("tls.crt", None, "there is no such file"),
        ("tls.key", Some(Certificate::new().key()), "does not go with the key"),
        ("tls.key", Some(present.pem()), "nothing of the kind is in it"),
        ("tls.key", None, "there is no such file"),
    ] {
        match content {
            Some(content) => fs::write(file(name), content).unwrap(),
            None => fs::remove_file(file(name)).unwrap(),
        }
        let (success, stderr) = reload(&daemon);
        assert!(!success && stderr.contains(told), "{name}: {stderr}");
        assert!(stderr.contains(file(name).to_str().unwrap()), "{stderr}");
        assert!(!stderr.contains(key_line));
        assert!(present.connect(daemon.address()).health().is_ok(), "{told}");
        present.install(&daemon.home());
    }

    assert!(daemon.log_line("does not go with the key").contains(" - ERROR - "));
    assert_eq!(reload(&daemon), (true, "Configuration reloaded.\n".to_owned()));
    assert!(present.connect(daemon.address()).health().is_ok());
}

#[test]
fn a_start_with_a_certificate_that_does_not_work_is_a_configuration_error() {
    let certificate = Certificate::new();
    let other = Certificate::new();
    let start = |spoil: &dyn Fn(&Builder)| {
        let builder = builder(&certificate);
        spoil(&builder);
        let failed = builder.fails();
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(78), ""), "{}", failed.stderr);
        assert!(!failed.stderr.contains(other.key().lines().nth(1).unwrap()));
        assert!(!failed.stderr.contains("Server started"), "{}", failed.stderr);
        failed.stderr
    };

    let pair = start(&|builder| fs::write(builder.home().join("tls.key"), other.key()).unwrap());
    assert!(pair.contains("does not go with the key"), "{pair}");
    let missing = start(&|builder| fs::remove_file(builder.home().join("tls.crt")).unwrap());
    assert!(missing.contains("tls.crt") && missing.contains("there is no such file"), "{missing}");
    let empty = start(&|builder| fs::write(builder.home().join("tls.key"), "").unwrap());
    assert!(empty.contains("tls.key") && empty.contains("nothing of the kind is in it"), "{empty}");
}

#[test]
fn whoever_speaks_no_tls_is_sent_away() {
    let certificate = Certificate::new();
    let daemon = builder(&certificate).env("FLEET_MCP_HTTP_HEADER_TIMEOUT", "300ms").start();

    for nonsense in ["GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n\r\n\r\n", "\x16\x03"] {
        let mut wire = Wire::connect(daemon.address());
        wire.send(nonsense);
        wire.vanishes();
    }
    Wire::connect(daemon.address()).vanishes();
    assert!(certificate.connect(daemon.address()).health().is_ok());
}

#[test]
fn a_refused_body_gets_its_whole_401_over_tls_too() {
    let certificate = Certificate::new();
    let daemon = builder(&certificate).start();

    for length in [1024, 1024 * 1024] {
        let request = daemon.post("/mcp", "x".repeat(length));
        let response = certificate.send(daemon.address(), &request).unwrap();
        assert_eq!(
            (response.status, response.json()["error"].as_str()),
            (401, Some("missing_token"))
        );
    }
}
