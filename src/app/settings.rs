//! What the daemon was told, validated: immutable, swapped whole on reload.
//!
//! `config` makes it; everyone else only reads it. Agents' variables in it may be secrets; they are
//! left out of `Debug`.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use super::ports::event_store::Retention;
use crate::fleet::{Limits, Program, Project, Role};

/// All settings of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the data plane listens; port 0 lets the kernel choose. Never empty.
    pub listen: Vec<SocketAddr>,
    /// The state directory, 0700.
    pub state_dir: PathBuf,
    /// The control socket, 0600 in a 0700 directory. At most 107 bytes.
    pub control_socket: PathBuf,
    /// Who may come in.
    pub auth: AuthSettings,
    /// The data plane.
    pub http: HttpSettings,
    /// What is logged, and where to.
    pub log: LogSettings,
    /// What agents may work on, by name.
    pub projects: Vec<Project>,
    /// How agents may work, by name.
    pub roles: Vec<Role>,
    /// What agents run, by name.
    pub programs: Vec<Program>,
    /// How much the fleet may take.
    pub fleet: FleetSettings,
    /// How long events are kept. Default 90 days, and 16 MiB a trail.
    pub events: Retention,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether a request without a valid token is refused. Off by default.
    pub enabled: bool,
    /// The primary token's file.
    pub token_file: PathBuf,
    /// Where the primary token comes from.
    pub primary: PrimarySource,
}

/// Where the primary token comes from. A credential wins over a variable, and that over the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrimarySource {
    /// The token file, which the daemon makes and rotates.
    File,
    /// The variable `FLEET_MCP_AUTH_TOKEN`, set there: in words.
    Variable(String),
    /// The credential `auth_token` that systemd provides, at this path.
    Credential(PathBuf),
}

impl fmt::Display for PrimarySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("the token file"),
            Self::Variable(place) => write!(f, "FLEET_MCP_AUTH_TOKEN ({place})"),
            Self::Credential(path) => {
                write!(f, "the systemd credential auth_token ({})", path.display())
            }
        }
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Names that the Host header may have; empty allows any.
    pub allowed_hosts: Vec<String>,
    /// Origins that browsers may come from besides the own host and loopback.
    pub allowed_origins: Vec<String>,
    /// Peers that are believed when they say whom they forward for.
    pub trusted_proxies: Vec<IpNet>,
    /// In which header they say it. The other one is what their client claims.
    pub forwarded_header: ForwardedHeader,
    /// The URL that clients reach this server by, if it is not the listening address.
    pub public_url: Option<String>,
    /// Largest request body, in bytes. Default 4 MiB.
    pub max_body_bytes: usize,
    /// How long a client may take for the TLS handshake and for each request's header. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client may take for each request's body. Default 30 s.
    pub body_timeout: Duration,
    /// How long a connection may stay open between two requests. Default 75 s.
    pub idle_timeout: Duration,
    /// Most TCP connections at once. Default 1,024.
    pub max_connections: usize,
    /// Most requests being answered at once. Default 256.
    pub max_requests: usize,
    /// How long requests in flight may go on once the daemon was told to stop. Default 10 s.
    pub shutdown_timeout: Duration,
    /// Built-in TLS; `None` leaves it to a proxy.
    pub tls: Option<TlsSettings>,
}

#[cfg(test)]
impl HttpSettings {
    /// Nothing allowed, no limits of time.
    pub(crate) fn for_tests() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            public_url: None,
            max_body_bytes: 0,
            header_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            max_connections: 0,
            max_requests: 0,
            shutdown_timeout: Duration::ZERO,
            tls: None,
        }
    }
}

/// The header in which a proxy says whom it forwards for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, as nearly all proxies set it.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

/// `[http.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[fleet]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetSettings {
    /// The directory with the sockets of slots; `None` runs agents as child processes.
    pub slots: Option<PathBuf>,
    /// Most agents. Default 64.
    pub max_agents: usize,
    /// Most tasks running at once. Default 16.
    pub max_tasks: usize,
    /// Most bytes of an agent's log; the oldest entries go first. Default 16 MiB.
    pub max_log_bytes: u64,
    /// How long an agent's program may take to end when it is told to, in seconds. Default 5.
    pub close_grace_secs: u32,
    /// How long things may take.
    pub limits: Limits,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Comma-separated `level` and `target=level` directives. Security events ignore it.
    pub filter: String,
    /// The access log in common log format, if one is wanted.
    pub access_file: Option<PathBuf>,
    /// Where journald listens for its native protocol.
    pub journal_socket: PathBuf,
}
