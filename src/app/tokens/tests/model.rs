//! Any sequence of changes, restarts and moves of the clock, against a model that is simple enough to
//! be believed: the same answer for every secret that was ever issued.

use proptest::prelude::*;

use super::*;

/// One thing that happens. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Event {
    Create { life: Option<i64> },
    Rotate { token: usize, grace: Option<i64> },
    Revoke { token: usize },
    EndOverlap { token: usize },
    Restart,
    Pass(i64),
    WriteDown,
}

/// What the model knows of a secret.
struct Known {
    secret: Secret,
    token: usize,
    /// Newest of its token.
    current: bool,
    expires: Option<i64>,
    until: Option<i64>,
    /// Revoked, or replaced: whether that is remembered.
    gone: Option<bool>,
}

#[derive(Default)]
struct Model {
    /// Names and lives; the first is the primary one. Those that were revoked stay in the list.
    tokens: Vec<(String, Option<i64>, bool)>,
    secrets: Vec<Known>,
}

impl Known {
    /// Of two ends, the earlier one; of two at once, the overlap's.
    fn over(&self, now: i64) -> Option<Refusal> {
        let until = self.until.map(|at| (at, Refusal::Revoked));
        let expires = self.expires.map(|at| (at, Refusal::Expired));
        let (at, why) = until.into_iter().chain(expires).min_by_key(|(at, _)| *at)?;
        (at <= now).then_some(why)
    }

    fn refusal(&self, now: i64) -> Option<Refusal> {
        match self.gone {
            Some(true) => Some(Refusal::Revoked),
            Some(false) => Some(Refusal::InvalidToken),
            None => self.over(now),
        }
    }
}

impl Model {
    fn of(&mut self, token: usize) -> impl Iterator<Item = &mut Known> {
        self.secrets.iter_mut().filter(move |known| known.token == token && known.gone.is_none())
    }

    fn rotate(&mut self, token: usize, grace: Option<i64>, now: i64, secret: Secret) {
        for known in self.of(token) {
            known.current = false;
            match grace {
                Some(grace) if known.over(now).is_none() => {
                    known.until = known.until.or(Some(now + grace));
                }
                _ => known.gone = Some(true),
            }
        }
        self.issue(token, now, secret);
    }

    fn issue(&mut self, token: usize, now: i64, secret: Secret) {
        let expires = self.tokens[token].1.map(|life| now + life);
        self.secrets.push(Known { secret, token, current: true, expires, until: None, gone: None });
    }

    fn overlaps(&self, token: usize, now: i64) -> usize {
        let counts = |known: &&Known| {
            known.token == token && known.gone.is_none() && known.over(now).is_none()
        };
        self.secrets.iter().filter(counts).count()
    }
}

fn event() -> impl Strategy<Value = Event> {
    let grace = || proptest::option::of(1..40_i64);
    let token = || 0..5_usize;
    prop_oneof![
        2 => grace().prop_map(|life| Event::Create { life }),
        6 => (token(), grace()).prop_map(|(token, grace)| Event::Rotate { token, grace }),
        1 => token().prop_map(|token| Event::Revoke { token }),
        1 => token().prop_map(|token| Event::EndOverlap { token }),
        2 => Just(Event::Restart),
        4 => (-20..40_i64).prop_map(Event::Pass),
        1 => prop_oneof![Just(-86_400_i64), Just(86_400)].prop_map(Event::Pass),
        1 => Just(Event::WriteDown),
    ]
}

async fn happen(bench: &mut Bench, model: &mut Model, event: Event) {
    let now = bench.clock.now().as_second();
    match event {
        Event::Create { life } => {
            let name = format!("t{}", model.tokens.len());
            let expiry =
                life.map_or(Expiry::Never, |life| Expiry::After(SignedDuration::from_secs(life)));
            let secret = bench.create(&name, expiry).await;
            model.tokens.push((name, life, true));
            model.issue(model.tokens.len() - 1, now, secret);
        }
        Event::Rotate { token, grace } => {
            let token = token % model.tokens.len();
            let (name, _, there) = model.tokens[token].clone();
            let rotated = bench.rotate(&name, grace).await;
            if !there {
                assert!(matches!(rotated, Err(TokenError::NotFound { .. })));
            } else if grace.is_some() && model.overlaps(token, now) > 8 {
                assert!(matches!(rotated, Err(TokenError::TooManyOverlaps(..))));
            } else {
                model.rotate(token, grace, now, rotated.unwrap());
            }
        }
        Event::Revoke { token } => {
            let token = token % model.tokens.len();
            let name = model.tokens[token].0.parse().unwrap();
            let revoked = bench.tokens.revoke(name, Revocation::Whole, OPERATOR).await;
            assert_eq!(revoked.is_ok(), token != 0 && model.tokens[token].2);
            if revoked.is_ok() {
                model.tokens[token].2 = false;
                model.of(token).for_each(|known| known.gone = Some(true));
            }
        }
        Event::EndOverlap { token } => {
            let token = token % model.tokens.len();
            let name = model.tokens[token].0.parse().unwrap();
            let revoked = bench.tokens.revoke(name, Revocation::Former, OPERATOR).await;
            assert_eq!(revoked.is_ok(), model.tokens[token].2);
            let former = model.of(token).filter(|known| !known.current);
            former.for_each(|known| known.gone = Some(true));
        }
        Event::Restart => {
            bench.restart();
            let gone = model.secrets.iter_mut().filter(|known| known.gone.is_some());
            gone.for_each(|known| known.gone = Some(false));
        }
        Event::Pass(seconds) => {
            let seen = bench.clock.now();
            bench.pass(seconds);
            bench.tokens.end_between(seen, bench.clock.now());
        }
        Event::WriteDown => bench.tokens.write_down_use().await,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_secret_ever_issued_gets_the_models_answer(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            let mut model = Model::default();
            model.tokens.push(("default".to_owned(), None, true));
            let primary = bench.primary();
            model.issue(0, START, primary);
            for event in events {
                let told = format!("{event:?}");
                happen(&mut bench, &mut model, event).await;
                let now = bench.clock.now().as_second();
                for (number, known) in model.secrets.iter().enumerate() {
                    let admitted = bench.admit(&known.secret);
                    let expected = known.refusal(now);
                    assert_eq!(admitted.as_ref().err(), expected.as_ref(), "{number} after {told}");
                    if let Ok(issued) = admitted {
                        assert!(!issued.over().is_cancelled(), "{number} after {told}");
                    }
                }
            }
        });
    }
}
