//! All kinds of events that are recorded, in one table: the journal's `MESSAGE_ID`s, the trail that
//! keeps them, and what they mean.

use crate::app::ports::event_store::Trail;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its word: `FLEET_EVENT` in the journal, `event` in `fleetctl events --json`.
    pub event: &'static str,
    /// Its `MESSAGE_ID`. Never changes: journal filters and the message catalog rely on it.
    pub message_id: &'static str,
    /// Where it is kept.
    pub trail: Trail,
    /// What has happened, in one sentence.
    pub what: &'static str,
}

macro_rules! kinds {
    ($($name:ident $event:literal $message_id:literal $trail:ident $what:literal)*) => {
        $(
            #[doc = $what]
            pub const $name: Kind = Kind {
                event: $event,
                message_id: $message_id,
                trail: Trail::$trail,
                what: $what,
            };
        )*

        /// Every kind. An id is never used again.
        pub const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    AUTH_FAILURE "auth_failure" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a01" Refusals
        "A request was refused with 401, or with 429 after too many wrong tokens."
    WOULD_REFUSE "would_refuse" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a02" Refusals
        "A request was passed that would be refused if authentication were on."
    REFUSALS_SUMMED_UP "refusals_summed_up" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a03" Refusals
        "More requests of one source, or of all, were refused than get entries of their own."
    REQUEST_REFUSED "request_refused" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a04" Refusals
        "A request was refused with 403 for its Host or Origin."
    TOKEN_CREATED "token_created" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a05" Audit
        "A token was made."
    TOKEN_ROTATED "token_rotated" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a06" Audit
        "A token got a new secret."
    TOKEN_FIRST_USED "token_first_used" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a07" Audit
        "A token's secret was used for the first time since the daemon has known it."
    TOKEN_SHOWN "token_shown" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a08" Audit
        "A token's secret was shown on the control socket."
    CONTROL_DENIED "control_denied" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a09" Refusals
        "A local user was refused on the control socket."
    AGENT_DELETED "agent_deleted" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0a" Audit
        "An agent was deleted with everything that was its."
    TOOL_CALLED "tool_called" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0b" Audit
        "A tool was called that changes something."
    AGENT_CHANGED "agent_changed" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0c" Fleet
        "An agent, or its newest task, is in another state than before."
    DAEMON_STARTED "daemon_started" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0d" Audit
        "The daemon serves from now on."
    DAEMON_STOPPED "daemon_stopped" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0e" Audit
        "The daemon was told to stop, and has. One that was killed leaves no such event."
    CONFIGURATION_RELOADED "configuration_reloaded" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a0f" Audit
        "Configuration and certificates were reread and taken over."
    RELOAD_REFUSED "reload_refused" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a10" Audit
        "Configuration or certificates could not be taken over; nothing has changed."
    AUTHENTICATION_ENABLED "authentication_enabled" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a11" Audit
        "A reload turned authentication on."
    EVENTS_LOST "events_lost" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a12" Audit
        "Events came faster than the disk took them, and some were not recorded."
    TOKEN_REVOKED "token_revoked" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a13" Audit
        "A token was revoked, with all its secrets."
    TOKEN_OVERLAP_ENDED "token_overlap_ended" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a14" Audit
        "Former secrets of a token were revoked before their overlap was over."
    TOKEN_ENDED "token_ended" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a15" Audit
        "A secret of a token has expired, or its overlap with its successor is over."
    CLOCK_SET "clock_set" "d2f6ea4b7e0c4b4f9a2f3c1f5b8e6a16" Audit
        "Somebody has set the machine's clock while the daemon ran."
}

/// The kind of this word.
pub fn of(event: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.event == event)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_and_message_ids_are_unique_and_well_formed() {
        let words: BTreeSet<_> = KINDS.iter().map(|kind| kind.event).collect();
        let ids: BTreeSet<_> = KINDS.iter().map(|kind| kind.message_id).collect();

        assert_eq!((words.len(), ids.len()), (KINDS.len(), KINDS.len()));
        for kind in KINDS {
            let is_id = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(is_id(kind.message_id) && kind.what.ends_with('.'), "{kind:?}");
        }
    }
}
