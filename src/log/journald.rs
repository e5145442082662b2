//! journald's native protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::{
    ffi::OsStr,
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    entry::{Entry, IDENTIFIER},
    text,
};

/// How long one entry may wait for room in journald's queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Where entries are sent to. Not connected, so that a restarted journald is found again.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, path })
    }

    /// Sends one datagram; waits up to a second for room.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(datagram, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }
}

/// Whether someone listens on a datagram socket.
pub(super) fn is_reachable(path: &Path) -> bool {
    UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok()
}

/// Whether `JOURNAL_STREAM` names the file that standard error is.
///
/// The variable alone says nothing: children inherit it also when their output goes elsewhere.
pub(super) fn is_stream(journal_stream: Option<&OsStr>, device: u64, inode: u64) -> bool {
    let named = journal_stream.and_then(OsStr::to_str).and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    named == Some((device, inode))
}

/// An entry as a datagram, with no value longer than `limit` bytes.
pub(super) fn encode(entry: &Entry, limit: usize) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(512);
    let priority = (entry.priority as u8).to_string();
    push(&mut datagram, "MESSAGE", &text::cut(&entry.message, limit));
    push(&mut datagram, "PRIORITY", &priority);
    push(&mut datagram, "SYSLOG_IDENTIFIER", IDENTIFIER);
    if let Some(target) = entry.target {
        push(&mut datagram, "FLEET_TARGET", target);
    }
    for (name, value) in &entry.fields {
        push(&mut datagram, name, &text::cut(value, limit));
    }
    datagram
}

/// Values with a newline need their length in front, or the rest would be read as further fields.
fn push(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

/// Reads a datagram as journald does.
#[cfg(test)]
pub(super) fn decode(mut datagram: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while !datagram.is_empty() {
        let line_end = datagram.iter().position(|&byte| byte == b'\n').unwrap();
        let (line, rest) = (&datagram[..line_end], &datagram[line_end + 1..]);
        let (name, value, rest) = match line.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&line[..equals], &line[equals + 1..], rest),
            None => {
                let (length, rest) = rest.split_first_chunk::<8>().unwrap();
                let (value, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
                (line, value, rest.strip_prefix(b"\n").unwrap())
            }
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.push((text(name), text(value)));
        datagram = rest;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry {
            time: jiff::Timestamp::UNIX_EPOCH,
            priority: super::super::entry::Priority::Info,
            target: None,
            message: "hello".to_owned(),
            fields: vec![("FLEET_X".to_owned(), value.to_owned())],
        }
    }

    #[test]
    fn value_with_a_newline_stays_one_field() {
        let datagram = encode(&entry("a\nPRIORITY=0\n"), 2048);

        let fields = decode(&datagram);

        assert_eq!(fields.last(), Some(&("FLEET_X".to_owned(), "a\nPRIORITY=0\n".to_owned())));
        assert_eq!(fields.iter().filter(|(name, _)| name == "PRIORITY").count(), 1);
    }

    #[test]
    fn simple_value_is_a_line() {
        let datagram = encode(&entry("a=b"), 2048);

        assert_eq!(
            datagram,
            b"MESSAGE=hello\nPRIORITY=6\nSYSLOG_IDENTIFIER=fleet-mcp\nFLEET_X=a=b\n"
        );
    }

    #[test]
    fn smaller_limit_makes_a_smaller_datagram() {
        let datagram = encode(&entry(&"ä".repeat(1000)), 256);

        assert!(datagram.len() < 400);
        assert!(decode(&datagram).last().unwrap().1.ends_with("ä…"));
    }

    #[test]
    fn journal_stream_must_name_the_very_file() {
        let cases = [
            (Some("8:1234"), true),
            (Some("8:1235"), false),
            (Some("9:1234"), false),
            (Some("8"), false),
            (Some("8:1234:5"), false),
            (Some(""), false),
            (None, false),
        ];

        for (variable, expected) in cases {
            assert_eq!(is_stream(variable.map(OsStr::new), 8, 1234), expected, "{variable:?}");
        }
    }
}
