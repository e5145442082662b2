//! What the program offers to choose: its mode and its model.

use agent_client_protocol::v1::schema::{
    SessionConfigId, SessionConfigKind, SessionConfigOption, SessionConfigOptionCategory,
    SessionConfigSelect, SessionConfigSelectOptions, SessionConfigValueId, SessionModeId,
    SessionModeState,
};
use serde::{Deserialize, Serialize};

use super::words::clip;

/// Choices that an error message lists.
const LISTED: usize = 20;
/// Characters of a mode's identity that are stored.
const MODE_CHARS: usize = 256;

/// What can be chosen, and what is chosen now.
#[derive(Debug, Default)]
pub(super) struct Settings {
    modes: Option<SessionModeState>,
    options: Vec<SessionConfigOption>,
    /// The mode that it was in, as a former daemon knew it.
    known: Option<String>,
}

/// Of them, what is stored: once a session is open, only changes of the mode matter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    mode: Option<String>,
    has_modes: bool,
}

/// What to tell the program so that a choice is in force.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Mode(SessionModeId),
    Option(SessionConfigId, SessionConfigValueId),
}

impl Settings {
    pub(super) fn new(
        modes: Option<SessionModeState>,
        options: Option<Vec<SessionConfigOption>>,
    ) -> Self {
        Self { modes, options: options.unwrap_or_default(), known: None }
    }

    pub(super) fn save(&self) -> Saved {
        let mode = self.current_mode().map(|mode| mode.chars().take(MODE_CHARS).collect());
        Saved { mode, has_modes: self.modes.is_some() }
    }

    pub(super) fn restore(saved: Saved) -> Self {
        let modes = saved.mode.clone().filter(|_| saved.has_modes);
        let modes = modes.map(|mode| SessionModeState::new(mode, Vec::new()));
        Self { modes, options: Vec::new(), known: saved.mode }
    }

    pub(super) fn set_options(&mut self, options: Vec<SessionConfigOption>) {
        self.options = options;
        // Agents tell of their mode here and there; they mean the same one.
        if let Some(mode) = self.option_mode()
            && let Some(modes) = &mut self.modes
        {
            modes.current_mode_id = mode.into();
        }
    }

    pub(super) fn set_mode(&mut self, mode: SessionModeId) {
        if let Some(modes) = &mut self.modes {
            modes.current_mode_id = mode;
        }
    }

    /// The mode that it says it is in.
    pub(super) fn current_mode(&self) -> Option<String> {
        let mode = self.modes.as_ref().map(|modes| modes.current_mode_id.to_string());
        mode.or_else(|| self.option_mode()).or_else(|| self.known.clone())
    }

    /// The change that brings this mode; `None` if it is in force.
    ///
    /// # Errors
    /// There is no such mode: says which there are.
    pub(super) fn mode(&self, wanted: &str) -> Result<Option<Change>, String> {
        if let Some(modes) = &self.modes {
            let choices = modes
                .available_modes
                .iter()
                .map(|mode| Choice { id: mode.id.to_string(), name: mode.name.clone() });
            let id = choose("mode", wanted, &choices.collect::<Vec<_>>())?;
            let id = SessionModeId::new(id);
            return Ok((id != modes.current_mode_id).then_some(Change::Mode(id)));
        }
        self.option("mode", &SessionConfigOptionCategory::Mode, wanted)
    }

    /// The change that brings this model; `None` if it is in force.
    ///
    /// # Errors
    /// There is no such model: says which there are.
    pub(super) fn model(&self, wanted: &str) -> Result<Option<Change>, String> {
        self.option("model", &SessionConfigOptionCategory::Model, wanted)
    }

    fn option(
        &self,
        what: &str,
        category: &SessionConfigOptionCategory,
        wanted: &str,
    ) -> Result<Option<Change>, String> {
        let Some((option, select)) = self.select(category) else {
            return Err(format!(
                "the agent has no {what} `{}`: it lets nobody choose its {what}",
                clip(wanted, 100)
            ));
        };
        let id = choose(what, wanted, &choices(select))?;
        let value = SessionConfigValueId::new(id);
        let change =
            (value != select.current_value).then(|| Change::Option(option.id.clone(), value));
        Ok(change)
    }

    fn select(
        &self,
        category: &SessionConfigOptionCategory,
    ) -> Option<(&SessionConfigOption, &SessionConfigSelect)> {
        self.options.iter().filter(|option| option.category.as_ref() == Some(category)).find_map(
            |option| match &option.kind {
                SessionConfigKind::Select(select) => Some((option, select)),
                _ => None,
            },
        )
    }

    fn option_mode(&self) -> Option<String> {
        let (_, select) = self.select(&SessionConfigOptionCategory::Mode)?;
        Some(select.current_value.to_string())
    }
}

struct Choice {
    id: String,
    name: String,
}

fn choices(select: &SessionConfigSelect) -> Vec<Choice> {
    let flat = match &select.options {
        SessionConfigSelectOptions::Ungrouped(options) => options.iter().collect::<Vec<_>>(),
        SessionConfigSelectOptions::Grouped(groups) => {
            groups.iter().flat_map(|group| &group.options).collect()
        }
        _ => Vec::new(),
    };
    flat.into_iter()
        .map(|option| Choice { id: option.value.to_string(), name: option.name.clone() })
        .collect()
}

/// The identity of the choice that is meant: by identity, else by name in whatever case.
fn choose(what: &str, wanted: &str, choices: &[Choice]) -> Result<String, String> {
    let exact = choices.iter().find(|choice| choice.id == wanted);
    let like = |text: &str| text.eq_ignore_ascii_case(wanted);
    let found =
        exact.or_else(|| choices.iter().find(|choice| like(&choice.id) || like(&choice.name)));
    if let Some(choice) = found {
        return Ok(choice.id.clone());
    }
    let mut listed: Vec<String> =
        choices.iter().take(LISTED).map(|choice| format!("`{}`", clip(&choice.id, 80))).collect();
    if choices.len() > LISTED {
        listed.push(format!("{} more", choices.len() - LISTED));
    }
    let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
    Err(format!("the agent has no {what} `{}`; it has: {listed}", clip(wanted, 100)))
}
