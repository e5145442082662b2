//! The control socket without `fleetctl`: for tests that are too quick for a process each.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::{PATIENCE, Response};

/// Sends requests to a control socket, each on a connection of its own.
#[derive(Clone)]
pub(crate) struct Control(PathBuf);

impl Control {
    pub(crate) fn at(socket: &Path) -> Self {
        Self(socket.to_owned())
    }

    /// # Errors
    /// When nobody listens, or the answer breaks off.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> io::Result<Response> {
        self.send(method, path, headers, "")
    }

    /// Posts a JSON object.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> io::Result<Response> {
        let body = body.to_string();
        let headers =
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.send("POST", path, &headers, &body)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Response> {
        let mut stream = UnixStream::connect(&self.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        stream.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let is_whole = bytes.windows(4).any(|window| window == b"\r\n\r\n");
        let response = is_whole.then(|| Response::parse(&bytes));
        let length = |r: &Response| r.header("content-length").and_then(|text| text.parse().ok());
        response
            .filter(|response| length(response) == Some(response.body.len()))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Rotates the primary token; the new secret.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub(crate) fn rotate(&self) -> io::Result<String> {
        let response = self.ask("POST", "/v1/tokens/default/rotate", "Content-Length: 0\r\n")?;
        assert_eq!(response.status, 200, "{}", response.body);
        Ok(response.json()["secret"].as_str().unwrap().to_owned())
    }

    /// The primary token's secret.
    ///
    /// # Errors
    /// As [`Control::ask`].
    pub(crate) fn secret(&self) -> io::Result<String> {
        let response = self.ask("GET", "/v1/tokens/default/secret", "")?;
        assert_eq!(response.status, 200, "{}", response.body);
        Ok(response.json()["secret"].as_str().unwrap().to_owned())
    }
}
