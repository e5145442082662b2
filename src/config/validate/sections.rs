//! Projects and roles.

use std::collections::BTreeMap;

use super::{
    super::{
        fragment::{Raw, Section, Sections, bare_or_quoted},
        kind::Kind,
        tables::{PROJECTS, ROLES, Table},
        value::{self, shown},
    },
    Reader, misfit,
};
use crate::fleet::{Project, Role};

impl Reader<'_> {
    pub(super) fn projects(&mut self) -> Vec<Project> {
        let sections = &self.merged.projects;
        self.names(&PROJECTS, sections);
        let mut projects = Vec::with_capacity(sections.len());
        for (name, section) in sections {
            projects.push(Project {
                name: name.clone(),
                description: self.field(&PROJECTS, name, section, "description", value::line),
                repository: self.repository(name, section),
            });
        }
        projects
    }

    fn repository(&mut self, name: &str, section: &Section) -> Option<String> {
        let entry = section.fields.get("repository")?;
        let home = self.around.home.as_deref();
        let read = match entry.raw.text() {
            Some(text) => value::repository(text, self.around.base(&entry.origin), home),
            None => Err(misfit(&entry.raw, Kind::Path)),
        };
        read.map_err(|why| {
            self.reject(&entry.origin, &path_of(&PROJECTS, name, "repository"), why);
        })
        .ok()
    }

    pub(super) fn roles(&mut self, projects: &[Project]) -> Vec<Role> {
        let sections = &self.merged.roles;
        self.names(&ROLES, sections);
        let mut roles = Vec::with_capacity(sections.len());
        for (name, section) in sections {
            roles.push(Role {
                name: name.clone(),
                description: self.field(&ROLES, name, section, "description", value::line),
                projects: self.offering(name, section, projects),
                default: self.field(&ROLES, name, section, "default", value::boolean),
            });
        }
        self.one_default_each(&roles, projects);
        roles
    }

    /// A role's projects, by the names that their own tables have.
    fn offering(&mut self, name: &str, section: &Section, projects: &[Project]) -> Vec<String> {
        let Some(entry) = section.fields.get("projects") else {
            return Vec::new();
        };
        let path = path_of(&ROLES, name, "projects");
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
            let entry =
                self.merged.roles.get(&role.name).and_then(|role| role.fields.get("default"));
            if let (Some(rival), Some(entry)) = (rival, entry) {
                let why = format!("role {} is the default already; keep one", shown(&rival.name));
                self.reject(&entry.origin, &path_of(&ROLES, &role.name, "default"), why);
            }
        }
    }

    /// Checks the names of a table's sections: printable, and unique in any case.
    fn names(&mut self, table: &Table, sections: &Sections) {
        let mut seen = BTreeMap::new();
        for (name, section) in sections {
            let path = format!("{}.{}", table.name, bare_or_quoted(name));
            if value::name(name).is_none() {
                self.reject(
                    &section.origin,
                    &path,
                    format!("{} is not {}", shown(name), Kind::Names),
                );
            }
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                let why = format!("differs from {} by upper and lower case only", shown(other));
                self.reject(&section.origin, &path, why);
            }
        }
    }

    fn field<T: Default>(
        &mut self,
        table: &Table,
        name: &str,
        section: &Section,
        field: &str,
        read: impl Fn(&Raw, Kind) -> Option<T>,
    ) -> T {
        let known = table.fields.iter().find(|known| known.name == field);
        let (Some(known), Some(entry)) = (known, section.fields.get(field)) else {
            return T::default();
        };
        self.read(entry, &path_of(table, name, field), known.kind, read).unwrap_or_default()
    }
}

fn path_of(table: &Table, name: &str, field: &str) -> String {
    format!("{}.{}.{field}", table.name, bare_or_quoted(name))
}
