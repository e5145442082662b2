//! Whose secret is this? The look-up that every request pays for.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
};

use super::{Digest, Token};

/// Most digests of former secrets that are remembered; the oldest go first.
const MAX_RETIRED: usize = 1024;

/// All secrets that are in force, by digest, and the newest of those that no longer are.
///
/// `T` is what the application keeps with each token. The cost of a look-up does not depend on how
/// many there are, and its time does not depend on how close a guess is: the map is asked for a
/// digest's first eight bytes, and whatever it answers, one comparison of whole digests in constant
/// time decides.
#[derive(Debug)]
pub struct Registry<T> {
    live: HashMap<u64, T>,
    retired: HashMap<u64, Digest>,
    retired_order: VecDeque<u64>,
}

/// What the registry knows of a presented secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// In force.
    Valid(T),
    /// In force once; rotated or revoked since.
    Retired,
    /// Never seen.
    Unknown,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { live: HashMap::new(), retired: HashMap::new(), retired_order: VecDeque::new() }
    }
}

impl<T: Borrow<Token> + Clone> Registry<T> {
    /// Puts a token in force; if one with the same name was, retires and returns that one. Both
    /// happen at once for everyone who looks up.
    pub fn publish(&mut self, entry: T) -> Option<T> {
        let token: &Token = entry.borrow();
        let former = self.named(&token.name).cloned();
        if let Some(former) = &former {
            self.retire(former.borrow().digest);
        }
        self.live.insert(token.digest.prefix(), entry);
        former
    }

    /// The token of this name.
    pub fn named(&self, name: &str) -> Option<&T> {
        self.live.values().find(|entry| &*(*entry).borrow().name == name)
    }

    /// All tokens in force, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.live.values()
    }

    /// Judges a presented secret by its digest.
    pub fn look_up(&self, presented: &Digest) -> Verdict<T> {
        let found = self.live.get(&presented.prefix());
        let expected = found.map_or(Digest::NONE, |entry| entry.borrow().digest);
        match found {
            Some(entry) if expected == *presented => Verdict::Valid(entry.clone()),
            _ if self.was_ours(presented) => Verdict::Retired,
            _ => Verdict::Unknown,
        }
    }

    fn was_ours(&self, presented: &Digest) -> bool {
        let former = self.retired.get(&presented.prefix()).copied();
        former.unwrap_or(Digest::NONE) == *presented
    }

    fn retire(&mut self, digest: Digest) {
        self.live.remove(&digest.prefix());
        if self.retired_order.len() == MAX_RETIRED
            && let Some(oldest) = self.retired_order.pop_front()
        {
            self.retired.remove(&oldest);
        }
        self.retired.insert(digest.prefix(), digest);
        self.retired_order.push_back(digest.prefix());
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn primary(secret: u8) -> Token {
        Token::primary(Digest::of(&[secret]), Timestamp::UNIX_EPOCH)
    }

    fn is_valid(verdict: &Verdict<Token>) -> bool {
        matches!(verdict, Verdict::Valid(_))
    }

    #[test]
    fn publishing_a_new_secret_retires_the_old_one_of_the_same_name() {
        let mut registry = Registry::default();
        assert!(registry.publish(primary(1)).is_none());

        let former = registry.publish(primary(2)).unwrap();

        assert_eq!(former.digest, Digest::of(&[1]));
        assert!(matches!(registry.look_up(&Digest::of(&[1])), Verdict::Retired));
        assert!(is_valid(&registry.look_up(&Digest::of(&[2]))));
        assert!(matches!(registry.look_up(&Digest::of(&[3])), Verdict::Unknown));
        assert_eq!(registry.iter().count(), 1);
    }

    #[test]
    fn former_secrets_are_forgotten_oldest_first_but_never_valid_again() {
        let mut registry = Registry::default();
        for n in 0..=MAX_RETIRED + 1 {
            let digest = Digest::of(&n.to_be_bytes());
            registry.publish(Token::primary(digest, Timestamp::UNIX_EPOCH));
        }

        let oldest = registry.look_up(&Digest::of(&0_usize.to_be_bytes()));
        let second = registry.look_up(&Digest::of(&1_usize.to_be_bytes()));

        assert!(matches!(oldest, Verdict::Unknown));
        assert!(matches!(second, Verdict::Retired));
        assert_eq!(registry.retired.len(), MAX_RETIRED);
    }
}
