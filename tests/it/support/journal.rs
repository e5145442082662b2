//! A journald of our own: a socket that speaks its native protocol, and the start of a daemon whose
//! standard error is "the journal".

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{Builder, eventually};

/// The fields of one entry, in the order in which they came.
pub(crate) type Fields = Vec<(String, String)>;

/// Receives entries until it is dropped.
pub(crate) struct Journal {
    entries: Arc<Mutex<Vec<(Instant, Fields)>>>,
    socket: PathBuf,
    stderr: PathBuf,
    reads: bool,
    /// Keeps a socket that nobody reads.
    _unread: Option<UnixDatagram>,
}

impl Journal {
    /// The journal, and the daemon that is to log to it.
    pub(crate) fn of(builder: Builder) -> (Self, Builder) {
        let (journal, socket, builder) = Self::bind(builder, true);
        let entries = Arc::clone(&journal.entries);
        std::thread::spawn(move || {
            let mut datagram = vec![0; 256 * 1024];
            // An empty datagram is the end.
            while let Ok(length @ 1..) = socket.recv(&mut datagram) {
                entries.lock().unwrap().push((Instant::now(), decode(&datagram[..length])));
            }
        });
        (journal, builder)
    }

    /// One that is there and takes what fits into its queue, but never reads.
    pub(crate) fn that_hangs(builder: Builder) -> (Self, Builder) {
        let (mut journal, socket, builder) = Self::bind(builder, false);
        journal._unread = Some(socket);
        (journal, builder)
    }

    fn bind(builder: Builder, reads: bool) -> (Self, UnixDatagram, Builder) {
        let (path, stderr) = (builder.home().join("journal"), builder.home().join("stderr"));
        let socket = UnixDatagram::bind(&path).unwrap();
        let file = File::create(&stderr).unwrap().metadata().unwrap();
        let builder = builder
            .env("FLEET_MCP_LOG_JOURNAL_SOCKET", &path)
            .env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()))
            .stderr(&stderr);
        let journal = Self { entries: Arc::default(), socket: path, stderr, reads, _unread: None };
        (journal, socket, builder)
    }

    /// What came so far.
    pub(crate) fn entries(&self) -> Vec<Fields> {
        self.entries.lock().unwrap().iter().map(|(_, fields)| fields.clone()).collect()
    }

    /// The entries of an event so far.
    pub(crate) fn events(&self, event: &str) -> Vec<Fields> {
        let is_it = |fields: &Fields| journal_field(fields, "FLEET_EVENT") == Some(event);
        self.entries().into_iter().filter(is_it).collect()
    }

    /// The first entry of an event, and when it came; waits for it.
    pub(crate) fn event(&self, event: &str) -> (Instant, Fields) {
        let is_it =
            |(_, fields): &&(Instant, Fields)| journal_field(fields, "FLEET_EVENT") == Some(event);
        eventually(event, || self.entries.lock().unwrap().iter().find(is_it).cloned())
    }

    /// What went to standard error all the same.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// No entry may hold this.
    pub(crate) fn has_no(&self, secret: &str) {
        let holds = |fields: &Fields| fields.iter().any(|(_, value)| value.contains(secret));
        let leak = self.entries().into_iter().find(holds);
        assert!(leak.is_none(), "a secret is in the journal: {leak:?}");
        assert!(!self.stderr().contains(secret), "a secret is on standard error");
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.reads {
            // The home directory may be gone, and the thread ends with the tests at the latest.
            let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(&[], &self.socket));
        }
    }
}

/// A field that must not occur twice.
pub(crate) fn journal_field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| &**value);
    assert!(found.next().is_none(), "{name} occurs twice: {fields:?}");
    value
}

/// Reads a datagram as journald does.
fn decode(mut datagram: &[u8]) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut fields = Vec::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|&byte| byte == b'\n').unwrap();
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        if let Some(equals) = line.iter().position(|&byte| byte == b'=') {
            fields.push((text(&line[..equals]), text(&line[equals + 1..])));
            datagram = rest;
        } else {
            let (length, rest) = rest.split_first_chunk::<8>().unwrap();
            let (value, rest) =
                rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            fields.push((text(line), text(value)));
            datagram = rest.strip_prefix(b"\n").unwrap();
        }
    }
    fields
}
