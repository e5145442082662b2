//! Tokens with stores in memory and a clock that a test sets.

mod model;
mod orders;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
};

use jiff::SignedDuration;

use super::*;
use crate::{
    app::ports::{FileState, Grant, PrimaryToken, StoreError},
    auth::{Digest, Networks, Principal, Projects, Refusal, Scope, Scopes, Secret, Token},
};

const OPERATOR: Principal = Principal::Local { uid: 0 };
const START: i64 = 1_000_000;

/// Seconds since 1970.
#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(SeqCst)).unwrap()
    }
}

/// What a disk would hold.
#[derive(Default)]
struct Disk {
    primary: Mutex<Option<PrimaryToken>>,
    grants: Mutex<Option<Vec<Grant>>>,
    refuses_primary: AtomicBool,
    refuses_grants: AtomicBool,
}

fn full() -> StoreError {
    StoreError { what: "full".to_owned(), help: "make room".to_owned(), source: None }
}

impl TokenStore for Disk {
    fn path(&self) -> &Path {
        Path::new("/auth_token")
    }

    fn load(&self) -> Result<Option<PrimaryToken>, StoreError> {
        Ok(self.primary.lock().unwrap().clone())
    }

    fn create(&self, token: &PrimaryToken) -> Result<(), StoreError> {
        self.replace(token)
    }

    fn replace(&self, token: &PrimaryToken) -> Result<(), StoreError> {
        if self.refuses_primary.load(SeqCst) {
            return Err(full());
        }
        *self.primary.lock().unwrap() = Some(token.clone());
        Ok(())
    }

    fn state(&self, _: &Digest) -> FileState {
        FileState::Current
    }
}

impl GrantStore for Disk {
    fn path(&self) -> &Path {
        Path::new("/tokens.json")
    }

    fn load(&self) -> Result<Option<Vec<Grant>>, StoreError> {
        Ok(self.grants.lock().unwrap().clone())
    }

    fn save(&self, grants: &[Grant]) -> Result<(), StoreError> {
        if self.refuses_grants.load(SeqCst) {
            return Err(full());
        }
        *self.grants.lock().unwrap() = Some(grants.to_vec());
        Ok(())
    }

    fn state(&self) -> FileState {
        FileState::Current
    }
}

struct Bench {
    disk: Arc<Disk>,
    clock: Arc<SetClock>,
    tokens: Arc<Tokens>,
}

impl Bench {
    fn new() -> Self {
        let disk = Arc::<Disk>::default();
        let clock = Arc::new(SetClock(START.into()));
        let tokens = start(&disk, &clock);
        Self { disk, clock, tokens }
    }

    fn restart(&mut self) {
        self.tokens = start(&self.disk, &self.clock);
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, SeqCst);
    }

    async fn create(&self, name: &str, expiry: Expiry) -> Secret {
        self.tokens.create(wanted(name, expiry), OPERATOR).await.unwrap().secret
    }

    async fn rotate(&self, name: &str, grace: Option<i64>) -> Result<Secret, TokenError> {
        let wanted = Rotation { grace: grace.map(SignedDuration::from_secs), expiry: None };
        let rotated = self.tokens.rotate(name.parse().unwrap(), wanted, OPERATOR).await;
        rotated.map(|new| new.secret)
    }

    fn admit(&self, secret: &Secret) -> Result<Arc<Issued>, Refusal> {
        self.admit_from(secret, "127.0.0.1:1")
    }

    fn admit_from(&self, secret: &Secret, client: &str) -> Result<Arc<Issued>, Refusal> {
        let header = format!("Bearer {}", secret.expose());
        let client: SocketAddr = client.parse().unwrap();
        let judged = self.tokens.authenticate(std::iter::once(header.as_bytes()), client);
        judged.map_err(|denied| denied.refusal)
    }

    fn refusal(&self, secret: &Secret) -> Option<Refusal> {
        self.admit(secret).err()
    }

    fn primary(&self) -> Secret {
        self.disk.primary.lock().unwrap().clone().unwrap().secret
    }
}

