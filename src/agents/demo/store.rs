//! The demo agent's memory: a file a session.

use std::path::{Path, PathBuf};

use agent_client_protocol::{Error, v1::schema::SessionId};
use serde::{Deserialize, Serialize};

use super::{ASKS, MODELS, unknown_session};

/// Turns that are remembered.
const TURNS: usize = 100;

/// What was said in a session, and how it is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transcript {
    pub(super) cwd: PathBuf,
    pub(super) mode: String,
    pub(super) model: String,
    /// Tasks, and what was said about each.
    pub(super) turns: Vec<(String, String)>,
}

impl Transcript {
    pub(super) fn new(cwd: PathBuf) -> Self {
        let (model, _) = MODELS[0];
        Self { cwd, mode: ASKS.to_owned(), model: model.to_owned(), turns: Vec::new() }
    }

    pub(super) fn remember(&mut self, task: String, said: String) {
        self.turns.push((task, said));
        let surplus = self.turns.len().saturating_sub(TURNS);
        self.turns.drain(..surplus);
    }
}

pub(super) async fn save(store: &Path, id: &str, transcript: &Transcript) -> Result<(), Error> {
    let json = serde_json::to_vec(transcript).map_err(Error::into_internal_error)?;
    tokio::fs::create_dir_all(store).await.map_err(Error::into_internal_error)?;
    // Killed in between, it finds what it had before.
    let new = store.join(format!("{id}.new"));
    tokio::fs::write(&new, json).await.map_err(Error::into_internal_error)?;
    tokio::fs::rename(&new, file(store, id)).await.map_err(Error::into_internal_error)
}

pub(super) async fn load(store: &Path, id: &str) -> Result<Transcript, Error> {
    let unknown = || unknown_session(&SessionId::from(id.to_owned()));
    // It becomes a part of a path.
    let sound = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !sound {
        return Err(unknown());
    }
    let json = tokio::fs::read(file(store, id)).await.map_err(|_| unknown())?;
    serde_json::from_slice(&json).map_err(Error::into_internal_error)
}

fn file(store: &Path, id: &str) -> PathBuf {
    store.join(format!("{id}.json"))
}
