//! Certificates for a daemon that speaks TLS itself, and a client that trusts exactly one.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::ServerName;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring,
};

use super::{PATIENCE, Request, Response};

/// A self-signed certificate for loopback with its key.
pub(crate) struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        Self(rcgen::generate_simple_self_signed(names).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.cert.pem()
    }

    pub(crate) fn key(&self) -> String {
        self.0.signing_key.serialize_pem()
    }

    /// Writes `tls.crt` and `tls.key`.
    pub(crate) fn install(&self, directory: &Path) {
        fs::write(directory.join("tls.crt"), self.pem()).unwrap();
        fs::write(directory.join("tls.key"), self.key()).unwrap();
    }

    /// A connection of a client that trusts nothing but this certificate.
    pub(crate) fn connect(&self, address: SocketAddr) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::IpAddress(address.ip().into());
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Tls(StreamOwned::new(session, stream))
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&self, address: SocketAddr, request: &Request) -> io::Result<Response> {
        let mut tls = self.connect(address);
        tls.0.write_all(&request.bytes())?;
        let mut bytes = Vec::new();
        tls.0.read_to_end(&mut bytes)?;
        Ok(Response::parse(&bytes))
    }
}

/// A TLS connection.
pub(crate) struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Asks for `/health` and leaves the connection open; the first line of the answer.
    pub(crate) fn health(&mut self) -> io::Result<String> {
        self.0.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            bytes.extend(byte);
        }
        Ok(String::from_utf8(bytes).unwrap().lines().next().unwrap().to_owned())
    }

    /// The protocol that both sides have settled on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }
}
