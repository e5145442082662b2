//! A connection that is kept: several requests, one after the other, and bytes as a test wants them.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use super::{PATIENCE, Response};

/// An open connection to the data plane.
pub(crate) struct Kept {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Kept {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// # Errors
    /// When the connection is closed.
    pub(crate) fn write(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes())
    }

    /// A GET with a token, if there is one, and its whole answer.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub(crate) fn get(&mut self, path: &str, token: Option<&str>) -> io::Result<Response> {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n"))?;
        self.answer()
    }

    /// Reads one answer; it must have a Content-Length.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub(crate) fn answer(&mut self) -> io::Result<Response> {
        loop {
            let head = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = head {
                let mut response = Response::parse(&self.unread[..head + 4]);
                let length: usize = response.header("content-length").unwrap().parse().unwrap();
                let end = head + 4 + length;
                if self.unread.len() >= end {
                    let body = self.unread[head + 4..end].to_vec();
                    response.body = String::from_utf8(body).unwrap();
                    self.unread.drain(..end);
                    return Ok(response);
                }
            }
            if self.read_some()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads exactly this.
    ///
    /// # Errors
    /// When the connection ends before.
    pub(crate) fn wait_for(&mut self, bytes: &str) -> io::Result<()> {
        while self.unread.len() < bytes.len() {
            if self.read_some()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let came: Vec<_> = self.unread.drain(..bytes.len()).collect();
        assert_eq!(String::from_utf8_lossy(&came), bytes);
        Ok(())
    }

    /// Waits until the server closes the connection; what came before that.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        // A reset closes it too.
        while self.read_some().is_ok_and(|count| count > 0) {}
        self.unread
    }

    fn read_some(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        self.unread.extend(&bytes[..count]);
        Ok(count)
    }
}
