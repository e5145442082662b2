//! What of new settings a running daemon can't take over.

use crate::app::settings::Settings;

/// The keys that differ and need a restart, in the order of [`KEYS`](super::KEYS). Everything else can
/// be swapped while the daemon runs.
pub fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    [
        ("listen", old.listen != new.listen),
        ("state_dir", old.state_dir != new.state_dir),
        ("control_socket", old.control_socket != new.control_socket),
        // A slip in a file must not open a running server to everybody.
        ("auth.enabled", old.auth.enabled && !new.auth.enabled),
        ("auth.token_file", old.auth.token_file != new.auth.token_file),
        ("the primary token's source", old.auth.primary != new.auth.primary),
        // Certificates are renewed all the time; only the protocol on the open port can't change.
        ("http.tls", old.http.tls.is_some() != new.http.tls.is_some()),
        ("fleet.slots", old.fleet.slots != new.fleet.slots),
        ("log.journal_socket", old.log.journal_socket != new.log.journal_socket),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
