//! Configuration files: which there are, how they are opened, and how TOML becomes a fragment that
//! knows the line of every value.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    sys::statvfs::{FsFlags, fstatvfs},
};
use toml::de::{DeTable, DeValue};

use super::{
    Problem,
    fragment::{Entry, Fragment, Origin, Raw, Section, bare_or_quoted},
    keys::{KEYS, Key},
    nearest::nearest,
    tables::{TABLES, Table},
};

/// Reads a configuration file; `None` if there is none. One that somebody else could have written is
/// a problem: it could turn authentication off, or name a program to run.
pub(super) fn read(path: &Path, euid: u32, problems: &mut Vec<Problem>) -> Option<Fragment> {
    let read = open_regular(path).and_then(|file| match exposed(&file, path, euid)? {
        Some(why) => Ok(Err(Problem::new(path.display().to_string(), why))),
        None => read_limited(file).map(Ok),
    });
    match read {
        Ok(Ok(text)) => return Some(parse(path, &text, problems)),
        Ok(Err(problem)) => problems.push(problem),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => problems.push(Problem::unreadable(path, &error)),
    }
    Some(Fragment::default())
}

/// Why the content of an open file or directory may be somebody else's than root's or ours, and what
/// to do about it. What can't be written through this mount is as its owner made it, whatever its
/// mode: so are the volumes of containers.
fn exposed(file: &File, path: &Path, euid: u32) -> io::Result<Option<String>> {
    let meta = file.metadata()?;
    if ![0, euid].contains(&meta.uid()) {
        return Ok(Some(format!(
            "it belongs to uid {}, neither to root nor to this user; run `chown {euid} {}` if you trust it",
            meta.uid(),
            path.display()
        )));
    }
    if meta.mode() & 0o022 == 0 || fstatvfs(file)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(None);
    }
    Ok(Some(format!(
        "others can write it (mode {:04o}); run `chmod go-w {}` if you trust it",
        meta.mode() & 0o7777,
        path.display()
    )))
}

fn parse(path: &Path, text: &[u8], problems: &mut Vec<Problem>) -> Fragment {
    let mut fragment = Fragment::default();
    let text = match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let at = Origin::File(path.to_owned(), line_at(text, error.valid_up_to()));
            problems.push(Problem::new(at.to_string(), "the file is not UTF-8"));
            return fragment;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let mut reader = Reader { path, text, fragment: &mut fragment, problems };
        reader.table(table.get_ref(), "");
        return fragment;
    }
    let mut last = 0;
    for error in errors {
        let line = line_at(text.as_bytes(), error.span().map_or(0, |span| span.start));
        // What follows on the same line only echoes the first error.
        if line != last {
            let at = Origin::File(path.to_owned(), line);
            problems.push(Problem::new(at.to_string(), error.message()));
        }
        last = line;
    }
    fragment
}

