//! Whose secret is this? The look-up that every request pays for.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound::{Excluded, Included, Unbounded},
};

use jiff::Timestamp;

use super::{
    Digest, TokenName,
    token::{End, Generation},
};

/// Most digests of former secrets that are remembered; the oldest go first.
const MAX_RETIRED: usize = 4096;

/// All secrets that are known, by digest, and the newest of those that were.
///
/// `T` is what the application keeps with each secret. The cost of a look-up does not depend on how
/// many there are, and its time does not depend on how close a guess is: the map is asked for a
/// digest's first eight bytes, and whatever it answers, one comparison of whole digests in constant
/// time decides.
///
/// Whether a secret has ended is judged at each look-up by the time that comes in, and by nothing
/// else: a clock that is set back lengthens a life by the jump, one that is set forth and mended
/// ends nothing for good.
#[derive(Debug)]
pub struct Registry<T> {
    known: HashMap<u64, T>,
    /// The keys of each token's secrets, newest first.
    names: BTreeMap<TokenName, Keys>,
    ends: BTreeSet<(Timestamp, u64)>,
    retired: HashMap<u64, (Digest, TokenName)>,
    retired_order: VecDeque<u64>,
}

/// Nearly all tokens have one secret: it needs no memory of its own.
#[derive(Debug)]
enum Keys {
    One(u64),
    More(Box<[u64]>),
}

impl Keys {
    fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::More(keys) => keys,
        }
    }
}

/// What the registry knows of a presented secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// In force.
    Valid(T),
    /// Known, but it has ended.
    Ended(T, End),
    /// In force once; replaced or revoked since. With the name that it had.
    Retired(TokenName),
    /// Never seen.
    Unknown,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            names: BTreeMap::new(),
            ends: BTreeSet::new(),
            retired: HashMap::new(),
            retired_order: VecDeque::new(),
        }
    }
}

impl<T: Borrow<Generation> + Clone> Registry<T> {
    /// Makes these, newest first, the secrets of a token, and retires those that it had besides: they
    /// are returned. No secrets are no token. All of it happens at once for everyone who looks up.
    pub fn set(&mut self, name: &TokenName, secrets: Vec<T>) -> Vec<T> {
        let former = self.names.remove(name);
        let former = former.iter().flat_map(Keys::as_slice).filter_map(|key| self.forget(*key));
        let former: Vec<_> = former.collect();
        let keys: Vec<_> = secrets.iter().map(key).collect();
        match keys.as_slice() {
            [] => {}
            [one] => _ = self.names.insert(name.clone(), Keys::One(*one)),
            more => _ = self.names.insert(name.clone(), Keys::More(more.into())),
        }
        for secret in secrets {
            let generation: &Generation = secret.borrow();
            let key = generation.digest.prefix();
            self.ends.extend(generation.end().map(|(at, _)| (at, key)));
            self.retired.remove(&key);
            self.known.insert(key, secret);
        }
        let gone = former.into_iter().filter(|secret| !keys.contains(&key(secret)));
        let gone: Vec<_> = gone.collect();
        gone.iter().for_each(|secret| self.retire(secret.borrow().digest, name));
        gone
    }

    /// The secrets of this token, newest first.
    pub fn named(&self, name: &TokenName) -> impl Iterator<Item = &T> {
        let keys = self.names.get(name).map(Keys::as_slice).unwrap_or_default();
        keys.iter().filter_map(|key| self.known.get(key))
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &TokenName> {
        self.names.keys()
    }

    /// All secrets, sorted by name, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let keys = self.names.values().flat_map(Keys::as_slice);
        keys.filter_map(|key| self.known.get(key))
    }

    /// Judges a presented secret by its digest, at this moment.
    pub fn look_up(&self, presented: &Digest, now: Timestamp) -> Verdict<T> {
        let found = self.known.get(&presented.prefix());
        let expected = found.map_or(Digest::NONE, |secret| secret.borrow().digest);
        match found {
            Some(secret) if expected == *presented => match secret.borrow().over(now) {
                None => Verdict::Valid(secret.clone()),
                Some(why) => Verdict::Ended(secret.clone(), why),
            },
            _ => self.was_ours(presented).map_or(Verdict::Unknown, Verdict::Retired),
        }
    }

    /// The secrets that ended after the one moment, and not after the other.
    pub fn ended_between(&self, after: Timestamp, until: Timestamp) -> Vec<T> {
        if until <= after {
            return Vec::new();
        }
        // The greatest key of the former moment, so that all of its own are left out.
        let span = (Excluded((after, u64::MAX)), Included((until, u64::MAX)));
        self.ends.range(span).filter_map(|(_, key)| self.known.get(key)).cloned().collect()
    }

    /// The next moment after this one at which a secret ends.
    pub fn next_end(&self, after: Timestamp) -> Option<Timestamp> {
        self.ends.range((Excluded((after, u64::MAX)), Unbounded)).next().map(|(at, _)| *at)
    }

    fn was_ours(&self, presented: &Digest) -> Option<TokenName> {
        let (former, name) = self.retired.get(&presented.prefix())?;
        (former == presented).then(|| name.clone())
    }

    fn forget(&mut self, key: u64) -> Option<T> {
        let secret = self.known.remove(&key)?;
        if let Some((at, _)) = secret.borrow().end() {
            self.ends.remove(&(at, key));
        }
        Some(secret)
    }

    fn retire(&mut self, digest: Digest, name: &TokenName) {
        if self.retired_order.len() == MAX_RETIRED
            && let Some(oldest) = self.retired_order.pop_front()
        {
            self.retired.remove(&oldest);
        }
        self.retired.insert(digest.prefix(), (digest, name.clone()));
        self.retired_order.push_back(digest.prefix());
    }
}

fn key<T: Borrow<Generation>>(secret: &T) -> u64 {
    secret.borrow().digest.prefix()
}

#[cfg(test)]
mod tests;
