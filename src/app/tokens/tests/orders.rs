//! Changes, requests and the passing of time at once: every order of their steps.

use super::*;
use crate::app::sync::{
    AtomicBool as Flag,
    modelled::{block_on, explore, thread},
};

/// A daemon in a model, with a token `ci`, and the secret of that.
fn bench(expiry: Expiry) -> (Arc<Bench>, Secret) {
    let bench = Bench::new();
    let secret = block_on(bench.create("ci", expiry));
    (Arc::new(bench), secret)
}

impl Bench {
    /// What the file says of a secret that a daemon which starts now would know.
    fn kept(&self, secret: &Secret) -> Option<Use> {
        let grants = self.disk.grants.lock().unwrap();
        let mut kept = grants.iter().flatten().flat_map(|grant| &grant.secrets);
        kept.find(|(known, _)| known.digest == secret.digest()).map(|(_, used)| *used)
    }

    /// Has a thread ask with a secret. Once that is refused, the file no longer has it. A request
    /// that was let in waits until its secret is over: for ever, which loom tells, if it misses that.
    fn ask(
        self: &Arc<Self>,
        secret: &Secret,
        answered: &Arc<Flag>,
    ) -> loom::thread::JoinHandle<()> {
        let (bench, secret, answered) = (Arc::clone(self), secret.clone(), Arc::clone(answered));
        thread(move || {
            let was_answered = answered.load(SeqCst);
            match bench.admit(&secret) {
                Ok(_) if was_answered => panic!("let in after the answer"),
                Ok(issued) => block_on(issued.over().cancelled()),
                Err(_) => assert!(bench.kept(&secret).is_none(), "published, but not durable"),
            }
        })
    }

    /// Whether a secret counts, and not only so that everything with it ends at once.
    fn counts(&self, secret: &Secret) -> bool {
        let issued = self.admit(secret);
        issued.is_ok_and(|issued| {
            assert!(!issued.over().is_cancelled(), "it counts, and is over");
            true
        })
    }
}

#[test]
fn a_replaced_secret_is_refused_once_that_is_durable_and_all_in_flight_with_it_ends() {
    explore(Some(2), || {
        let (bench, old) = bench(Expiry::Never);
        let answered = Arc::new(Flag::new(false));
        let asks = [(); 2].map(|()| bench.ask(&old, &answered));

        let new = block_on(bench.rotate("ci", None)).unwrap();
        answered.store(true, SeqCst);

        for asks in asks {
            asks.join().unwrap();
        }
        assert!(bench.kept(&new).is_some() && bench.counts(&new) && !bench.counts(&old));
    });
}

#[test]
fn two_rotations_at_once_leave_one_secret_in_force_and_in_the_file() {
    explore(Some(2), || {
        let (bench, old) = bench(Expiry::Never);
        let answered = Arc::new(Flag::new(false));
        let asks = bench.ask(&old, &answered);
        let rotations = [(); 2].map(|()| {
            let (bench, answered) = (Arc::clone(&bench), Arc::clone(&answered));
            thread(move || {
                let new = block_on(bench.rotate("ci", None)).unwrap();
                answered.store(true, SeqCst);
                new
            })
        });

        let news = rotations.map(|rotation| rotation.join().unwrap());

        asks.join().unwrap();
        let valid = news.each_ref().map(|new| bench.counts(new));
        assert_eq!(valid, news.each_ref().map(|new| bench.kept(new).is_some()));
        assert_ne!(valid[0], valid[1]);
    });
}

#[test]
fn a_secret_that_counts_is_never_over_whatever_time_and_changes_do_at_once() {
    const LATER: i64 = START + 10;
    explore(None, || {
        let (bench, secret) = bench(Expiry::At(at(LATER)));
        // An operator has it last longer.
        for grant in bench.disk.grants.lock().unwrap().iter_mut().flatten() {
            grant.secrets[0].0.expires_at = None;
        }
        bench.pass(10);
        let tends = {
            let bench = Arc::clone(&bench);
            thread(move || bench.tokens.end_between(at(START), at(LATER)))
        };

        block_on(bench.tokens.reread()).unwrap().take_over(&OPERATOR);

        tends.join().unwrap();
        assert!(bench.counts(&secret));
    });
}

#[test]
fn a_secret_that_ends_while_it_is_replaced_counts_again_if_the_clock_is_set_back() {
    explore(None, || {
        let (bench, former) = bench(Expiry::At(at(START + 10)));
        let tends = {
            let bench = Arc::clone(&bench);
            thread(move || bench.tokens.end_between(at(START), at(START + 10)))
        };

        let wanted =
            Rotation { grace: Some(SignedDuration::from_secs(100)), expiry: Some(Expiry::Never) };
        let name = "ci".parse().unwrap();
        let newest = block_on(bench.tokens.rotate(name, wanted, OPERATOR)).unwrap().secret;

        tends.join().unwrap();
        assert!(bench.counts(&newest) && bench.counts(&former));
    });
}

#[test]
fn no_use_is_forgotten_that_happens_while_use_is_written_down() {
    explore(None, || {
        let (bench, secret) = bench(Expiry::Never);
        bench.admit(&secret).unwrap();
        let asks = {
            let (bench, secret) = (Arc::clone(&bench), secret.clone());
            thread(move || drop(bench.admit(&secret).unwrap()))
        };

        block_on(bench.tokens.write_down_use());

        asks.join().unwrap();
        // As at the daemon's end.
        block_on(bench.tokens.write_down_use());
        assert_eq!(bench.kept(&secret).unwrap().requests, 2);
    });
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}
