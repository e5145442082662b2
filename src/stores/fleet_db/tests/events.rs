//! What has happened: kept over restarts, found, and removed within limits of each trail.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    super::FleetDb,
    support::{at, home, wait},
};
use crate::app::ports::event_store::{
    Event, EventStore as _, Events, MAX_EXPIRED, Query, Recorded, Retention, Trail,
};

fn event(trail: Trail, second: i64, message: &str) -> Event {
    Event {
        time: Timestamp::from_second(second).unwrap(),
        event: "tested".to_owned(),
        trail,
        agent: None,
        token: None,
        message: message.to_owned(),
        fields: Vec::new(),
    }
}

fn record(db: &FleetDb, events: Vec<Event>) {
    wait(db.record(events)).unwrap();
}

fn query() -> Query {
    Query { limit: 1000, ..Query::default() }
}

fn audit() -> Query {
    Query { audit: true, ..query() }
}

fn find(db: &FleetDb, query: &Query) -> Events {
    wait(db.events(query.clone())).unwrap()
}

fn messages(db: &FleetDb, query: &Query) -> Vec<String> {
    find(db, query).events.into_iter().map(|recorded| recorded.event.message).collect()
}

/// Removes until nothing more goes, all the time that it takes having passed.
fn expire(db: &FleetDb, max_age: u64, max_bytes: u64, now: i64) -> u64 {
    expire_after(db, max_age, max_bytes, now, u64::MAX)
}

fn expire_after(db: &FleetDb, max_age: u64, max_bytes: u64, now: i64, passed: u64) -> u64 {
    let keep = Retention { max_age: Duration::from_secs(max_age), max_bytes };
    let now = Timestamp::from_second(now).unwrap();
    let mut passed = Duration::from_secs(passed);
    let mut expire = || wait(db.expire(keep, now, std::mem::take(&mut passed))).unwrap();
    std::iter::from_fn(|| Some(expire()).filter(|n| *n > 0)).sum()
}

#[test]
fn every_word_of_an_event_comes_back_after_a_restart() {
    let home = home();
    let strange = "a\0b'\"; DROP TABLE events; -- é 🦀\r\n".to_owned();
    let whole = Event {
        time: at(1_700_000_000_123_456),
        event: strange.clone(),
        trail: Trail::Audit,
        agent: Some(strange.clone()),
        token: Some(strange.clone()),
        message: strange.clone(),
        fields: vec![("a".to_owned(), strange.clone()), ("b".to_owned(), String::new())],
    };
    record(&FleetDb::open(home.path()).unwrap(), vec![whole.clone()]);

    let db = FleetDb::open(home.path()).unwrap();

    let found = find(&db, &audit());
    assert_eq!(found.events, [Recorded { id: 1, event: whole }]);
    assert_eq!((found.last, found.more), (1, false));
    assert_eq!(find(&db, &query()).events, []);
}

#[test]
fn pages_follow_each_other_without_gap_whatever_the_filter() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let all: Vec<_> = (0..60)
        .map(|n| {
            let mut event = event(Trail::ALL[n % 3], n as i64, &n.to_string());
            event.agent = (n % 2 == 0).then(|| "sony".to_owned());
            event.token = (n % 3 == 1).then(|| "ci".to_owned());
            event
        })
        .collect();
    record(&db, all.clone());

    let sony = Some("sony".to_owned());
    let ci = Some("ci".to_owned());
    for filter in [
        query(),
        audit(),
        Query { agent: sony.clone(), ..query() },
        Query { agent: sony.clone(), ..audit() },
        Query { token: ci.clone(), ..audit() },
        Query { agent: sony, token: ci, ..audit() },
    ] {
        let fits = |event: &&Event| {
            (event.trail != Trail::Fleet) == filter.audit
                && filter.agent.iter().all(|agent| event.agent.as_ref() == Some(agent))
                && filter.token.iter().all(|token| event.token.as_ref() == Some(token))
        };
        let expected: Vec<_> = all.iter().filter(fits).map(|e| e.message.clone()).collect();
        let mut paged = Vec::new();
        let mut page = Query { after: Some(0), limit: 7, ..filter.clone() };
        loop {
            let found = find(&db, &page);
            paged.extend(found.events.into_iter().map(|recorded| recorded.event.message));
            page.after = Some(found.last);
            if !found.more {
                break;
            }
        }

        assert_eq!(paged, expected, "{filter:?}");
        assert!(expected.len() >= 10, "{filter:?}");
        assert_eq!(page.after, Some(60));
        let newest = Query { limit: 4, ..filter };
        assert_eq!(messages(&db, &newest), expected[expected.len() - 4..]);
    }
}