fn start(disk: &Arc<Disk>, clock: &Arc<SetClock>) -> Arc<Tokens> {
    let stores = Stores {
        primary: Arc::clone(disk) as _,
        source: PrimarySource::File,
        grants: Arc::clone(disk) as _,
    };
    let tokens = Arc::new(Tokens::new(stores, Arc::clone(clock) as _));
    tokens.load_or_create().unwrap();
    tokens
}

fn wanted(name: &str, expiry: Expiry) -> NewToken {
    NewToken {
        name: name.parse().unwrap(),
        scopes: Scopes::from_iter([Scope::Read]),
        projects: Projects::All,
        networks: Networks::All,
        expiry,
    }
}

#[tokio::test]
async fn with_grace_both_secrets_work_until_the_deadline_also_over_a_restart() {
    let mut bench = Bench::new();
    let named = bench.create("ci", Expiry::Never).await;
    let primary = bench.primary();

    let news = [("ci", named), ("default", primary)].map(|(name, old)| (name, old));
    for (name, old) in news {
        let new = bench.rotate(name, Some(10)).await.unwrap();
        for _ in 0..2 {
            assert!(bench.admit(&old).is_ok() && bench.admit(&new).is_ok(), "{name}");
            bench.restart();
        }

        bench.pass(10);

        assert_eq!(bench.refusal(&old), Some(Refusal::Revoked), "{name}");
        assert!(bench.admit(&new).is_ok(), "{name}");
        bench.restart();
        assert_eq!(bench.refusal(&old), Some(Refusal::Revoked), "{name}");
    }
}

#[tokio::test]
async fn without_grace_every_former_secret_ends_with_what_is_in_flight() {
    let bench = Bench::new();
    for (name, first) in
        [("ci", bench.create("ci", Expiry::Never).await), ("default", bench.primary())]
    {
        let second = bench.rotate(name, Some(100)).await.unwrap();
        let in_flight = [&first, &second].map(|secret| bench.admit(secret).unwrap());
        assert!(!in_flight.iter().any(|issued| issued.over().is_cancelled()), "{name}");

        let third = bench.rotate(name, None).await.unwrap();

        assert!(in_flight.iter().all(|issued| issued.over().is_cancelled()), "{name}");
        assert_eq!(bench.refusal(&first), Some(Refusal::Revoked), "{name}");
        assert_eq!(bench.refusal(&second), Some(Refusal::Revoked), "{name}");
        assert!(bench.admit(&third).is_ok(), "{name}");
    }
}

#[tokio::test]
async fn an_overlap_can_be_ended_before_its_time_and_only_the_overlap() {
    let bench = Bench::new();
    let old = bench.create("ci", Expiry::Never).await;
    let new = bench.rotate("ci", Some(100)).await.unwrap();
    let in_flight = bench.admit(&new).unwrap();
    let revoke = || bench.tokens.revoke("ci".parse().unwrap(), Revocation::Former, OPERATOR);

    assert_eq!(revoke().await.unwrap(), 1);

    assert_eq!(bench.refusal(&old), Some(Refusal::Revoked));
    assert!(bench.admit(&new).is_ok() && !in_flight.over().is_cancelled());
    assert_eq!(revoke().await.unwrap(), 0);
}

#[tokio::test]
async fn an_expired_secret_ends_what_is_in_flight_and_counts_again_if_the_clock_is_set_back() {
    let bench = Bench::new();
    let expiry = Expiry::After(SignedDuration::from_secs(60));
    let secret = bench.create("ci", expiry).await;
    let in_flight = bench.admit(&secret).unwrap();
    let before = bench.clock.now();

    bench.pass(60);
    bench.tokens.end_between(before, bench.clock.now());

    assert_eq!(bench.refusal(&secret), Some(Refusal::Expired));
    assert!(in_flight.over().is_cancelled());
    assert_eq!(bench.tokens.ended_meanwhile(&in_flight).refusal, Refusal::Expired);
    bench.pass(-60);
    let again = bench.admit(&secret).unwrap();
    assert!(!again.over().is_cancelled(), "a life is longer by the jump, and by nothing else");
    assert_eq!(again.used().requests, 2, "what was counted is not lost");
}

