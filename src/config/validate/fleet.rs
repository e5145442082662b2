//! How much the fleet may take.

use jiff::SignedDuration;

use super::{super::value, Reader};
use crate::{app::settings::FleetSettings, fleet::Limits};

impl Reader<'_> {
    pub(super) fn fleet(&mut self) -> FleetSettings {
        FleetSettings {
            slots: self.path("fleet.slots"),
            max_agents: self.get("fleet.max_agents", value::count),
            max_tasks: self.get("fleet.max_tasks", value::count),
            max_log_bytes: self.get("fleet.max_log", value::size) as u64,
            close_grace_secs: self.get("fleet.close_grace", value::seconds),
            limits: Limits {
                turn: self.limit("fleet.turn_timeout"),
                silence: self.limit("fleet.silence_timeout"),
                answer: self.limit("fleet.answer_timeout"),
                cancel: self.limit("fleet.cancel_timeout"),
                opening: self.limit("fleet.open_timeout"),
            },
        }
    }

    fn limit(&mut self, path: &str) -> SignedDuration {
        let duration = self.get(path, value::duration);
        SignedDuration::try_from(duration).expect("the table of keys allows days at most")
    }
}