/// Walks one file's tables.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    fragment: &'a mut Fragment,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        Origin::File(self.path.to_owned(), line_at(self.text.as_bytes(), offset))
    }

    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let path = format!("{prefix}{}", bare_or_quoted(name.get_ref()));
            let origin = self.origin(name.span().start);
            let dynamic = TABLES.into_iter().find(|table| table.name == path);
            let section = format!("{path}.");
            if let Some(key) = Key::at(&path) {
                let raw = self.raw(value.get_ref());
                self.fragment.values.insert(key.path, Entry { raw, origin });
            } else if let Some(table) = dynamic {
                self.sections(&table, value.get_ref(), &origin);
            } else if KEYS.iter().any(|key| key.path.starts_with(&section)) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(table, &section),
                    _ => self.reject(&origin, &path, "is not a table"),
                }
            } else {
                let tables = TABLES.iter().map(|table| table.name);
                let known = nearest(&path, KEYS.iter().map(|key| key.path).chain(tables));
                self.problems.push(Problem::unknown(origin.of(&path), "key", known));
            }
        }
    }

    fn sections(&mut self, table: &Table, value: &DeValue<'_>, origin: &Origin) {
        let DeValue::Table(entries) = value else {
            return self.reject(origin, table.name, "is not a table");
        };
        for (name, value) in entries {
            let origin = self.origin(name.span().start);
            let path = format!("{}.{}", table.name, bare_or_quoted(name.get_ref()));
            let DeValue::Table(fields) = value.get_ref() else {
                self.reject(&origin, &path, "is not a table");
                continue;
            };
            let fields = self.fields(table, &path, fields);
            let sections = match table.name {
                "projects" => &mut self.fragment.projects,
                "agents" => &mut self.fragment.agents,
                _ => &mut self.fragment.roles,
            };
            sections.insert(name.get_ref().to_string(), Section { origin, fields });
        }
    }

    fn fields(
        &mut self,
        table: &Table,
        path: &str,
        fields: &DeTable<'_>,
    ) -> BTreeMap<&'static str, Entry> {
        let mut entries = BTreeMap::new();
        for (name, value) in fields {
            let origin = self.origin(name.span().start);
            match table.fields.iter().find(|field| field.name == name.get_ref().as_ref()) {
                Some(field) => {
                    entries.insert(field.name, Entry { raw: self.raw(value.get_ref()), origin });
                }
                None => {
                    let known =
                        nearest(name.get_ref(), table.fields.iter().map(|field| field.name));
                    let place = origin.of(&format!("{path}.{}", bare_or_quoted(name.get_ref())));
                    self.problems.push(Problem::unknown(place, "key", known));
                }
            }
        }
        entries
    }

    fn raw(&self, value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(value) => Raw::Bare(value.to_string()),
            DeValue::Integer(number) => {
                let value = i128::from_str_radix(number.as_str(), number.radix());
                Raw::Bare(value.map_or_else(|_| number.to_string(), |value| value.to_string()))
            }
            DeValue::Array(items) => Raw::List(
                items
                    .iter()
                    .map(|item| {
                        let line = line_at(self.text.as_bytes(), item.span().start);
                        (self.raw(item.get_ref()), line)
                    })
                    .collect(),
            ),
            DeValue::Float(_) => Raw::Other("a number with a fraction"),
            DeValue::Datetime(_) => Raw::Other("a date or time"),
            DeValue::Table(entries) => Raw::Table(
                entries
                    .iter()
                    .map(|(name, value)| {
                        let origin = self.origin(name.span().start);
                        let raw = self.raw(value.get_ref());
                        (name.get_ref().to_string(), Entry { raw, origin })
                    })
                    .collect(),
            ),
        }
    }

    fn reject(&mut self, origin: &Origin, path: &str, why: &str) {
        self.problems.push(Problem::new(origin.of(path), why));
    }
}

/// The files of `conf.d` in the order of their names, without editors' hidden ones. None of a
/// directory that others can add to, which is a problem.
pub(super) fn drop_ins(directory: &Path, euid: u32, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let listed = open(directory, OFlag::O_DIRECTORY).and_then(|opened| {
        if let Some(why) = exposed(&opened, directory, euid)? {
            return Ok(Err(Problem::new(directory.display().to_string(), why)));
        }
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map(Ok)
    });
    let mut paths = match listed {
        Ok(Ok(paths)) => paths,
        Ok(Err(problem)) => {
            problems.push(problem);
            return Vec::new();
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::unreadable(directory, &error));
            return Vec::new();
        }
    };
    paths.retain(|path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension().is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    paths
}

/// Largest configuration file, in bytes: far more than anybody writes, and little to hold.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Opens without waiting for a FIFO's writer.
pub(super) fn open(path: &Path, more: OFlag) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | more).bits()).open(path)
}

fn open_regular(path: &Path) -> io::Result<File> {
    let file = open(path, OFlag::empty())?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

pub(super) fn read_limited(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}

/// The line of a byte, counted from 1.
pub(super) fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}
