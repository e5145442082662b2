use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::auth::Token;

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn secret(number: usize) -> Generation {
    Generation {
        token: Arc::new(Token::primary()),
        digest: Digest::of(&number.to_be_bytes()),
        created_at: at(0),
        expires_at: None,
        overlaps_until: None,
    }
}

fn ask(registry: &Registry<Generation>, number: usize, now: i64) -> Verdict<Generation> {
    registry.look_up(&Digest::of(&number.to_be_bytes()), at(now))
}

#[test]
fn a_new_secret_retires_those_that_are_not_kept() {
    let mut registry = Registry::default();
    assert!(registry.set(&name("a"), vec![secret(1)]).is_empty());
    assert!(registry.set(&name("b"), vec![secret(4)]).is_empty());

    let gone = registry.set(&name("a"), vec![secret(2)]);

    assert_eq!(gone, [secret(1)]);
    assert_eq!(ask(&registry, 1, 0), Verdict::Retired(name("a")));
    assert_eq!(ask(&registry, 2, 0), Verdict::Valid(secret(2)));
    assert_eq!(ask(&registry, 3, 0), Verdict::Unknown);
    assert_eq!(ask(&registry, 4, 0), Verdict::Valid(secret(4)));
    assert_eq!(registry.set(&name("a"), Vec::new()), [secret(2)]);
    assert_eq!(registry.names().collect::<Vec<_>>(), [&name("b")]);
}

#[test]
fn an_end_counts_from_its_moment_on_and_the_earlier_of_two_is_the_reason() {
    let mut registry = Registry::default();
    let expires = Generation { expires_at: Some(at(10)), ..secret(1) };
    let overlaps = Generation { overlaps_until: Some(at(5)), ..expires.clone() };
    registry.set(&name("a"), vec![expires.clone()]);

    assert_eq!(ask(&registry, 1, 9), Verdict::Valid(expires.clone()));
    assert_eq!(ask(&registry, 1, 10), Verdict::Ended(expires.clone(), End::Expired));
    assert_eq!(ask(&registry, 1, 9), Verdict::Valid(expires), "the clock was set back");
    assert_eq!(registry.next_end(at(0)), Some(at(10)));
    registry.set(&name("a"), vec![secret(2), overlaps.clone()]);
    assert_eq!(ask(&registry, 1, 5), Verdict::Ended(overlaps.clone(), End::Replaced));
    assert_eq!((registry.next_end(at(0)), registry.next_end(at(5))), (Some(at(5)), None));
    assert_eq!(registry.ended_between(at(4), at(5)), [overlaps]);
    assert_eq!(registry.ended_between(at(5), at(99)), []);
    assert_eq!(registry.ended_between(at(99), at(4)), []);
}

#[test]
fn former_secrets_are_forgotten_oldest_first_but_never_valid_again() {
    let mut registry = Registry::default();
    for number in 0..=MAX_RETIRED + 1 {
        registry.set(&name("a"), vec![secret(number)]);
    }

    assert_eq!(ask(&registry, 0, 0), Verdict::Unknown);
    assert_eq!(ask(&registry, 1, 0), Verdict::Retired(name("a")));
    assert_eq!(registry.retired.len(), MAX_RETIRED);
}

#[test]
fn a_secret_that_is_restored_is_valid_and_no_longer_remembered_as_gone() {
    let mut registry = Registry::default();
    registry.set(&name("a"), vec![secret(1)]);
    registry.set(&name("a"), Vec::new());

    registry.set(&name("a"), vec![secret(1)]);

    assert_eq!(ask(&registry, 1, 0), Verdict::Valid(secret(1)));
    let later = at(0) + SignedDuration::from_hours(1);
    assert_eq!(registry.next_end(later), None);
}