#[tokio::test]
async fn a_rotation_renews_a_life_and_keeps_a_date() {
    let bench = Bench::new();
    let date = Timestamp::from_second(START + 90).unwrap();
    bench.create("span", Expiry::After(SignedDuration::from_secs(60))).await;
    bench.create("date", Expiry::At(date)).await;
    bench.pass(30);

    let span = bench.rotate("span", None).await.unwrap();
    let date = bench.rotate("date", None).await.unwrap();

    bench.pass(59);
    assert!(bench.admit(&span).is_ok() && bench.admit(&date).is_ok());
    bench.pass(1);
    assert_eq!([&span, &date].map(|secret| bench.refusal(secret)), [Some(Refusal::Expired); 2]);
    bench.rotate("span", None).await.unwrap();
    let over = bench.rotate("date", None).await.unwrap_err();
    assert!(over.to_string().ends_with("expires in the future"), "{over}");
}

#[tokio::test]
async fn what_the_disk_refuses_has_not_happened() {
    let mut bench = Bench::new();
    let secret = bench.create("ci", Expiry::Never).await;
    let primary = bench.primary();
    let kept = bench.disk.grants.lock().unwrap().clone();
    bench.disk.refuses_grants.store(true, SeqCst);
    let name = || "ci".parse::<TokenName>().unwrap();

    let create = bench.tokens.create(wanted("new", Expiry::Never), OPERATOR).await.unwrap_err();
    let rotate = bench.rotate("ci", None).await.unwrap_err();
    let grace = bench.rotate("default", Some(9)).await.unwrap_err();
    let revoke = bench.tokens.revoke(name(), Revocation::Whole, OPERATOR).await.unwrap_err();

    for error in [create, rotate, grace, revoke] {
        assert!(matches!(error, TokenError::NotPersisted { .. }), "{error}");
    }
    for _ in 0..2 {
        assert!(bench.admit(&secret).is_ok() && bench.admit(&primary).is_ok());
        assert_eq!(bench.tokens.all().len(), 2);
        bench.restart();
    }
    assert_eq!(*bench.disk.grants.lock().unwrap(), kept);
}

#[tokio::test]
async fn a_primary_secret_that_can_not_be_written_leaves_no_end_for_the_present_one() {
    let mut bench = Bench::new();
    let primary = bench.primary();
    bench.disk.refuses_primary.store(true, SeqCst);

    bench.rotate("default", Some(10)).await.unwrap_err();

    bench.pass(10);
    for _ in 0..2 {
        assert!(bench.admit(&primary).is_ok());
        bench.restart();
    }
    let kept = bench.disk.grants.lock().unwrap().clone().unwrap();
    assert_eq!(kept[0].secrets[0].0.overlaps_until, None);
}

#[tokio::test]
async fn a_present_primary_secret_counts_whatever_the_other_file_says_of_it() {
    let mut bench = Bench::new();
    let primary = bench.primary();
    let token = Arc::new(Token::primary());
    let overlaps_until = Some(bench.clock.now());
    let noted = |digest, overlaps_until| {
        let created_at = bench.clock.now();
        let token = Arc::clone(&token);
        let secret = Generation { token, digest, created_at, expires_at: None, overlaps_until };
        (secret, Use::default())
    };
    // As a daemon leaves them that is killed between its two files; and one without an end.
    let other = Secret::from_random([9; 32]);
    let secrets = vec![noted(primary.digest(), overlaps_until), noted(other.digest(), None)];
    *bench.disk.grants.lock().unwrap() = Some(vec![Grant { token, secrets }]);

    bench.restart();

    assert!(bench.admit(&primary).is_ok());
    assert_eq!(bench.refusal(&other), Some(Refusal::InvalidToken));
}

#[tokio::test]
async fn a_secret_of_two_tokens_stops_the_start() {
    let bench = Bench::new();
    let named = bench.create("ci", Expiry::Never).await;
    bench.disk.primary.lock().unwrap().as_mut().unwrap().secret = named;

    let tokens = Tokens::new(bench.tokens.stores.clone(), Arc::clone(&bench.clock) as _);

    let error = tokens.load_or_create().unwrap_err();
    assert_eq!(error.what, "the primary token is the secret of token `ci` too");
    assert!(tokens.all().is_empty());
}

