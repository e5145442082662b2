//! Every setting there is, in one table: files, variables, flags, `--help` and `check-config` read it.

use std::{fmt, time::Duration};

use super::kind::{KIB, Kind, MIB};

/// What holds when nobody sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This text, read as if somebody had written it.
    Value(&'static str),
    /// It depends on other settings and on the surroundings, in these words.
    Computed(&'static str),
    /// Nothing: the feature is off, or the list is empty.
    Nothing,
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(text) | Self::Computed(text) => f.write_str(text),
            Self::Nothing => f.write_str("none"),
        }
    }
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its place in a file: `http.max_connections`.
    pub path: &'static str,
    /// Its environment variable: `FLEET_MCP_HTTP_MAX_CONNECTIONS`.
    pub variable: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is if nobody sets it.
    pub default: Preset,
    /// One sentence about it.
    pub help: &'static str,
}

impl Key {
    /// Its flag on the command line: `--http-max-connections`.
    pub fn flag(&self) -> String {
        format!("--{}", self.path.replace(['.', '_'], "-"))
    }

    /// The key at this path.
    pub fn at(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }
}

const fn up_to(max: Duration) -> Kind {
    Kind::Duration { min: Duration::from_millis(100), max }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All settings, sorted as they are best read.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        variable: "FLEET_MCP_LISTEN",
        kind: Kind::Addresses,
        default: Preset::Computed(
            "127.0.0.1:8000 while authentication is off, 0.0.0.0:8000 once it is on",
        ),
        help: "Where MCP clients connect; port 0 lets the kernel choose, and a name stands for one address, IPv4 before IPv6.",
    },
    Key {
        path: "state_dir",
        variable: "FLEET_MCP_STATE_DIR",
        kind: Kind::Path,
        default: Preset::Computed("$STATE_DIRECTORY, else ~/.fleet-mcp"),
        help: "Where tokens and the fleet are kept.",
    },
    Key {
        path: "control_socket",
        variable: "FLEET_MCP_CONTROL_SOCKET",
        kind: Kind::Path,
        default: Preset::Computed(
            "$RUNTIME_DIRECTORY/control.sock, else $XDG_RUNTIME_DIR/fleet-mcp/control.sock, else run/control.sock in state_dir",
        ),
        help: "The Unix socket that fleetctl talks to; at most 107 bytes.",
    },
    Key {
        path: "auth.enabled",
        variable: "FLEET_MCP_AUTH_ENABLED",
        kind: Kind::Boolean,
        default: Preset::Value("false"),
        help: "Whether a request without a valid token is refused.",
    },
    Key {
        path: "auth.token_file",
        variable: "FLEET_MCP_AUTH_TOKEN_FILE",
        kind: Kind::Path,
        default: Preset::Computed("auth_token in state_dir"),
        help: "The primary token's file.",
    },
    Key {
        path: "http.allowed_hosts",
        variable: "FLEET_MCP_HTTP_ALLOWED_HOSTS",
        kind: Kind::Hosts,
        default: Preset::Nothing,
        help: "Names that the Host header may have; none allows any.",
    },
    Key {
        path: "http.allowed_origins",
        variable: "FLEET_MCP_HTTP_ALLOWED_ORIGINS",
        kind: Kind::Origins,
        default: Preset::Nothing,
        help: "Origins that browsers may come from, besides the server's own host and loopback.",
    },
    Key {
        path: "http.trusted_proxies",
        variable: "FLEET_MCP_HTTP_TRUSTED_PROXIES",
        kind: Kind::Networks,
        default: Preset::Nothing,
        help: "Peers that are believed when they say whom they forward for.",
    },
    Key {
        path: "http.forwarded_header",
        variable: "FLEET_MCP_HTTP_FORWARDED_HEADER",
        kind: Kind::OneOf(&["x-forwarded-for", "forwarded"]),
        default: Preset::Value("x-forwarded-for"),
        help: "The header in which they say it; it must be one that they set or append to.",
    },
    Key {
        path: "http.public_url",
        variable: "FLEET_MCP_HTTP_PUBLIC_URL",
        kind: Kind::Url,
        default: Preset::Nothing,
        help: "The URL that clients reach this server by, if it is not the listening address.",
    },
    Key {
        path: "http.max_body_bytes",
        variable: "FLEET_MCP_HTTP_MAX_BODY_BYTES",
        kind: Kind::Size { min: KIB, max: 1024 * MIB },
        default: Preset::Value("4 MiB"),
        help: "The largest request body.",
    },
    Key {
        path: "http.header_timeout",
        variable: "FLEET_MCP_HTTP_HEADER_TIMEOUT",
        kind: up_to(MINUTE.saturating_mul(10)),
        default: Preset::Value("10s"),
        help: "How long a client may take for the TLS handshake and for each request's header.",
    },
    Key {
        path: "http.body_timeout",
        variable: "FLEET_MCP_HTTP_BODY_TIMEOUT",
        kind: up_to(HOUR),
        default: Preset::Value("30s"),
        help: "How long a client may take for each request's body.",
    },
    Key {
        path: "http.idle_timeout",
        variable: "FLEET_MCP_HTTP_IDLE_TIMEOUT",
        kind: up_to(HOUR),
        default: Preset::Value("75s"),
        help: "How long a connection may stay open between two requests.",
    },
    Key {
        path: "http.shutdown_timeout",
        variable: "FLEET_MCP_HTTP_SHUTDOWN_TIMEOUT",
        kind: Kind::Duration { min: Duration::ZERO, max: MINUTE.saturating_mul(10) },
        default: Preset::Value("10s"),
        help: "How long requests in flight may go on once the daemon was told to stop.",
    },
    Key {
        path: "http.max_connections",
        variable: "FLEET_MCP_HTTP_MAX_CONNECTIONS",
        kind: Kind::Count { min: 1, max: 1_000_000 },
        default: Preset::Value("1024"),
        help: "The most TCP connections at once.",
    },
    Key {
        path: "http.max_requests",
        variable: "FLEET_MCP_HTTP_MAX_REQUESTS",
        kind: Kind::Count { min: 1, max: 1_000_000 },
        default: Preset::Value("256"),
        help: "The most requests being answered at once.",
    },
    Key {
        path: "http.tls.certificate",
        variable: "FLEET_MCP_HTTP_TLS_CERTIFICATE",
        kind: Kind::Path,
        default: Preset::Nothing,
        help: "A PEM file with the certificate and its chain; goes with http.tls.key.",
    },
    Key {
        path: "http.tls.key",
        variable: "FLEET_MCP_HTTP_TLS_KEY",
        kind: Kind::Path,
        default: Preset::Nothing,
        help: "A PEM file with the private key; goes with http.tls.certificate.",
    },
    Key {
        path: "fleet.max_agents",
        variable: "FLEET_MCP_FLEET_MAX_AGENTS",
        kind: Kind::Count { min: 1, max: 100_000 },
        default: Preset::Value("64"),
        help: "The most agents.",
    },
    Key {
        path: "fleet.slots",
        variable: "FLEET_MCP_FLEET_SLOTS",
        kind: Kind::Path,
        default: Preset::Nothing,
        help: "The directory with the sockets of slots, in which systemd runs agents; none runs them as child processes.",
    },
    Key {
        path: "fleet.max_tasks",
        variable: "FLEET_MCP_FLEET_MAX_TASKS",
        kind: Kind::Count { min: 1, max: 100_000 },
        default: Preset::Value("16"),
        help: "The most tasks running at once.",
    },
    Key {
        path: "fleet.max_log",
        variable: "FLEET_MCP_FLEET_MAX_LOG",
        kind: Kind::Size { min: 64 * KIB, max: 1024 * MIB },
        default: Preset::Value("16 MiB"),
        help: "The largest log of an agent; its oldest entries go first.",
    },
    Key {
        path: "fleet.open_timeout",
        variable: "FLEET_MCP_FLEET_OPEN_TIMEOUT",
        kind: up_to(DAY),
        default: Preset::Value("2m"),
        help: "How long an agent's workspace and program may take to be ready.",
    },
    Key {
        path: "fleet.turn_timeout",
        variable: "FLEET_MCP_FLEET_TURN_TIMEOUT",
        kind: up_to(DAY.saturating_mul(7)),
        default: Preset::Value("1h"),
        help: "How long an agent may work on a task.",
    },
    Key {
        path: "fleet.silence_timeout",
        variable: "FLEET_MCP_FLEET_SILENCE_TIMEOUT",
        kind: up_to(DAY.saturating_mul(7)),
        default: Preset::Value("15m"),
        help: "How long an agent may be silent while it works.",
    },
    Key {
        path: "fleet.answer_timeout",
        variable: "FLEET_MCP_FLEET_ANSWER_TIMEOUT",
        kind: up_to(DAY.saturating_mul(7)),
        default: Preset::Value("10m"),
        help: "How long an agent's question waits for an answer; then the answer is no.",
    },
    Key {
        path: "fleet.cancel_timeout",
        variable: "FLEET_MCP_FLEET_CANCEL_TIMEOUT",
        kind: up_to(HOUR),
        default: Preset::Value("10s"),
        help: "How long an agent may take to stop working on a canceled task; then its program is ended.",
    },
    Key {
        path: "fleet.close_grace",
        variable: "FLEET_MCP_FLEET_CLOSE_GRACE",
        kind: Kind::Seconds { min: 1, max: 600 },
        default: Preset::Value("5s"),
        help: "How long an agent's program may take to end when it is told to; then it is killed.",
    },
    Key {
        path: "events.max_age",
        variable: "FLEET_MCP_EVENTS_MAX_AGE",
        kind: Kind::Duration { min: HOUR, max: DAY.saturating_mul(3650) },
        default: Preset::Value("90d"),
        help: "How long events are kept for `fleetctl events`.",
    },
    Key {
        path: "events.max_size",
        variable: "FLEET_MCP_EVENTS_MAX_SIZE",
        kind: Kind::Size { min: 64 * KIB, max: 1024 * MIB },
        default: Preset::Value("16 MiB"),
        help: "How much is kept of each: the fleet's events, the audit trail, refused requests; the oldest go first.",
    },
    Key {
        path: "log.filter",
        variable: "FLEET_MCP_LOG",
        kind: Kind::Filter,
        default: Preset::Value("info"),
        help: "What is logged: `level` and `target=level`, separated by commas; security events ignore it.",
    },
    Key {
        path: "log.access_file",
        variable: "FLEET_MCP_LOG_ACCESS_FILE",
        kind: Kind::Path,
        default: Preset::Nothing,
        help: "A file for the access log in common log format.",
    },
    Key {
        path: "log.journal_socket",
        variable: "FLEET_MCP_LOG_JOURNAL_SOCKET",
        kind: Kind::Path,
        default: Preset::Value("/run/systemd/journal/socket"),
        help: "Where journald listens for its native protocol.",
    },
];
