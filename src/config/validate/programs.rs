//! Agent programs: those that are configured, and those that come by themselves.

use std::path::PathBuf;

use super::{
    super::{tables::AGENTS, value},
    Reader, defaults,
    sections::Place,
};
use crate::fleet::{Driver, Program};

impl Reader<'_> {
    pub(super) fn programs(&mut self) -> Vec<Program> {
        let (merged, around) = (self.merged, self.around);
        let mut programs = Vec::new();
        for place in self.places(&AGENTS, &merged.agents) {
            programs.push(Program {
                name: place.name.to_owned(),
                driver: self.field(place, "driver", value::driver).unwrap_or(Driver::Acp),
                command: self.command(place),
                arguments: self.field(place, "args", value::arguments).unwrap_or_default(),
                environment: self.variables(place, "environment"),
            });
        }
        for program in defaults::programs(around) {
            if !programs.iter().any(|known| known.name.eq_ignore_ascii_case(&program.name)) {
                programs.push(program);
            }
        }
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        programs
    }

    fn command(&mut self, place: Place<'_>) -> PathBuf {
        let Some(entry) = place.entry("command") else {
            let why = "needs `command`: the program's path, or its name on PATH";
            self.reject(&place.section.origin, &place.path(), why);
            return PathBuf::new();
        };
        let Some(command) = self.located(place, "command", value::command) else {
            return PathBuf::new();
        };
        // It may yet be installed.
        if command.is_relative() && self.around.find(&command).is_none() {
            let why =
                format!("`{}` is not on PATH; install it, or write its path", command.display());
            self.warn(&entry.origin, &place.path_of("command"), why);
        }
        command
    }
}
