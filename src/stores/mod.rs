//! What outlives the daemon: its state directory and the files in it.
//!
//! Whoever reads or writes a file here does it through `safe_dir`, which checks owner, mode and
//! kind on the open descriptor and replaces files whole. The database is SQLite's to write, once
//! `safe_dir` has looked at its files.

mod atomic;
mod fleet_db;
mod given_token;
mod grant_file;
mod refusal;
mod safe_dir;
mod state_dir;
mod token_file;

pub use fleet_db::{Committed, Examined, FleetDb, examine as examine_fleet_db};
pub use given_token::{CredentialToken, VariableToken};
pub use grant_file::GrantFile;
pub use safe_dir::{Whose, prepare_dir};
pub use state_dir::{StateDir, StateDirError};
pub use token_file::TokenFile;
