//! From merged raw values to [`Settings`]. Goes on after a problem, so that all are told at once; the
//! placeholders that stand in for bad values never leave this module.

mod defaults;
mod fleet;
mod programs;
mod projects;
mod roles;
mod sections;

use std::{
    collections::BTreeSet,
    fmt::Display,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    Problem, Surroundings,
    fragment::{Entry, Fragment, Origin, Raw},
    keys::{Key, Preset},
    kind::Kind,
    value,
};
use crate::app::{
    ports::event_store::Retention,
    settings::{AuthSettings, HttpSettings, LogSettings, PrimarySource, Settings, TlsSettings},
};

/// Longest path that a Unix socket can be bound to: `sun_path` is 108 bytes, with a NUL at the end.
const MAX_SOCKET_PATH: usize = 107;

/// Where clients connect unless the settings say otherwise.
const PORT: u16 = 8000;

pub(super) fn settings(
    merged: &Fragment,
    around: &Surroundings,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Settings {
    let mut reader = Reader { merged, around, problems, warnings };
    let enabled = reader.get("auth.enabled", value::boolean);
    let state_dir = reader.path_or("state_dir", around.state_dir());
    let in_state = |name: &str| Ok(state_dir.join(name));
    let runtime = around.runtime_dir();
    let control_socket =
        runtime.map_or_else(|| in_state("run/control.sock"), |dir| Ok(dir.join("control.sock")));
    let projects = reader.projects();
    let programs = reader.programs();
    Settings {
        listen: reader.listen(enabled),
        control_socket: reader.control_socket(control_socket),
        auth: AuthSettings {
            enabled,
            token_file: reader.path_or("auth.token_file", in_state("auth_token")),
            primary: PrimarySource::File,
        },
        http: reader.http(),
        log: LogSettings {
            filter: reader.get("log.filter", value::filter),
            access_file: reader.path("log.access_file"),
            journal_socket: reader.path("log.journal_socket").unwrap_or_default(),
        },
        roles: reader.roles(&projects, &programs),
        projects,
        programs,
        fleet: reader.fleet(),
        events: Retention {
            max_age: reader.get("events.max_age", value::duration),
            max_bytes: reader.get("events.max_size", value::size) as u64,
        },
        state_dir,
    }
}

struct Reader<'a> {
    merged: &'a Fragment,
    around: &'a Surroundings,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// What was written for a key, else its default.
    fn entry(&self, path: &str) -> Option<Entry> {
        self.merged.values.get(path).cloned().or_else(|| match Key::at(path)?.default {
            Preset::Value(text) => {
                Some(Entry { raw: Raw::Text(text.to_owned()), origin: Origin::Default })
            }
            Preset::Computed(_) | Preset::Nothing => None,
        })
    }

    fn get<T: Default>(&mut self, path: &str, read: impl Fn(&Raw, Kind) -> Option<T>) -> T {
        self.optional(path, read).unwrap_or_default()
    }

    fn optional<T>(&mut self, path: &str, read: impl Fn(&Raw, Kind) -> Option<T>) -> Option<T> {
        let kind = Key::at(path)?.kind;
        let entry = self.entry(path)?;
        self.read(&entry, path, kind, read)
    }

    fn read<T>(
        &mut self,
        entry: &Entry,
        path: &str,
        kind: Kind,
        read: impl Fn(&Raw, Kind) -> Option<T>,
    ) -> Option<T> {
        let value = read(&entry.raw, kind);
        if value.is_none() {
            self.reject(&entry.origin, path, misfit(&entry.raw, kind));
        }
        value
    }

    fn list<T>(&mut self, path: &str, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        match (Key::at(path), self.entry(path)) {
            (Some(key), Some(entry)) => {
                self.items(&entry, path, key.kind, |text| read(text).ok_or(None))
            }
            _ => Vec::new(),
        }
    }

    /// The elements of an array, or of a text with commas; an empty text is an empty list.
    fn items<T>(
        &mut self,
        entry: &Entry,
        path: &str,
        kind: Kind,
        read: impl Fn(&str) -> Result<T, Option<String>>,
    ) -> Vec<T> {
        let items: Vec<(Raw, Option<usize>)> = match &entry.raw {
            Raw::List(items) => {
                items.iter().map(|(raw, line)| (raw.clone(), Some(*line))).collect()
            }
            Raw::Text(text) if text.trim().is_empty() => Vec::new(),
            Raw::Text(text) => {
                text.split(',').map(|item| (Raw::Text(item.trim().to_owned()), None)).collect()
            }
            other => vec![(other.clone(), None)],
        };
        let mut values = Vec::with_capacity(items.len());
        for (raw, line) in items {
            match raw.text().ok_or(None).and_then(&read) {
                Ok(value) => values.push(value),
                Err(why) => {
                    let why = why.unwrap_or_else(|| misfit(&raw, kind));
                    self.reject(&entry.origin.at_line(line), path, why);
                }
            }
        }
        values
    }

    fn path(&mut self, path: &str) -> Option<PathBuf> {
        let entry = self.entry(path)?;
        Some(self.locate(&entry, path, Kind::Path, value::path).unwrap_or_default())
    }

    /// What may be relative to where it was written, or to the home directory.
    fn locate<T>(
        &mut self,
        entry: &Entry,
        path: &str,
        kind: Kind,
        read: impl Fn(&str, &Path, Option<&Path>) -> Result<T, String>,
    ) -> Option<T> {
        let home = self.around.home.as_deref();
        let value = match entry.raw.text() {
            Some(text) => read(text, self.around.base(&entry.origin), home),
            None => Err(misfit(&entry.raw, kind)),
        };
        value.map_err(|why| self.reject(&entry.origin, path, why)).ok()
    }

    fn path_or(&mut self, path: &str, default: Result<PathBuf, String>) -> PathBuf {
        self.path(path).unwrap_or_else(|| {
            default.unwrap_or_else(|why| {
                self.reject(&Origin::Default, path, why);
                PathBuf::new()
            })
        })
    }

    fn listen(&mut self, auth_enabled: bool) -> Vec<SocketAddr> {
        let Some(entry) = self.entry("listen") else {
            let ip = if auth_enabled { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
            return vec![SocketAddr::from((ip, PORT))];
        };
        let known = self.problems.len();
        let addresses = self.items(&entry, "listen", Kind::Addresses, value::address);
        if addresses.is_empty() && self.problems.len() == known {
            self.reject(
                &entry.origin,
                "listen",
                "the list is empty; name an address, or leave it out",
            );
        }
        let mut seen = BTreeSet::new();
        for address in &addresses {
            if address.port() != 0 && !seen.insert(address) {
                self.reject(&entry.origin, "listen", format!("`{address}` is listed twice"));
            }
        }
        addresses
    }

    fn control_socket(&mut self, default: Result<PathBuf, String>) -> PathBuf {
        let path = self.path_or("control_socket", default);
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let origin = self.entry("control_socket").map_or(Origin::Default, |entry| entry.origin);
            let why = format!(
                "`{}` has {length} bytes, and a Unix socket's path at most {MAX_SOCKET_PATH}; set a shorter one",
                path.display()
            );
            self.reject(&origin, "control_socket", why);
        }
        path
    }

    fn http(&mut self) -> HttpSettings {
        HttpSettings {
            allowed_hosts: self.list("http.allowed_hosts", value::host_name),
            allowed_origins: self.list("http.allowed_origins", value::origin),
            trusted_proxies: self.list("http.trusted_proxies", value::network),
            forwarded_header: self.get("http.forwarded_header", value::forwarded_header),
            public_url: self.optional("http.public_url", value::url),
            max_body_bytes: self.get("http.max_body_bytes", value::size),
            header_timeout: self.get("http.header_timeout", value::duration),
            body_timeout: self.get("http.body_timeout", value::duration),
            idle_timeout: self.get("http.idle_timeout", value::duration),
            max_connections: self.get("http.max_connections", value::count),
            max_requests: self.get("http.max_requests", value::count),
            shutdown_timeout: self.get("http.shutdown_timeout", value::duration),
            tls: self.tls(),
        }
    }

    fn tls(&mut self) -> Option<TlsSettings> {
        const CERTIFICATE: &str = "http.tls.certificate";
        const KEY: &str = "http.tls.key";
        match (self.path(CERTIFICATE), self.path(KEY)) {
            (Some(certificate), Some(key)) => return Some(TlsSettings { certificate, key }),
            (None, None) => {}
            (Some(_), None) => self.reject_alone(CERTIFICATE, KEY),
            (None, Some(_)) => self.reject_alone(KEY, CERTIFICATE),
        }
        None
    }

    fn reject_alone(&mut self, path: &str, missing: &str) {
        let origin = self.entry(path).map_or(Origin::Default, |entry| entry.origin);
        self.reject(&origin, path, format!("is set without `{missing}`; set both or neither"));
    }

    fn warn(&mut self, origin: &Origin, path: &str, why: impl Display) {
        self.warnings.push(format!("{}: {why}", origin.of(path)));
    }

    fn reject(&mut self, origin: &Origin, path: &str, why: impl Display) {
        self.problems.push(Problem::new(origin.of(path), why.to_string()));
    }
}

/// What is wrong with a value, without what may hold a password.
fn misfit(raw: &Raw, kind: Kind) -> String {
    match kind {
        Kind::Url | Kind::Origins if raw.text().is_some() => format!("the value is not {kind}"),
        Kind::Arguments | Kind::Variables => format!("the value is not {kind}"),
        _ => format!("{} is not {kind}", raw.shown()),
    }
}

impl Surroundings {
    /// What a relative path starts at: the folder of the file that has it, else the working directory.
    fn base<'a>(&'a self, origin: &'a Origin) -> &'a Path {
        match origin {
            Origin::File(path, _) => path.parent().unwrap_or(&self.working_dir),
            _ => &self.working_dir,
        }
    }
}
