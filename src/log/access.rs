//! The access log: one line of common log format for each answered request, in a file of its own.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::{Timestamp, tz::TimeZone};
use nix::fcntl::OFlag;
use tracing::field::{Field, Visit};

use super::text::Clean;

/// Lines are held back up to this many bytes while more are waiting.
const BUFFER_LIMIT: usize = 64 * 1024;

/// One answered request. Its texts have been cleaned; what was not told is empty.
#[derive(Debug, Default)]
pub(super) struct Access {
    time: Timestamp,
    client: String,
    user: String,
    method: String,
    path: String,
    version: String,
    status: String,
    bytes: String,
}

impl Access {
    pub(super) fn at(time: Timestamp) -> Self {
        Self { time, ..Self::default() }
    }

    /// The request as one line, with its newline.
    pub(super) fn line(&self, zone: &TimeZone) -> String {
        let time = self.time.to_zoned(zone.clone());
        format!(
            "{} - {} [{}] \"{} {} {}\" {} {}\n",
            bare(&self.client),
            bare(&self.user),
            time.strftime("%d/%b/%Y:%H:%M:%S %z"),
            self.method,
            self.path,
            self.version,
            bare(&self.status),
            bare(&self.bytes),
        )
    }

    fn set(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let slot = match name {
            "client" => &mut self.client,
            "user" => &mut self.user,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "version" => &mut self.version,
            "status" => &mut self.status,
            "bytes" => &mut self.bytes,
            // The format has no place for others, such as `referer` and `agent`.
            _ => return,
        };
        *slot = Clean::quotable(value);
    }
}

impl Visit for Access {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format_args!("{value:?}"));
    }
}

/// A value outside quotes must neither be missing nor be two.
fn bare(value: &str) -> String {
    if value.is_empty() { "-".to_owned() } else { value.replace(' ', "\\u{20}") }
}

/// The open file. Lines wait in a buffer for [`AccessFile::flush`].
#[derive(Debug)]
pub(super) struct AccessFile {
    file: File,
    buffer: Vec<u8>,
    /// A failed write left half a line in the file.
    torn: bool,
}

/// Lines that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl AccessFile {
    /// Opens for appending; creates it with mode 0640.
    ///
    /// Follows no symbolic link: the directory may belong to someone who would like us to write
    /// elsewhere. Does not wait for a FIFO's reader.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(flags.bits())
            .open(path)?;
        Ok(Self { file, buffer: Vec::new(), torn: false })
    }

    pub(super) fn write(&mut self, line: &str) -> Result<(), Lost> {
        self.buffer.extend_from_slice(line.as_bytes());
        if self.buffer.len() < BUFFER_LIMIT { Ok(()) } else { self.flush() }
    }

    /// Hands everything to the kernel. What fails is lost: a full disk must not fill the memory.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            return Ok(());
        }
        if self.torn {
            buffer.insert(0, b'\n');
        }
        let mut written = 0;
        while written < buffer.len() {
            match self.file.write(&buffer[written..]) {
                Ok(0) => return Err(self.lose(&buffer, written, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lose(&buffer, written, error)),
            }
        }
        self.torn = false;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    fn lose(&mut self, buffer: &[u8], written: usize, error: io::Error) -> Lost {
        let (done, rest) = buffer.split_at(written);
        if let Some(last) = done.last() {
            self.torn = *last != b'\n';
        }
        // The newline that ends a torn line is not a line of its own.
        let lines = rest.split_inclusive(|&byte| byte == b'\n').filter(|line| line.len() > 1);
        Lost { lines: lines.count() as u64, error }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn access(fields: &[(&str, &str)]) -> String {
        let mut access = Access::at("2025-11-11T10:30:00Z".parse().unwrap());
        for (name, value) in fields {
            access.set(name, format_args!("{value}"));
        }
        access.line(&TimeZone::UTC)
    }

    #[test]
    fn line_is_common_log_format() {
        let line = access(&[
            ("client", "203.0.113.7"),
            ("user", "default"),
            ("method", "GET"),
            ("path", "/mcp/list_agents"),
            ("version", "HTTP/1.1"),
            ("status", "401"),
            ("bytes", "123"),
            ("agent", "curl/8.5"),
        ]);

        assert_eq!(
            line,
            "203.0.113.7 - default [11/Nov/2025:10:30:00 +0000] \
             \"GET /mcp/list_agents HTTP/1.1\" 401 123\n"
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let line = access(&[
            ("client", "::1"),
            ("method", "POST"),
            ("path", "/mcp"),
            ("version", "HTTP/1.1"),
            ("status", "200"),
        ]);

        assert_eq!(line, "::1 - - [11/Nov/2025:10:30:00 +0000] \"POST /mcp HTTP/1.1\" 200 -\n");
    }

    #[test]
    fn request_cannot_forge_a_line() {
        let line = access(&[
            ("client", "a b"),
            ("method", "GET"),
            ("path", "/\" 200 1\n\\\u{1b}[2J"),
            ("version", "HTTP/1.1"),
        ]);

        assert_eq!(
            line,
            "a\\u{20}b - - [11/Nov/2025:10:30:00 +0000] \
             \"GET /\\\" 200 1\\n\\\\\\u{1b}[2J HTTP/1.1\" - -\n"
        );
    }

    #[test]
    fn file_is_appended_to_and_not_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");

        for line in ["one\n", "two\n"] {
            let mut file = AccessFile::open(&path).unwrap();
            file.write(line).unwrap();
            file.flush().unwrap();
        }

        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn symbolic_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).unwrap();

        assert!(AccessFile::open(&path).is_err());
        assert!(!directory.path().join("elsewhere").exists());
    }

    #[test]
    fn lost_lines_are_counted_and_not_kept() {
        let mut file = AccessFile::open(Path::new("/dev/full")).unwrap();
        file.write("one\n").unwrap();
        file.write("two\n").unwrap();

        let lost = file.flush().unwrap_err();

        assert_eq!(lost.lines, 2);
        assert!(file.flush().is_ok());
    }

    #[test]
    fn line_after_a_torn_one_starts_afresh() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut file = AccessFile::open(&path).unwrap();
        file.file.write_all(b"one\ntw").unwrap();

        let lost = file.lose(b"one\ntwo\nthree\n", 6, io::ErrorKind::StorageFull.into());
        file.write("four\n").unwrap();
        file.flush().unwrap();

        assert_eq!(lost.lines, 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nfour\n");
    }
}
