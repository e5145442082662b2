mod crash;
mod events;
mod log;
mod opening;
mod plans;
mod sessions;
mod support;
mod trouble;

use jiff::Timestamp;

use self::support::{
    agent, append, at, commit, create, everything, home, joining, named, page, put, task, wait,
};
use super::FleetDb;
use crate::{
    app::ports::fleet_store::{Change, FleetStore as _, MAX_JOINED_BYTES, MAX_TRIMMED_ENTRIES},
    fleet::{
        AgentId, Entry, EntryKind, LogEntry, Question, Status, TaskId, TaskStatus, Usage,
        lifecycle::Standing,
        task::{Choice, ChoiceKind},
    },
};

#[test]
fn every_word_of_an_agent_a_task_and_an_entry_comes_back() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let strange = "a\0b'\"; DROP TABLE log; -- é 🦀\r\n".to_owned();
    for (id, status) in (1..).zip(Status::ALL) {
        let mut agent = agent(id);
        agent.status = status;
        agent.last_task = (id % 2 == 0).then(|| strange.clone());
        agent.role.clone_from(&strange);
        agent.project.clone_from(&strange);
        agent.created_at = at(-5);
        agent.updated_at = at(1_700_000_000_123_456);
        let session = (id % 3 == 0).then(|| strange.clone());
        let verdict = (id % 2 == 0).then(|| (TaskStatus::Failed, strange.clone()));
        let standing = Standing { since: at(9), verdict, restarts: id % 2 == 1 };
        let put = Change::PutAgent {
            agent: agent.clone(),
            session: session.clone(),
            standing: standing.clone(),
        };

        commit(&db, vec![put]).unwrap();

        let stored = db.load().unwrap().agents.pop().unwrap();
        assert_eq!((stored.agent, stored.session, stored.standing), (agent, session, standing));
    }
    for (id, status) in (1..).zip(TaskStatus::ALL) {
        let mut task = task(id, 1);
        task.status = status;
        task.description.clone_from(&strange);
        task.message = (id % 2 == 0).then(|| strange.clone());
        task.ended_at = (id % 2 == 0).then(|| at(7));
        if id % 2 == 0 {
            task.usage = Usage {
                context_tokens: Some(0),
                input_tokens: Some(u64::MAX),
                output_tokens: Some(1 << 63),
                cost: Some(0.1 + 0.2),
                currency: Some("USD".into()),
            };
            task.question = Some(question(&strange));
        }

        commit(&db, vec![Change::PutTask(task.clone())]).unwrap();

        assert_eq!(wait(db.history(AgentId(1), page(1, 1))).unwrap().items, [task.clone()]);
        assert_eq!(db.load().unwrap().agents[0].task, Some(task));
    }
    for (number, kind) in (1..).zip(EntryKind::ALL) {
        let task = (number % 2 == 0).then_some(TaskId(2));
        let entry = Entry { kind, content: strange.clone(), joins: false };
        let time = at(number);

        commit(&db, vec![Change::Append { agent: AgentId(1), task, time, entry }]).unwrap();

        let newest = wait(db.log(AgentId(1), page(1, 1))).unwrap().items.pop().unwrap();
        let content = strange.clone();
        assert_eq!(newest, LogEntry { id: newest.id, task, time, kind, content });
    }
}

fn question(text: &str) -> Question {
    let choice = |kind| Choice { id: text.to_owned(), name: text.to_owned(), kind };
    Question {
        id: text.to_owned(),
        text: text.to_owned(),
        choices: ChoiceKind::ALL.map(choice).to_vec(),
        asked_at: at(3),
    }
}

#[test]
fn times_are_kept_to_the_microsecond() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let mut agent = agent(1);
    agent.updated_at = Timestamp::from_nanosecond(1_999).unwrap();

    commit(&db, vec![put(agent)]).unwrap();

    assert_eq!(db.load().unwrap().agents[0].agent.updated_at, at(1));
}

