//! One connection, byte by byte: for what no well-behaved client does.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{PATIENCE, Response};

/// A TCP connection of a client that sends what a test says, when it says it.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Received, and not taken as an answer yet.
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends, and says whether the server still took it.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent; still listens.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer, whole: an interim one too, and none of the bytes after it.
    pub(crate) fn answer(&mut self) -> Response {
        let head = self.read_until(b"\r\n\r\n");
        let response = Response::parse(&self.unread[..head]);
        let length: Option<usize> =
            response.header("content-length").map(|length| length.parse().unwrap());
        let end = match length {
            _ if response.status < 200 => head,
            None if response.header("transfer-encoding").is_some() => {
                self.read_until(b"\r\n0\r\n\r\n")
            }
            None => panic!("an answer without length: {response:?}"),
            Some(length) => {
                self.read_to_length(head + length);
                head + length
            }
        };
        let rest = self.unread.split_off(end);
        let whole = std::mem::replace(&mut self.unread, rest);
        Response::parse(&whole)
    }

    /// Sends this again and again, with a pause, until the server answers.
    pub(crate) fn dribble(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let pause = Duration::from_millis(50);
        self.stream.set_read_timeout(Some(pause)).unwrap();
        let start = Instant::now();
        while self.stream.peek(&mut [0]).is_err() {
            assert!(start.elapsed() < PATIENCE, "no answer");
            self.try_send(bytes.as_ref()).unwrap();
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.answer()
    }

    /// Waits until the server has closed the connection, in order and without another byte.
    pub(crate) fn ends(mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "after the end: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whatever comes until the server closes the connection in order; a reset is a failure.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.unread).unwrap();
        std::mem::take(&mut self.unread)
    }

    /// Waits until the connection is gone, in order or not.
    pub(crate) fn vanishes(mut self) {
        match self.stream.read_to_end(&mut self.unread) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Reads until this is there; the position after it.
    fn read_until(&mut self, end: &[u8]) -> usize {
        loop {
            let found = self.unread.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return at + end.len();
            }
            self.read_to_length(self.unread.len() + 1);
        }
    }

    fn read_to_length(&mut self, length: usize) {
        let mut chunk = [0; 16 * 1024];
        while self.unread.len() < length {
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend_from_slice(&chunk[..count]);
        }
    }
}
