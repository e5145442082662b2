//! Places for agents that the machine has prepared: one agent each.

use crate::fleet::Slot;

/// The slots of this machine.
pub trait Slots: Send + Sync + 'static {
    /// All of them, in their order. They come and go while the daemon runs.
    ///
    /// # Errors
    /// When there are none, or they can't be listed: what is wrong and how to mend it.
    fn all(&self) -> Result<Vec<Slot>, String>;

    /// How the operator makes one more, as a command.
    fn one_more(&self, present: &[Slot]) -> String;
}