#[tokio::test]
async fn deleting_the_primary_file_voids_overlaps_too() {
    let mut bench = Bench::new();
    let old = bench.primary();
    let new = bench.rotate("default", Some(1000)).await.unwrap();
    *bench.disk.primary.lock().unwrap() = None;

    for _ in 0..2 {
        bench.restart();

        assert_eq!(bench.refusal(&old), Some(Refusal::InvalidToken));
        assert_eq!(bench.refusal(&new), Some(Refusal::InvalidToken));
    }
}

#[tokio::test]
async fn a_token_is_refused_from_elsewhere_and_its_use_there_is_none() {
    let bench = Bench::new();
    let networks = Networks::Only(["10.0.0.0/8".parse().unwrap()].into());
    let bound = NewToken { networks, ..wanted("ci", Expiry::Never) };
    let secret = bench.tokens.create(bound, OPERATOR).await.unwrap().secret;

    assert_eq!(bench.admit_from(&secret, "10.1.2.3:4").unwrap().used().requests, 1);
    let refused = bench.admit_from(&secret, "11.1.2.3:4").unwrap_err();

    assert_eq!((refused, refused.code()), (Refusal::Elsewhere, "invalid_token"));
    let used = bench.admit_from(&secret, "[::ffff:10.9.9.9]:4").unwrap().used();
    assert_eq!((used.requests, used.from.unwrap().to_string()), (2, "10.9.9.9".to_owned()));
}

#[tokio::test]
async fn use_outlives_a_restart_once_it_is_written_down() {
    let mut bench = Bench::new();
    let secret = bench.create("ci", Expiry::Never).await;
    bench.admit(&secret).unwrap();
    bench.tokens.write_down_use().await;

    bench.restart();

    let status = bench.tokens.overview();
    let used = status.iter().find(|status| status.generation.digest == secret.digest()).unwrap();
    assert_eq!((used.used.requests, used.used.last), (1, Some(bench.clock.now())));
}

#[tokio::test]
async fn a_reread_revokes_what_is_gone_and_ends_what_now_allows_less() {
    let bench = Bench::new();
    let secrets = [
        bench.create("gone", Expiry::Never).await,
        bench.create("less", Expiry::Never).await,
        bench.create("same", Expiry::Never).await,
    ];
    let in_flight = secrets.each_ref().map(|secret| bench.admit(secret).unwrap());
    let mut grants = bench.disk.grants.lock().unwrap().clone().unwrap();
    grants.retain(|grant| grant.token.name.as_str() != "gone");
    for grant in grants.iter_mut().filter(|grant| grant.token.name.as_str() == "less") {
        let networks = Networks::Only(["10.0.0.0/8".parse().unwrap()].into());
        let token = Arc::new(Token { networks, ..Token::clone(&grant.token) });
        grant.secrets[0].0.token = Arc::clone(&token);
        grant.token = token;
    }
    *bench.disk.grants.lock().unwrap() = Some(grants);

    bench.tokens.reread().await.unwrap().take_over(&OPERATOR);

    let refusals = secrets.each_ref().map(|secret| bench.refusal(secret));
    assert_eq!(refusals, [Some(Refusal::Revoked), Some(Refusal::Elsewhere), None]);
    let over = in_flight.each_ref().map(|issued| issued.over().is_cancelled());
    assert_eq!(over, [true, true, false]);
    assert!(bench.admit(&bench.primary()).is_ok());
}

#[tokio::test]
async fn a_file_that_was_deleted_revokes_nothing() {
    let bench = Bench::new();
    let secret = bench.create("ci", Expiry::Never).await;
    *bench.disk.grants.lock().unwrap() = None;

    bench.tokens.reread().await.unwrap().take_over(&OPERATOR);

    assert!(bench.admit(&secret).is_ok());
}

#[tokio::test]
async fn former_secrets_that_count_are_bounded() {
    let bench = Bench::new();
    bench.create("ci", Expiry::Never).await;
    for _ in 0..8 {
        bench.rotate("ci", Some(100)).await.unwrap();
    }

    let ninth = bench.rotate("ci", Some(100)).await.unwrap_err();

    assert!(matches!(ninth, TokenError::TooManyOverlaps(_, 8)), "{ninth}");
    bench.rotate("ci", None).await.unwrap();
    bench.rotate("ci", Some(100)).await.unwrap();
}
