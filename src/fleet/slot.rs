//! A place for one agent on this machine.

use std::{cmp::Ordering, fmt};

/// Longest name of a slot, in bytes.
pub const MAX_SLOT_LEN: usize = 16;

/// The name of a slot, such as `07`: letters and digits of ASCII. Numbers come first, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot(String);

impl Slot {
    /// The slot of this name; `None` if it is no name for one.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty()
            && name.len() <= MAX_SLOT_LEN
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its number, if its name is one.
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |slot: &Self| (slot.number().is_none(), slot.number());
        key(self).cmp(&key(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_elsewhere_are_none() {
        for name in ["", "..", "a/b", "a:b", "a-b", "é", "12345678901234567"] {
            assert_eq!(Slot::new(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_come_first_in_their_order() {
        let mut slots = ["b", "10", "100", "9", "09", "a"].map(|name| Slot::new(name).unwrap());
        slots.sort();

        assert_eq!(slots.map(|slot| slot.0), ["09", "9", "10", "100", "a", "b"]);
    }
}
