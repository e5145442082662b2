//! Roles.

use std::{os::unix::fs::MetadataExt as _, path::PathBuf};

use super::{
    super::{
        kind::Kind,
        tables::ROLES,
        value::{self, shown},
    },
    Reader, defaults,
    sections::Place,
};
use crate::fleet::{Program, Project, Role, program::KNOWN};

impl Reader<'_> {
    pub(super) fn roles(&mut self, projects: &[Project], programs: &[Program]) -> Vec<Role> {
        let merged = self.merged;
        if merged.roles.is_empty() {
            return defaults::roles(programs);
        }
        let mut roles = Vec::with_capacity(merged.roles.len());
        for place in self.places(&ROLES, &merged.roles) {
            roles.push(Role {
                name: place.name.to_owned(),
                description: self.field(place, "description", value::line).unwrap_or_default(),
                projects: self.offering(place, projects),
                default: self.field(place, "default", value::boolean).unwrap_or_default(),
                agent: self.agent(place, programs),
                prompt: self.field(place, "prompt", value::prose).and_then(written),
                mode: self.field(place, "mode", value::line).and_then(written),
                model: self.field(place, "model", value::line).and_then(written),
                permissions: self
                    .field(place, "permissions", value::permissions)
                    .unwrap_or_default(),
                fleet_token: self
                    .field(place, "fleet_token", value::fleet_token)
                    .unwrap_or_default(),
                environment: self.variables(place, "environment"),
                environment_file: self.environment_file(place),
                credentials: self.files(place, "credentials"),
            });
        }
        self.one_default_each(&roles, projects);
        roles
    }

    /// A role's projects, by the names that their own tables have.
    fn offering(&mut self, place: Place<'_>, projects: &[Project]) -> Vec<String> {
        let Some(entry) = place.entry("projects") else {
            return Vec::new();
        };
        let path = place.path_of("projects");
        let known = self.problems.len();
        let names = self.items(entry, &path, Kind::Names, |text| {
            let project =
                projects.iter().find(|project| project.name.to_lowercase() == text.to_lowercase());
            let project = project.map(|project| project.name.clone());
            project.ok_or_else(|| {
                Some(format!("there is no project {}; add `[projects.NAME]`", shown(text)))
            })
        });
        if names.is_empty() && self.problems.len() == known {
            let why = "names no project; leave it out to offer the role for all";
            self.reject(&entry.origin, &path, why);
        }
        names
    }

    /// A role's agent program, by the name that its own table has.
    fn agent(&mut self, place: Place<'_>, programs: &[Program]) -> String {
        let Some(entry) = place.entry("agent") else {
            return defaults::program(programs).map_or_else(String::new, |p| p.name.clone());
        };
        let Some(name) = self.field(place, "agent", value::line) else {
            return String::new();
        };
        let is_meant = |known: &str| known.to_lowercase() == name.to_lowercase();
        if let Some(program) = programs.iter().find(|program| is_meant(&program.name)) {
            return program.name.clone();
        }
        let why = match KNOWN.iter().find(|known| is_meant(known.name)) {
            Some(known) => format!(
                "its program `{}` is not on PATH; install it, or add `[agents.{}]`; there is {}",
                known.command,
                known.name,
                listed(programs)
            ),
            None => format!(
                "there is no agent program {}; add `[agents.NAME]`, or use {}",
                shown(&name),
                listed(programs)
            ),
        };
        self.reject(&entry.origin, &place.path_of("agent"), why);
        String::new()
    }

    /// The file may come later; if it is there, it should be for the daemon's user only.
    fn environment_file(&mut self, place: Place<'_>) -> Option<PathBuf> {
        const FIELD: &str = "environment_file";
        let path = self.located(place, FIELD, value::path)?;
        let mode = path.metadata().map_or(0, |meta| meta.mode() & 0o7777);
        if let (true, Some(entry)) = (mode & 0o077 != 0, place.entry(FIELD)) {
            let why = format!(
                "others can use `{}` (mode {mode:04o}); run `chmod 600` on it",
                path.display()
            );
            self.warn(&entry.origin, &place.path_of(FIELD), why);
        }
        Some(path)
    }

    /// Two defaults for one project would leave the choice to chance.
    fn one_default_each(&mut self, roles: &[Role], projects: &[Project]) {
        let defaults: Vec<&Role> = roles.iter().filter(|role| role.default).collect();
        for (at, role) in defaults.iter().enumerate() {
            let rival = defaults.iter().take(at).find(|earlier| {
                let both_for_all = role.projects.is_empty() && earlier.projects.is_empty();
                let both_for =
                    |p: &Project| role.offered_by(&p.name) && earlier.offered_by(&p.name);
                both_for_all || projects.iter().any(both_for)
            });
            let section = self.merged.roles.get(&role.name);
            if let (Some(rival), Some(section)) = (rival, section) {
                let place = Place { table: &ROLES, name: &role.name, section };
                let origin = place.entry("default").map_or(&section.origin, |entry| &entry.origin);
                let why = format!("role {} is the default already; keep one", shown(&rival.name));
                self.reject(origin, &place.path_of("default"), why);
            }
        }
    }
}

/// An empty text takes back what another file says.
fn written(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

fn listed(programs: &[Program]) -> String {
    let names: Vec<_> = programs.iter().map(|program| shown(&program.name)).collect();
    names.join(", ")
}