#[test]
fn a_cost_is_kept_to_the_bit_and_none_if_it_is_no_number() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    let numbers = [0.1, f64::MIN_POSITIVE, f64::MAX, 5e-324, 3.0, f64::INFINITY, -0.07];
    for (id, cost) in (1..).zip(numbers.into_iter().chain([f64::NAN])) {
        let mut task = task(id, 1);
        task.usage.cost = Some(cost);

        commit(&db, vec![Change::PutTask(task)]).unwrap();

        let stored = wait(db.history(AgentId(1), page(1, 1))).unwrap().items.pop().unwrap();
        let expected = (!cost.is_nan()).then(|| cost.to_bits());
        assert_eq!(stored.usage.cost.map(f64::to_bits), expected, "{cost}");
    }
}

#[test]
fn a_restart_gives_back_the_same() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    for id in 1..=3 {
        create(&db, id);
        commit(&db, vec![Change::PutTask(task(id, id)), append(id, "hello")]).unwrap();
    }
    let before = everything(&db);
    drop(db);

    let db = FleetDb::open(home.path()).unwrap();

    assert_eq!(everything(&db), before);
}

#[test]
fn what_was_committed_but_not_waited_for_is_there_after_a_stop() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);

    for number in 0..1_000 {
        drop(db.commit(vec![append(1, &number.to_string())]));
    }
    drop(db);

    let db = FleetDb::open(home.path()).unwrap();
    assert_eq!(wait(db.log(AgentId(1), page(1, 1))).unwrap().total, 1_000);
}

#[test]
fn a_second_put_replaces_and_counts_nothing_twice() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    commit(&db, vec![Change::PutTask(task(1, 1)), append(1, "hello")]).unwrap();
    let mut renamed = agent(1);
    renamed.name = "other".parse().unwrap();
    let mut done = task(1, 1);
    done.status = TaskStatus::Done;

    commit(&db, vec![put(renamed.clone()), Change::PutTask(done.clone())]).unwrap();

    let stored = db.load().unwrap().agents.pop().unwrap();
    assert_eq!((stored.agent, stored.task, stored.log_bytes), (renamed, Some(done.clone()), 5));
    let history = wait(db.history(AgentId(1), page(1, 10))).unwrap();
    assert_eq!((history.items, history.total), (vec![done], 1));
    assert_eq!(wait(db.log(AgentId(1), page(1, 10))).unwrap().total, 1);
}

#[test]
fn a_commit_is_all_or_nothing() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    commit(&db, vec![append(1, "kept")]).unwrap();
    let before = everything(&db);

    let refused = commit(
        &db,
        vec![
            put(agent(2)),
            Change::PutTask(task(1, 1)),
            append(1, "not kept"),
            Change::Trim { agent: AgentId(1), max_bytes: 0 },
            Change::RemoveAgent(AgentId(1)),
            append(99, "nobody's"),
        ],
    );

    assert_eq!(refused.unwrap_err().to_string(), "the fleet has no agent-99");
    assert_eq!(everything(&db), before);
    // The ids of what was not made were not used.
    commit(&db, vec![put(agent(2)), Change::PutTask(task(1, 2))]).unwrap();
}

#[test]
fn what_contradicts_the_fleet_is_refused_with_words() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    create(&db, 2);
    commit(&db, vec![Change::PutTask(task(5, 1))]).unwrap();
    let mut namesake = agent(3);
    namesake.name = agent(1).name;
    let renamed = named(2, "a1");
    for (change, words) in [
        (put(namesake), "another agent is named `a1`"),
        (put(renamed), "another agent is named `a1`"),
        (put(agent(0)), "the id of agent-0 was used before"),
        (Change::PutTask(task(4, 1)), "the id of task 4 was used before"),
        (Change::PutTask(task(5, 2)), "the id of task 5 was used before"),
        (Change::PutTask(task(6, 9)), "the fleet has no agent-9"),
        (append(9, "x"), "the fleet has no agent-9"),
        (Change::Trim { agent: AgentId(9), max_bytes: 0 }, "the fleet has no agent-9"),
    ] {
        let error = commit(&db, vec![change]).unwrap_err();

        assert_eq!(error.to_string(), words);
        assert!(!error.help.is_empty());
    }
}

