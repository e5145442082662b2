//! Projects.

use super::{
    super::{tables::PROJECTS, value},
    Reader, defaults,
};
use crate::fleet::Project;

impl Reader<'_> {
    pub(super) fn projects(&mut self) -> Vec<Project> {
        let merged = self.merged;
        if merged.projects.is_empty() {
            return vec![defaults::project()];
        }
        let mut projects = Vec::with_capacity(merged.projects.len());
        for place in self.places(&PROJECTS, &merged.projects) {
            projects.push(Project {
                name: place.name.to_owned(),
                description: self.field(place, "description", value::line).unwrap_or_default(),
                repository: self.located(place, "repository", value::repository),
            });
        }
        projects
    }
}
