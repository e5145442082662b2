//! A conversation as it is stored, so that the next daemon goes on with it in the middle of a turn.
//!
//! It has a bound: what a call of a tool carries is left out when it gets too much. Then a word of an
//! entry may be missing after a restart, but never an entry.

use std::{collections::BTreeMap, path::PathBuf};

use agent_client_protocol::v1::schema::SessionId;
use serde::{Deserialize, Serialize};

use super::{
    Params,
    conversation::{Conversation, Sent, Turn},
    permissions::Questions,
    settings::{self, Settings},
    spending::{self, Spending},
    updates::{self, Narrator},
};
use crate::agents::drivers::noise::Noise;

/// What is stored. Its shape is this version's own: another one hangs up instead of guessing.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    cwd: PathBuf,
    session: SessionId,
    logins: Vec<String>,
    last_id: i64,
    turn: Option<SavedTurn>,
    questions: Questions,
    settings: settings::Saved,
    narrator: updates::Saved,
    spending: spending::Saved,
    noise: Noise,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedTurn {
    request: i64,
    canceled: bool,
}

impl Conversation {
    /// What the next daemon has to know; `None` if it can't go on from here.
    pub(super) fn state(&self) -> Option<String> {
        if self.opening || self.closing || self.failure().is_some() {
            return None;
        }
        let request = self.sent.keys().next().copied();
        let saved = Saved {
            cwd: self.wishes.cwd.clone(),
            session: self.session.clone()?,
            logins: self.logins.clone(),
            last_id: self.last_id,
            turn: self.turn.as_ref().and_then(|turn| {
                request.map(|request| SavedTurn { request, canceled: turn.canceled })
            }),
            questions: self.questions.clone(),
            settings: self.settings.save(),
            narrator: self.narrator.save(),
            spending: self.spending.save(),
            noise: self.noise.clone(),
        };
        serde_json::to_string(&saved).ok()
    }

    /// Goes on where a conversation was, in the directory where it was.
    ///
    /// # Errors
    /// The state is that of another version.
    pub(super) fn resume(mut params: Params, state: &str) -> Result<Self, String> {
        let saved: Saved = serde_json::from_str(state)
            .map_err(|_| "its conversation was stored by another version".to_owned())?;
        params.cwd.clone_from(&saved.cwd);
        let turn = saved.turn.as_ref();
        Ok(Self {
            opening: false,
            session: Some(saved.session),
            logins: saved.logins,
            last_id: saved.last_id,
            sent: turn
                .map(|turn| (turn.request, Sent::Prompt))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            turn: turn.map(|turn| Turn { canceled: turn.canceled }),
            questions: saved.questions,
            settings: Settings::restore(saved.settings),
            narrator: Narrator::restore(saved.cwd, saved.narrator),
            spending: Spending::restore(saved.spending),
            noise: saved.noise,
            ..Self::idle(params, jiff::Timestamp::UNIX_EPOCH)
        })
    }
}