#[test]
fn a_time_begins_with_the_first_event_that_is_not_older_though_the_clock_was_set_back() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let times = [100, 200, 300, 150, 400];
    record(&db, times.map(|time| event(Trail::Fleet, time, &time.to_string())).into());

    let since = |second| Query { since: Timestamp::from_second(second).ok(), ..query() };

    assert_eq!(messages(&db, &since(200)), ["200", "300", "150", "400"]);
    assert_eq!(messages(&db, &since(301)), ["400"]);
    assert_eq!(find(&db, &since(401)), Events { events: Vec::new(), last: 5, more: false });
}

#[test]
fn what_is_too_old_goes_and_its_id_is_not_used_again() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let old = i64::from(MAX_EXPIRED) * 2 + 10;
    record(&db, (0..old).map(|n| event(Trail::ALL[n as usize % 3], n, "old")).collect());

    assert_eq!(expire(&db, 100, u64::MAX, old + 100), old as u64);

    record(&db, vec![event(Trail::Fleet, old, "new")]);
    assert_eq!(find(&db, &query()).events[0].id, old + 1);
    assert_eq!(expire(&db, 100, u64::MAX, old), 0);
}

#[test]
fn a_flood_of_one_trail_pushes_nothing_out_of_the_others() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    record(&db, vec![event(Trail::Audit, 1, "token_rotated")]);
    record(&db, vec![event(Trail::Fleet, 1, "busy")]);
    for n in 0..20 {
        let long = "x".repeat(900);
        record(&db, (0..100).map(|m| event(Trail::Refusals, n * 100 + m, &long)).collect());
    }

    expire(&db, 1_000_000, 64 * 1024, 2);

    let left = find(&db, &audit()).events;
    assert_eq!(left[0].event.message, "token_rotated");
    assert!((50..=66).contains(&left.len()), "{} of about 1,000 bytes", left.len());
    assert_eq!(left.last().unwrap().event.time.as_second(), 1999);
    assert_eq!(messages(&db, &query()), ["busy"]);
}

#[test]
fn the_size_of_a_trail_is_right_after_everything_was_removed() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    record(&db, (0..700).map(|n| event(Trail::ALL[n % 3], n as i64, "some text")).collect());

    expire(&db, 500, u64::MAX, 1000);
    expire(&db, 1_000_000, 0, 1000);

    drop(db);
    let raw = rusqlite::Connection::open(home.path().join("fleet.db")).unwrap();
    let sum = "SELECT (SELECT count(*) FROM events), (SELECT sum(abs(bytes)) FROM trails)";
    let sum: (i64, i64) = raw.query_row(sum, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(sum, (0, 0));
}

#[test]
fn a_clock_that_was_set_forth_removes_nothing_at_once_and_over_restarts_neither() {
    const DAY: i64 = 86_400;
    const YEAR: i64 = 365 * DAY;
    const KEPT: u64 = 90 * DAY as u64;
    const NOW: i64 = 1_800_000_000;
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    record(&db, vec![event(Trail::Audit, NOW - 80 * DAY, "old"), event(Trail::Audit, NOW, "new")]);
    let expire = |db: &FleetDb, now, passed| expire_after(db, KEPT, u64::MAX, now, passed);
    assert_eq!(expire(&db, NOW, 0), 0);

    assert_eq!(expire(&db, NOW + YEAR, 60), 0);
    drop(db);
    let db = FleetDb::open(home.path()).unwrap();
    assert_eq!(expire(&db, NOW + YEAR, 0), 0, "a restart is no time that passed");
    assert_eq!(expire(&db, NOW + 60, 60), 0, "the clock was set right");

    assert_eq!(expire(&db, NOW + 9 * DAY, 9 * DAY as u64), 0);
    assert_eq!(expire(&db, NOW + 11 * DAY, 2 * DAY as u64), 1, "what is old goes");
    assert_eq!(messages(&db, &audit()), ["new"]);
    let hours = (0..).find(|_| expire(&db, NOW + 2 * YEAR, 3600) > 0).unwrap();
    assert!((75..85).contains(&hours), "79 days in {hours} hours");
}

#[test]
fn ages_keep_up_with_a_clock_that_goes_right() {
    const MINUTE: i64 = 60;
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    record(&db, vec![event(Trail::Fleet, 1_000, "old")]);
    expire_after(&db, 3_600, u64::MAX, 1_000, 0);

    let minutes = (1..=100)
        .find(|n| expire_after(&db, 3_600, u64::MAX, 1_000 + n * MINUTE, MINUTE as u64) > 0);

    assert_eq!(minutes, Some(61));
}