#[test]
fn a_removed_agent_leaves_nothing_and_its_ids_are_not_used_again() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    for id in 1..=2 {
        create(&db, id);
        commit(&db, vec![Change::PutTask(task(id, id)), append(id, "hello")]).unwrap();
    }

    commit(&db, vec![Change::RemoveAgent(AgentId(2))]).unwrap();
    commit(&db, vec![Change::RemoveAgent(AgentId(2))]).unwrap();
    drop(db);

    let db = FleetDb::open(home.path()).unwrap();
    let fleet = db.load().unwrap();
    assert_eq!(fleet.agents.len(), 1);
    assert_eq!((fleet.next_agent, fleet.next_task), (AgentId(3), TaskId(3)));
    assert_eq!(wait(db.history(AgentId(2), page(1, 9))).unwrap().items, []);
    assert_eq!(wait(db.log(AgentId(2), page(1, 9))).unwrap().total, 0);
    assert!(commit(&db, vec![put(agent(2))]).is_err());
    commit(&db, vec![append(1, "next")]).unwrap();
    let next = wait(db.log(AgentId(1), page(1, 1))).unwrap().items[0].id;
    assert_eq!(next, 3, "the removed agent's entry had 2");
    // Its name is free.
    commit(&db, vec![put(named(3, "a2"))]).unwrap();
}

#[test]
fn pieces_join_the_newest_entry_of_their_kind_and_task() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    create(&db, 2);
    let piece = |agent, task: Option<i64>, kind, content: &str, time| Change::Append {
        agent: AgentId(agent),
        task: task.map(TaskId),
        time: at(time),
        entry: Entry { kind, content: content.into(), joins: true },
    };
    use EntryKind::{Message, Thought};

    commit(
        &db,
        vec![
            piece(1, Some(1), Message, "Hel", 1),
            piece(2, Some(1), Message, "another's", 2),
            piece(1, Some(1), Message, "lo", 3),
            piece(1, Some(1), Thought, "hm", 4),
            piece(1, Some(1), Message, "again", 5),
            piece(1, Some(2), Message, "next task", 6),
            piece(1, None, Message, "no task", 7),
        ],
    )
    .unwrap();
    commit(&db, vec![piece(1, None, Message, "\0 at all", 8), append(1, "whole")]).unwrap();

    let mut log = wait(db.log_after(AgentId(1), 0, 100)).unwrap();
    assert_eq!(log[0].time, at(1), "an entry's time is when it began");
    let texts: Vec<String> = log.drain(..).map(|entry| entry.content).collect();
    assert_eq!(texts, ["Hello", "hm", "again", "next task", "no task\0 at all", "whole"]);
    let bytes = texts.iter().map(String::len).sum::<usize>() as u64;
    assert_eq!(db.load().unwrap().agents[0].log_bytes, bytes);
    assert_eq!(wait(db.log(AgentId(1), page(1, 1))).unwrap().total, 6);
}

#[test]
fn joined_entries_end_at_the_bound() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    let bound = usize::try_from(MAX_JOINED_BYTES).unwrap();
    let huge = "é".repeat(bound);

    commit(
        &db,
        vec![
            joining(1, &"x".repeat(bound - 2)),
            joining(1, "é"),
            joining(1, "y"),
            joining(1, &huge),
            joining(1, "z"),
        ],
    )
    .unwrap();

    let log = wait(db.log_after(AgentId(1), 0, 100)).unwrap();
    let lengths: Vec<usize> = log.iter().map(|entry| entry.content.len()).collect();
    assert_eq!(lengths, [bound, 1, 2 * bound, 1]);
}

#[test]
fn trimming_removes_the_oldest_until_the_rest_fits() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    create(&db, 2);
    commit(&db, vec![append(2, "another's")]).unwrap();
    commit(&db, (0..10).map(|n| append(1, &format!("entry {n:04}"))).collect()).unwrap();
    let trim =
        |max_bytes| commit(&db, vec![Change::Trim { agent: AgentId(1), max_bytes }]).unwrap();
    let rest = || {
        let log = wait(db.log(AgentId(1), page(1, 100))).unwrap();
        assert_eq!(log.items.len() as u64, log.total);
        (log.total, db.load().unwrap().agents[0].log_bytes)
    };

    for (max_bytes, expected) in
        [(u64::MAX, (10, 100)), (100, (10, 100)), (99, (9, 90)), (35, (3, 30)), (0, (0, 0))]
    {
        trim(max_bytes);
        assert_eq!(rest(), expected, "{max_bytes}");
    }

    commit(&db, vec![append(1, "next")]).unwrap();
    let next = wait(db.log_after(AgentId(1), 11, 9)).unwrap();
    assert_eq!(next.len(), 1, "whoever has read up to a trimmed entry goes on from there");
    assert_eq!(wait(db.log(AgentId(2), page(1, 9))).unwrap().total, 1);
}

