//! Listeners that outlive the daemon.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use nix::sys::signal::Signal;

use crate::support::{Kept, PATIENCE, TestDaemon};

#[test]
fn clients_queue_up_while_the_daemon_restarts() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut daemon = TestDaemon::builder().supervised(0).start();
        let address = daemon.address();
        daemon.signal(signal);
        daemon.wait();

        let mut early = Kept::open(address);
        early.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let daemon = daemon.restart();

        assert_eq!(early.answer().unwrap().status, 200);
        assert_eq!(daemon.address(), address);
        let name = format!("tcp-127.0.0.1_{}", address.port());
        assert_eq!(daemon.manager().kept(), [name]);
    }
}

/// A port for all addresses. The kernel gives none of this range to anybody by itself, so that no test
/// beside this one has it on some address.
fn port_of_nobody() -> u16 {
    let own = u16::try_from(std::process::id() % 10_000).unwrap();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    (20_000 + own..32_000).find(is_free).expect("a free port")
}

#[test]
fn listeners_that_the_settings_no_longer_name_are_closed() {
    let old: SocketAddr = (Ipv4Addr::LOCALHOST, port_of_nobody()).into();
    let both = format!("{old},127.0.0.2:0");
    let daemon = TestDaemon::builder().supervised(0).env("FLEET_MCP_LISTEN", &both).start();
    assert_eq!(daemon.address(), old);
    assert_eq!(daemon.manager().kept().len(), 2);

    // The same port on all addresses: the old listener is in the way until it is closed.
    let wider = format!("0.0.0.0:{}", old.port());
    let daemon = daemon.restart_with(|how| how.env("FLEET_MCP_LISTEN", wider));

    assert_eq!(daemon.address().to_string(), format!("0.0.0.0:{}", old.port()));
    assert_eq!(daemon.manager().kept(), [format!("tcp-0.0.0.0_{}", old.port())]);
    assert_eq!(Kept::open(old).get("/health", None).unwrap().status, 200);
}

#[test]
fn a_descriptor_that_nobody_knows_is_closed_and_names_mislead_nobody() {
    let daemon = TestDaemon::builder().supervised(0).start();
    let address = daemon.address();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (mut host, agent) = UnixStream::pair().unwrap();
    let other = TcpListener::bind("127.0.0.2:0").unwrap();
    let elsewhere = other.local_addr().unwrap();
    let manager = daemon.manager();
    manager.keep("stored", theirs.into());
    manager.keep("agent-01-7", agent.into());
    // Its name says that it is what is wanted, but it is not.
    manager.keep("tcp-127.0.0.1_8000", OwnedFd::from(other));

    let daemon = daemon.restart();

    for hung_up in [&mut ours, &mut host] {
        hung_up.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(hung_up.read(&mut [0]).unwrap(), 0);
    }
    assert!(TcpStream::connect(elsewhere).is_err());
    assert_eq!(daemon.address(), address);
    assert_eq!(daemon.manager().kept().len(), 1);
    daemon.log_line("closed `stored`, which the former daemon had left open");
}

#[test]
fn a_reload_keeps_the_listeners_and_says_what_needs_a_restart() {
    let daemon = TestDaemon::builder().config("").supervised(0).start();
    let (address, kept) = (daemon.address(), daemon.manager().kept());
    let daemon = daemon.restart_with(|how| {
        how.without_env("FLEET_MCP_LISTEN").config(&format!("listen = ['{address}']"))
    });
    let file = daemon.home().join(".config/fleet-mcp/config.toml");
    std::fs::write(file, "listen = ['127.0.0.1:1']").unwrap();

    let reloaded = daemon.fleetctl(&["reload"]);

    assert!(reloaded.status.success());
    let told = String::from_utf8([reloaded.stdout, reloaded.stderr].concat()).unwrap();
    assert!(told.contains("listen"), "{told}");
    assert_eq!(daemon.manager().kept(), kept);
    assert_eq!(daemon.get("/health").send().status, 200);
}
