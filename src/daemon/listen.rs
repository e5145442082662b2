//! The data plane's listeners: those that the former daemon has left open, and new ones. They are in
//! the service manager's store, so that clients queue up while the daemon restarts.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{Shutdown, getsockopt, shutdown, sockopt::AcceptConn};
use tokio::net::{TcpListener, TcpSocket};

use super::failure::Failure;
use crate::systemd::{
    notify,
    store::{self, Inherited},
};

/// Connections that the kernel keeps for us until we accept them; it caps this at
/// `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// A listener that was open before this daemon started.
struct Kept {
    name: String,
    /// What it says itself.
    address: SocketAddr,
    listener: std::net::TcpListener,
}

/// Opens all listeners, or none. What was `inherited` and is no listener for any of the addresses is
/// closed.
pub(super) fn open(
    addresses: &[SocketAddr],
    inherited: Inherited,
) -> Result<Vec<TcpListener>, Failure> {
    let mut kept = Vec::new();
    let mut unwanted = Vec::new();
    for (name, descriptor) in inherited {
        match as_listener(&descriptor) {
            Ok((address, listener)) => kept.push(Kept { name, address, listener }),
            Err(_) => unwanted.push((name, descriptor)),
        }
    }
    let found = assign(addresses, &mut kept);
    // Before anything is opened: they may have its address.
    unwanted.extend(kept.into_iter().map(|kept| (kept.name, kept.listener.into())));
    let forgotten = close(unwanted);
    let open = |(kept, &address): (Option<Kept>, &SocketAddr)| {
        let name = kept.as_ref().map(|kept| kept.name.clone());
        let listener = match kept {
            Some(kept) => adopt(kept.listener),
            None => bind(address),
        };
        listener.map(|listener| (name, listener)).map_err(|error| refused(address, error))
    };
    let opened: Result<Vec<_>, _> = found.into_iter().zip(addresses).map(open).collect();
    let opened = opened?;
    for (name, listener) in &opened {
        if name.as_ref().is_none_or(|name| forgotten.contains(name)) {
            keep(listener);
        }
    }
    Ok(opened.into_iter().map(|(_, listener)| listener).collect())
}

/// # Errors
/// When it is no TCP socket that listens.
fn as_listener(descriptor: &OwnedFd) -> io::Result<(SocketAddr, std::net::TcpListener)> {
    let listener = std::net::TcpListener::from(descriptor.try_clone()?);
    let address = listener.local_addr()?;
    match getsockopt(&listener, AcceptConn)? {
        true => Ok((address, listener)),
        false => Err(io::Error::other("it does not listen")),
    }
}

/// For each address a listener that has it; those are taken out of `kept`. For port 0 it is one on
/// any port that nobody else asks for.
fn assign(addresses: &[SocketAddr], kept: &mut Vec<Kept>) -> Vec<Option<Kept>> {
    let mut take = |fits: &dyn Fn(&SocketAddr) -> bool| {
        let found = kept.iter().position(|kept| fits(&kept.address))?;
        Some(kept.remove(found))
    };
    let exact: Vec<_> = addresses.iter().map(|address| take(&|there| there == address)).collect();
    let any_port = |(found, address): (Option<Kept>, &SocketAddr)| {
        let fits = |there: &SocketAddr| address.port() == 0 && there.ip() == address.ip();
        found.or_else(|| take(&fits))
    };
    exact.into_iter().zip(addresses).map(any_port).collect()
}

/// Closes what nobody wants, here and in the store. Answers the names.
fn close(unwanted: Vec<(String, OwnedFd)>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, descriptor) in unwanted {
        // For all copies of it, of which the manager's may live a little longer: the address is free at
        // once. An error says that it is no socket.
        let _ = shutdown(descriptor.as_raw_fd(), Shutdown::Both);
        tracing::info!("closed `{name}`, which the former daemon had left open");
        names.insert(name);
    }
    for name in &names {
        if let Err(error) = store::forget(name) {
            tracing::warn!(%error, "can't take `{name}` out of the service manager's store");
        }
    }
    names
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Leaves a listener open for the next daemon.
fn keep(listener: &TcpListener) {
    if !notify::is_supervised() {
        return;
    }
    let kept = listener.local_addr().and_then(|address| {
        let name = format!("tcp-{address}").replace(':', "_");
        store::keep(&name, listener.as_fd())
    });
    if let Err(error) = kept {
        tracing::warn!(%error, "clients will be refused while the daemon restarts");
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the daemon before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refused(address: SocketAddr, error: io::Error) -> Failure {
    let port = address.port();
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has the port (`ss -ltnp 'sport = :{port}'` names it); end it, or set \
             FLEET_MCP_LISTEN to another address"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have the address; set FLEET_MCP_LISTEN to one that it has".into()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; set FLEET_MCP_LISTEN to another port"
                .into()
        }
        _ => "set FLEET_MCP_LISTEN to another address".to_owned(),
    };
    Failure::new(format!("can't listen on {address}")).caused_by(error).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ports: &[u16]) -> Vec<Kept> {
        let kept = |port: &u16| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            // What the name says counts for nothing.
            Kept { name: "tcp-x".into(), address: ([127, 0, 0, 1], *port).into(), listener }
        };
        ports.iter().map(kept).collect()
    }

    #[test]
    fn each_address_gets_the_listener_that_has_it_and_port_0_any_other() {
        let addresses = ["127.0.0.1:0", "127.0.0.1:7", "[::1]:8", "127.0.0.1:0", "127.0.0.1:0"];
        let addresses = addresses.map(|text| text.parse().unwrap());
        let mut left = kept(&[7, 8, 9]);

        let found = assign(&addresses, &mut left);

        let ports: Vec<_> = found.iter().map(|k| k.as_ref().map(|k| k.address.port())).collect();
        assert_eq!(ports, [Some(8), Some(7), None, Some(9), None]);
        assert!(left.is_empty());
        let mut left = kept(&[7, 8]);
        assert!(assign(&addresses[1..2], &mut left)[0].is_some());
        assert_eq!(left.iter().map(|kept| kept.address.port()).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn what_does_not_listen_is_no_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();

        assert!(as_listener(&stream.into()).is_err());
        assert!(as_listener(&unix.into()).is_err());
        assert!(as_listener(&listener.into()).is_ok());
    }
}
