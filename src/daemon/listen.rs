//! Opens the data plane's listeners.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::failure::Failure;

/// Connections that the kernel keeps for us until we accept them; it caps this at
/// `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// Opens all listeners, or none.
pub(super) fn open(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let open = |&address: &SocketAddr| bind(address).map_err(|error| refused(address, error));
    addresses.iter().map(open).collect()
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