#[test]
fn one_trim_does_bounded_work_and_the_next_goes_on() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    let bound = u64::from(MAX_TRIMMED_ENTRIES);
    commit(&db, (0..bound + 10).map(|_| append(1, "x")).collect()).unwrap();

    for rest in [10, 0, 0] {
        commit(&db, vec![Change::Trim { agent: AgentId(1), max_bytes: 0 }]).unwrap();

        assert_eq!(wait(db.log(AgentId(1), page(1, 1))).unwrap().total, rest);
    }
}

#[test]
fn a_task_and_what_was_said_last_in_it_are_found_by_its_id_until_its_agent_goes() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let said = |task: i64, kind, content: &str| Change::Append {
        agent: AgentId(1),
        task: Some(TaskId(task)),
        time: at(1),
        entry: Entry { kind, content: content.to_owned(), joins: false },
    };
    create(&db, 1);
    commit(&db, (1..=3).map(|id| Change::PutTask(task(id, 1))).collect()).unwrap();
    let messages = [(1, "first"), (1, "last"), (2, "later")];
    let messages = messages.map(|(id, text)| said(id, EntryKind::Message, text));
    commit(&db, messages.to_vec()).unwrap();
    // However much else comes after it.
    commit(&db, (0..200).map(|_| said(1, EntryKind::ToolCall, "x")).collect()).unwrap();

    let last = |id| wait(db.last_message(TaskId(id))).unwrap();
    assert_eq!(wait(db.task(TaskId(2))).unwrap(), Some(task(2, 1)));
    assert_eq!(wait(db.task(TaskId(4))).unwrap(), None);
    assert_eq!([last(1).as_deref(), last(2).as_deref()], [Some("last"), Some("later")]);
    assert_eq!([last(3), last(4)], [None, None]);
    commit(&db, vec![Change::RemoveAgent(AgentId(1))]).unwrap();
    assert_eq!((wait(db.task(TaskId(2))).unwrap(), last(1)), (None, None));
}

#[test]
fn pages_are_newest_first_and_end_where_the_list_does() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    create(&db, 1);
    create(&db, 2);
    commit(&db, (1..=7).map(|id| Change::PutTask(task(id, 1 + id % 2))).collect()).unwrap();
    commit(&db, (1..=7).map(|id| append(1 + id % 2, "x")).collect()).unwrap();
    // Odd ones are agent 2's: 7, 5, 3, 1.
    let cases: [(u32, u32, &[i64]); 6] = [
        (1, 3, &[7, 5, 3]),
        (2, 3, &[1]),
        (3, 3, &[]),
        (1, 100, &[7, 5, 3, 1]),
        (0, 2, &[7, 5]),
        (u32::MAX, u32::MAX, &[]),
    ];
    for (number, size, expected) in cases {
        let tasks = wait(db.history(AgentId(2), page(number, size))).unwrap();
        let log = wait(db.log(AgentId(2), page(number, size))).unwrap();

        let ids: Vec<i64> = tasks.items.iter().map(|task| task.id.0).collect();
        assert_eq!((ids.as_slice(), tasks.total), (expected, 4), "page {number} of {size}");
        let ids: Vec<i64> = log.items.iter().map(|entry| entry.id).collect();
        assert_eq!((ids.as_slice(), log.total), (expected, 4), "page {number} of {size}");
    }
    let after = wait(db.log_after(AgentId(2), 3, 1)).unwrap();
    assert_eq!(after.iter().map(|entry| entry.id).collect::<Vec<_>>(), [5]);
    assert_eq!(wait(db.log_after(AgentId(2), 3, usize::MAX)).unwrap().len(), 2);
    assert_eq!(wait(db.log_after(AgentId(2), 7, 9)).unwrap(), []);
}
