//! The other end of the control socket, as `fleetctl` uses it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::api;
use crate::app::fleet::MAX_WAIT_SECS;

/// How long the daemon may take to answer; rotating waits for the disk.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a tool's answer may take: some wait for an agent.
const CALL_TIMEOUT: Duration = Duration::from_secs(MAX_WAIT_SECS as u64 + 60);
/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 128 * 1024 * 1024;

/// Asks the daemon that listens on this socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or why it is no success.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("could not reach the daemon at {}", .socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The daemon said no.
    #[error("{}", .error.message)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        error: api::Error,
    },
    /// The connection broke, or the answer can't be understood.
    #[error("the daemon gave no proper answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the daemon did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl Client {
    /// A client of the daemon at this socket. Connects anew for each request.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, None, TIMEOUT).await
    }

    /// An answer that is no JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        self.ask_for_bytes(Method::GET, path, None, TIMEOUT).await
    }

    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::POST, path, None, TIMEOUT).await
    }

    /// Posts a JSON object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        self.ask(Method::POST, path, Some(body), TIMEOUT).await
    }

    /// Calls a tool with these arguments.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        tool: &str,
        arguments: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(arguments).map_err(broken)?;
        self.ask(Method::POST, &api::tool(tool), Some(body), CALL_TIMEOUT).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let body = self.ask_for_bytes(method, path, body, patience).await?;
        serde_json::from_slice(&body).map_err(broken)
    }

    async fn ask_for_bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<Bytes, ClientError> {
        let asked = tokio::time::timeout(patience, self.exchange(method, path, body));
        let (status, body) = asked.await.map_err(|_elapsed| ClientError::TimedOut(patience))??;
        if status.is_success() {
            return Ok(body);
        }
        let refused: api::ErrorBody = serde_json::from_slice(&body).map_err(broken)?;
        Err(ClientError::Refused { status, error: refused.error })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.socket.clone(), source })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "fleet-mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body.unwrap_or_default()))
            .map_err(broken)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(ClientError::Broken)?.to_bytes()))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error)),
            },
        }
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Broken(Box::new(error))
}
