//! What the sections of all tables have in common.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        fragment::{Entry, Raw, Section, Sections, bare_or_quoted},
        kind::Kind,
        tables::Table,
        value::{self, shown},
    },
    Reader, misfit,
};

/// One section of a table: `[projects.web]`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a Table,
    pub(super) name: &'a str,
    pub(super) section: &'a Section,
}

impl<'a> Place<'a> {
    /// The section's own path: `projects.web`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.table.name, bare_or_quoted(self.name))
    }

    /// A field's path: `projects.web.repository`.
    pub(super) fn path_of(&self, field: &str) -> String {
        format!("{}.{field}", self.path())
    }

    pub(super) fn entry(&self, field: &str) -> Option<&'a Entry> {
        self.section.fields.get(field)
    }

    fn known(&self, field: &str) -> Option<(&'a Entry, Kind)> {
        let known = self.table.fields.iter().find(|known| known.name == field);
        Some((self.entry(field)?, known?.kind))
    }
}

impl Reader<'_> {
    /// All sections of a table, by name. Checks the names: printable, and unique in any case.
    pub(super) fn places<'s>(&mut self, table: &'s Table, all: &'s Sections) -> Vec<Place<'s>> {
        let places: Vec<_> =
            all.iter().map(|(name, section)| Place { table, name, section }).collect();
        let mut seen = BTreeMap::new();
        for place in &places {
            let Place { name, section, .. } = place;
            if value::name(name).is_none() {
                let why = format!("{} is not {}", shown(name), Kind::Names);
                self.reject(&section.origin, &place.path(), why);
            }
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                let why = format!("differs from {} by upper and lower case only", shown(other));
                self.reject(&section.origin, &place.path(), why);
            }
        }
        places
    }

    pub(super) fn field<T>(
        &mut self,
        place: Place<'_>,
        field: &str,
        read: impl Fn(&Raw, Kind) -> Option<T>,
    ) -> Option<T> {
        let (entry, kind) = place.known(field)?;
        self.read(entry, &place.path_of(field), kind, read)
    }

    /// A field that names something which may be on this machine.
    pub(super) fn located<T>(
        &mut self,
        place: Place<'_>,
        field: &str,
        read: impl Fn(&str, &Path, Option<&Path>) -> Result<T, String>,
    ) -> Option<T> {
        let (entry, kind) = place.known(field)?;
        self.locate(entry, &place.path_of(field), kind, read)
    }

    /// Variables by name. Says nothing about their values, which may be secrets.
    pub(super) fn variables(&mut self, place: Place<'_>, field: &str) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        for (name, path, entry) in self.entries(place, field) {
            if !value::is_variable(name) {
                let why = "is not a variable's name; use letters, digits and `_`, no digit first";
                self.reject(&entry.origin, &path, why);
            }
            match entry.raw.text().filter(|text| !text.contains('\0')) {
                Some(text) => variables.push((name.to_owned(), text.to_owned())),
                None => {
                    let why = "the value is not a text without NUL; put it in quotes";
                    self.reject(&entry.origin, &path, why);
                }
            }
        }
        variables
    }

    /// Files to copy, by where to place them.
    pub(super) fn files(&mut self, place: Place<'_>, field: &str) -> Vec<(PathBuf, PathBuf)> {
        let mut files = Vec::new();
        for (name, path, entry) in self.entries(place, field) {
            let target = value::path_below(name);
            if target.is_none() {
                let why =
                    "is not a path below the agent's home; use `a/b`, without `~`, `.` and `..`";
                self.reject(&entry.origin, &path, why);
            }
            let source = self.locate(entry, &path, Kind::Path, value::path);
            files.extend(target.zip(source));
        }
        files
    }

    /// The entries of a field that is a table, with their paths.
    fn entries<'s>(&mut self, place: Place<'s>, field: &str) -> Vec<(&'s str, String, &'s Entry)> {
        let path = place.path_of(field);
        match place.known(field) {
            Some((Entry { raw: Raw::Table(entries), .. }, _)) => {
                let path_of = |name| format!("{path}.{}", bare_or_quoted(name));
                entries.iter().map(|(name, entry)| (&**name, path_of(name), entry)).collect()
            }
            Some((entry, kind)) => {
                self.reject(&entry.origin, &path, misfit(&entry.raw, kind));
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}
