//! The table of what happens when.

use jiff::SignedDuration;

use super::*;
use crate::fleet::{AgentId, TaskId, Usage, task::Choice};

const LIMITS: Limits = Limits {
    turn: SignedDuration::from_secs(100),
    silence: SignedDuration::from_secs(50),
    answer: SignedDuration::from_secs(30),
    cancel: SignedDuration::from_secs(10),
    opening: SignedDuration::from_secs(20),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn task(id: i64) -> Request {
    Request::Start(Box::new(Task {
        id: TaskId(id),
        agent: AgentId(1),
        description: format!("task {id}"),
        status: TaskStatus::Running,
        message: None,
        created_at: at(0),
        ended_at: None,
        usage: Usage::default(),
        question: None,
    }))
}

fn life() -> Life {
    Life::new(Agent {
        slot: None,
        name: "sony".parse().unwrap(),
        id: AgentId(1),
        status: Status::Pending,
        role: "demo".to_owned(),
        project: "scratch".to_owned(),
        last_task: None,
        created_at: at(0),
        updated_at: at(0),
    })
}

fn question() -> Question {
    let choice = |id: &str, kind| Choice { id: id.to_owned(), name: format!("{id} it"), kind };
    Question {
        id: "q1".to_owned(),
        text: "run rm?".to_owned(),
        choices: vec![choice("yes", ChoiceKind::AllowOnce), choice("no", ChoiceKind::RejectOnce)],
        asked_at: at(3),
    }
}

/// Effects without what goes to the log.
fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Log(_))).collect()
}

/// An agent in each of its situations, by the shortest way there.
fn in_situation(name: &str) -> Life {
    let mut life = life();
    let open = |life: &mut Life| {
        life.request(task(1), at(1)).unwrap();
        life.sign(Sign::Opened(Some("s1".to_owned())), at(2));
    };
    match name {
        "new" => {}
        "opening" => {
            life.request(task(1), at(1)).unwrap();
        }
        "busy" => open(&mut life),
        "asking" => {
            open(&mut life);
            life.sign(Sign::Asked(question()), at(3));
        }
        "canceling" => {
            open(&mut life);
            life.request(Request::Cancel(None), at(3)).unwrap();
        }
        "idle" => {
            open(&mut life);
            life.sign(Sign::TurnEnded(TaskStatus::Done, None), at(3));
        }
        "resting" => {
            life = in_situation("idle");
            life.sign(Sign::Ended(None), at(4));
        }
        "crashed" => {
            open(&mut life);
            life.sign(Sign::Ended(Some("exit 3".to_owned())), at(3));
        }
        "publishing" => {
            life = in_situation("resting");
            life.request(Request::Publish, at(4)).unwrap();
        }
        "restarting" => {
            open(&mut life);
            life.request(Request::Restart, at(3)).unwrap();
        }
        "deleting" => {
            open(&mut life);
            life.request(Request::Delete, at(3)).unwrap();
        }
        other => panic!("no situation {other}"),
    }
    life
}

#[test]
fn every_request_in_every_situation_has_the_documented_outcome() {
    let open = |session: Option<&str>| vec![Effect::Open(session.map(str::to_owned))];
    let prompt = |n| vec![Effect::Prompt(format!("task {n}"))];
    let close = |remove| vec![Effect::Close { remove }];
    let publish = |uncommitted| Effect::Publish { uncommitted };
    type Row = (&'static str, Request, Option<(Vec<Effect>, Status)>);
    let table: Vec<Row> = vec![
        ("new", task(2), Some((open(None), Status::Starting))),
        ("new", Request::Cancel(None), None),
        ("new", Request::Restart, Some((open(None), Status::Starting))),
        ("new", Request::Delete, Some((vec![Effect::Remove], Status::Deleting))),
        ("opening", task(2), None),
        ("opening", Request::Cancel(None), Some((close(false), Status::Stopping))),
        ("opening", Request::Restart, Some((close(false), Status::Stopping))),
        ("opening", Request::Delete, Some((close(true), Status::Deleting))),
        ("busy", task(2), None),
        ("busy", Request::Cancel(None), Some((vec![Effect::Cancel], Status::Canceling))),
        ("busy", Request::Restart, Some((close(false), Status::Stopping))),
        ("busy", Request::Delete, Some((close(true), Status::Deleting))),
        ("asking", task(2), None),
        ("asking", Request::Cancel(None), Some((vec![Effect::Cancel], Status::Canceling))),
        ("canceling", task(2), None),
        ("canceling", Request::Cancel(None), Some((vec![], Status::Canceling))),
        ("canceling", Request::Delete, Some((close(true), Status::Deleting))),
        ("idle", task(2), Some((prompt(2), Status::Busy))),
        ("idle", Request::Cancel(None), None),
        ("idle", Request::Restart, Some((close(false), Status::Stopping))),
        ("resting", task(2), Some((open(Some("s1")), Status::Starting))),
        ("resting", Request::Restart, Some((open(Some("s1")), Status::Starting))),
        ("resting", Request::Delete, Some((vec![Effect::Remove], Status::Deleting))),
        ("crashed", task(2), Some((open(Some("s1")), Status::Starting))),
        ("crashed", Request::Cancel(None), None),
        ("restarting", task(2), None),
        ("restarting", Request::Delete, Some((vec![], Status::Deleting))),
        ("new", Request::Publish, Some((vec![Effect::PublishAlone], Status::Pending))),
        ("opening", Request::Publish, None),
        ("busy", Request::Publish, Some((vec![publish(false)], Status::Busy))),
        ("canceling", Request::Publish, Some((vec![publish(false)], Status::Canceling))),
        ("idle", Request::Publish, Some((vec![publish(true)], Status::Idle))),
        ("resting", Request::Publish, Some((vec![Effect::PublishAlone], Status::Idle))),
        ("crashed", Request::Publish, Some((vec![Effect::PublishAlone], Status::Failed))),
        ("restarting", Request::Publish, None),
        ("deleting", Request::Publish, None),
        ("publishing", Request::Publish, None),
        ("publishing", Request::Cancel(None), None),
        ("publishing", task(2), Some((vec![], Status::Starting))),
        ("publishing", Request::Restart, Some((vec![], Status::Stopping))),
        ("publishing", Request::Delete, Some((vec![], Status::Deleting))),
        ("deleting", task(2), None),
        ("deleting", Request::Restart, None),
        ("deleting", Request::Delete, None),
    ];
    for (situation, request, expected) in table {
        let mut life = in_situation(situation);
        let before = life.clone();

        let outcome = life.request(request.clone(), at(5));

        match expected {
            Some((effects, status)) => {
                assert_eq!(deeds(outcome.unwrap()), effects, "{situation}: {request:?}");
                assert_eq!(life.agent.status, status, "{situation}: {request:?}");
            }
            None => {
                assert!(outcome.is_err(), "{situation}: {request:?}");
                assert_eq!(life, before, "{situation}: {request:?}");
            }
        }
    }
}

#[test]
fn a_task_runs_from_its_start_to_its_end() {
    let mut life = in_situation("opening");

    assert_eq!(deeds(life.sign(Sign::Opened(None), at(2))), [Effect::Prompt("task 1".to_owned())]);
    assert_eq!(life.agent.status, Status::Busy);
    life.sign(Sign::TurnEnded(TaskStatus::Done, None), at(9));

    let task = life.task.unwrap();
    assert_eq!((task.status, task.ended_at), (TaskStatus::Done, Some(at(9))));
    assert_eq!(life.agent.status, Status::Idle);
}

#[test]
fn what_is_wanted_while_an_agent_without_a_program_is_published_comes_after_it() {
    let end = |life: &mut Life| deeds(life.sign(Sign::Ended(None), at(9)));
    let mut left = in_situation("publishing");
    let mut given = in_situation("publishing");
    given.request(task(2), at(5)).unwrap();
    let mut canceled = given.clone();
    canceled.request(Request::Cancel(None), at(6)).unwrap();
    let mut deleted = in_situation("publishing");
    deleted.request(Request::Delete, at(5)).unwrap();

    assert_eq!((end(&mut left), left.agent.status), (vec![], Status::Idle));
    assert_eq!(end(&mut given), [Effect::Open(Some("s1".to_owned()))]);
    assert_eq!((end(&mut canceled), canceled.agent.status), (vec![], Status::Idle));
    assert_eq!(end(&mut deleted), [Effect::Remove]);
    let opened = deeds(given.sign(Sign::Opened(None), at(10)));
    assert_eq!(opened, [Effect::Prompt("task 2".to_owned())]);
}

#[test]
fn an_answer_names_the_choice_by_identity_kind_or_name() {
    for choice in ["no", "reject_once", "NO IT"] {
        let mut life = in_situation("asking");
        let request = Request::Answer { question: None, choice: choice.to_owned() };

        let effects = deeds(life.request(request, at(5)).unwrap());

        let expected = Effect::Answer { question: "q1".to_owned(), choice: "no".to_owned() };
        assert_eq!(effects, [expected]);
        assert_eq!(life.task.unwrap().status, TaskStatus::Running);
    }
}

#[test]
fn the_word_for_a_kind_means_that_kind_whatever_the_choices_are_called() {
    let choice = |id: &str, name: &str, kind| Choice { id: id.into(), name: name.into(), kind };
    let choices = [
        choice("reject_once", "deny", ChoiceKind::AllowAlways),
        choice("yes", "reject_once", ChoiceKind::AllowOnce),
        choice("no", "allow_once", ChoiceKind::RejectOnce),
    ];
    let answer = |choices: &[Choice], word: &str| {
        let mut life = in_situation("asking");
        let question = life.task.as_mut().unwrap().question.as_mut().unwrap();
        question.choices = choices.to_vec();
        let request = Request::Answer { question: None, choice: word.to_owned() };
        deeds(life.request(request, at(5)).ok()?).pop()
    };
    let chose = |id: &str| Some(Effect::Answer { question: "q1".into(), choice: id.into() });

    assert_eq!(answer(&choices, "reject_once"), chose("no"));
    assert_eq!(answer(&choices, "allow_once"), chose("yes"));
    assert_eq!(answer(&choices, "Deny"), chose("reject_once"));
    // Nothing of this kind is offered.
    assert_eq!(answer(&choices[..2], "reject_once"), None);
}

#[test]
fn an_answer_to_another_question_or_with_another_choice_changes_nothing() {
    let mut life = in_situation("asking");
    let before = life.clone();
    let late = Request::Answer { question: Some("q0".to_owned()), choice: "yes".to_owned() };
    let odd = Request::Answer { question: None, choice: "maybe".to_owned() };

    assert!(matches!(life.request(late, at(5)), Err(Refused::Conflict(_))));
    assert!(matches!(life.request(odd, at(5)), Err(Refused::Invalid(_))));
    assert_eq!(life, before);
    let nobody = Request::Answer { question: None, choice: "yes".to_owned() };
    assert!(in_situation("busy").request(nobody, at(5)).is_err());
}

#[test]
fn a_question_that_nobody_answers_is_answered_with_no() {
    let mut life = in_situation("asking");
    assert!(life.tick(&LIMITS, at(32)).is_empty());

    let effects = deeds(life.tick(&LIMITS, at(33)));

    let no = Effect::Answer { question: "q1".to_owned(), choice: "no".to_owned() };
    assert_eq!(effects, [no]);
    assert!(life.task.as_ref().unwrap().question.is_none());
    assert!(life.tick(&LIMITS, at(34)).is_empty());
}

#[test]
fn a_silent_or_endless_turn_is_canceled_then_ended_and_has_failed() {
    for (heard, over) in [(2, 52), (90, 102)] {
        let mut life = in_situation("busy");
        life.sign(Sign::Heard, at(heard));
        assert!(life.tick(&LIMITS, at(over - 1)).is_empty());

        assert_eq!(deeds(life.tick(&LIMITS, at(over))), [Effect::Cancel]);
        let close = Effect::Close { remove: false };
        assert_eq!(deeds(life.tick(&LIMITS, at(over + 10))), [close]);
        life.sign(Sign::Ended(None), at(over + 11));

        assert_eq!(life.task.as_ref().unwrap().status, TaskStatus::Failed);
        assert_eq!(life.agent.status, Status::Idle);
    }
}

#[test]
fn who_is_deleted_while_its_program_ends_is_removed_after_that() {
    let mut life = in_situation("restarting");
    assert!(deeds(life.request(Request::Delete, at(4)).unwrap()).is_empty());

    assert_eq!(deeds(life.sign(Sign::Ended(None), at(5))), [Effect::Remove]);
    assert_eq!(life.agent.status, Status::Deleting);
    assert_eq!(deeds(life.sign(Sign::Ended(None), at(6))), [Effect::Forget]);
}

#[test]
fn a_cancel_takes_back_the_question_and_those_that_come_too_late() {
    let mut life = in_situation("asking");

    life.request(Request::Cancel(None), at(4)).unwrap();
    assert_eq!(life.task.as_ref().unwrap().question, None);
    assert!(life.sign(Sign::Asked(question()), at(5)).is_empty());

    let task = life.task.as_ref().unwrap();
    assert_eq!((task.status, &task.question), (TaskStatus::Running, &None));
    assert!(life.request(Request::Answer { question: None, choice: "yes".into() }, at(6)).is_err());
}

#[test]
fn an_agent_that_ignores_a_cancel_is_ended_and_its_task_is_canceled() {
    let mut life = in_situation("canceling");

    assert_eq!(deeds(life.tick(&LIMITS, at(13))), [Effect::Close { remove: false }]);
    life.sign(Sign::Ended(None), at(14));

    assert_eq!(life.task.as_ref().unwrap().status, TaskStatus::Canceled);
    assert_eq!(life.agent.status, Status::Idle);
}

#[test]
fn a_turn_that_was_finished_before_it_heard_of_the_cancel_is_done() {
    let mut life = in_situation("canceling");

    life.sign(Sign::TurnEnded(TaskStatus::Done, None), at(4));

    assert_eq!(life.task.unwrap().status, TaskStatus::Done);
}

#[test]
fn a_program_that_breaks_off_fails_the_task_and_one_that_rests_does_not_matter() {
    let crashed = in_situation("crashed");
    let task = crashed.task.unwrap();
    assert_eq!((task.status, task.message.as_deref()), (TaskStatus::Failed, Some("exit 3")));
    assert_eq!(crashed.agent.status, Status::Failed);

    let resting = in_situation("resting");
    assert_eq!(resting.agent.status, Status::Idle);
    assert_eq!(resting.task.unwrap().status, TaskStatus::Done);
}

#[test]
fn a_program_that_does_not_come_up_in_time_is_ended_and_its_task_has_failed() {
    let mut life = in_situation("opening");

    let effects = deeds(life.tick(&LIMITS, at(21)));

    assert_eq!(effects, [Effect::Close { remove: false }]);
    assert_eq!(life.task.as_ref().unwrap().status, TaskStatus::Failed);
}

#[test]
fn a_restart_opens_the_session_again_and_a_deletion_forgets_the_agent() {
    let mut restarting = in_situation("restarting");
    let reopened = deeds(restarting.sign(Sign::Ended(None), at(5)));
    assert_eq!(reopened, [Effect::Open(Some("s1".to_owned()))]);
    restarting.sign(Sign::Opened(Some("s1".to_owned())), at(6));
    assert_eq!(restarting.agent.status, Status::Idle);

    let mut deleting = in_situation("deleting");
    assert_eq!(deeds(deleting.sign(Sign::Ended(None), at(5))), [Effect::Forget]);
}

/// The same agent as the next daemon has it from the store.
fn stored(life: &Life) -> Life {
    let Life { agent, session, task, .. } = life.clone();
    Life::stored(agent, session, task, life.standing())
}

#[test]
fn a_session_that_outlived_the_daemon_is_as_it_was_and_the_time_between_does_not_count() {
    for situation in ["busy", "asking", "idle", "canceling"] {
        let before = in_situation(situation);
        let (last, now) = (at(8), at(100_000));
        assert!(before.goes_on(), "{situation}");

        let mut life = stored(&before);
        let effects = life.revive(Found::GoesOn, false, last, now);

        assert_eq!(life.link, before.link, "{situation}");
        assert_eq!(life.agent.status, before.agent.status, "{situation}");
        assert_eq!(life.verdict, before.verdict, "{situation}");
        let status = |life: &Life| life.task.as_ref().map(|task| task.status);
        assert_eq!(status(&life), status(&before), "{situation}");
        let asks = |life: &Life| Some(life.task.as_ref()?.question.as_ref()?.id.clone());
        assert_eq!(asks(&life), asks(&before), "{situation}");
        assert_eq!(
            life.since.duration_since(before.since),
            now.duration_since(last),
            "{situation}"
        );
        assert_eq!(effects.len(), usize::from(situation != "idle"), "{situation}: {effects:?}");
        assert!(life.tick(&LIMITS, now).is_empty(), "{situation}");
    }
}

#[test]
fn what_cannot_go_on_is_interrupted_once_its_rest_has_ended() {
    let ends = || Found::Ends("it is of another version".to_owned());
    let mut busy = stored(&in_situation("busy"));
    assert!(deeds(busy.revive(ends(), false, at(8), at(9))).is_empty());
    assert_eq!(busy.task.as_ref().unwrap().status, TaskStatus::Interrupted);
    assert_eq!(busy.agent.status, Status::Stopping);
    busy.sign(Sign::Ended(None), at(10));
    assert_eq!(busy.agent.status, Status::Idle);

    let mut later = stored(&in_situation("asking"));
    later.revive(Found::GoesOn, false, at(8), at(9));
    later.sign(Sign::NotResumed("it is another one".to_owned()), at(10));
    let task = later.task.unwrap();
    assert_eq!((task.status, task.question), (TaskStatus::Interrupted, None));
    assert!(task.message.unwrap().contains("it is another one"));
    assert_eq!(later.agent.status, Status::Idle);
}

#[test]
fn what_was_begun_before_a_restart_of_the_daemon_is_finished_after_it() {
    let ends = || Found::Ends("whatever".to_owned());
    // Its task was not told to it yet: it is told to the next program.
    for found in [ends(), Found::Missing] {
        let mut opening = stored(&in_situation("opening"));
        let mut effects = opening.revive(found.clone(), false, at(8), at(9));
        if found != Found::Missing {
            effects = opening.sign(Sign::Ended(None), at(10));
        }
        assert!(matches!(deeds(effects)[..], [Effect::Open(_)]));
        let told = deeds(opening.sign(Sign::Opened(None), at(11)));
        assert!(matches!(told[..], [Effect::Prompt(_)]), "{told:?}");
    }

    let before = in_situation("restarting");
    let mut restarting = stored(&before);
    restarting.revive(ends(), before.standing().restarts, at(8), at(9));
    let effects = deeds(restarting.sign(Sign::Ended(None), at(10)));
    assert!(matches!(effects[..], [Effect::Open(_)]), "{effects:?}");

    let mut deleting = stored(&in_situation("deleting"));
    deleting.revive(ends(), false, at(8), at(9));
    assert_eq!(deeds(deleting.sign(Sign::Ended(None), at(10))), [Effect::Remove]);
    assert_eq!(deeds(deleting.sign(Sign::Ended(None), at(11))), [Effect::Forget]);
}

#[test]
fn after_a_restart_of_the_daemon_what_ran_is_interrupted_and_what_rested_rests() {
    for (situation, task, status) in [
        ("busy", TaskStatus::Interrupted, Status::Idle),
        ("asking", TaskStatus::Interrupted, Status::Idle),
        ("opening", TaskStatus::Interrupted, Status::Idle),
        ("idle", TaskStatus::Done, Status::Idle),
        ("crashed", TaskStatus::Failed, Status::Failed),
    ] {
        let mut life = stored(&in_situation(situation));

        let gone = Found::Gone("the daemon was restarted".to_owned());
        let effects = deeds(life.revive(gone, false, at(8), at(9)));

        assert!(effects.is_empty(), "{situation}");
        assert_eq!(life.task.unwrap().status, task, "{situation}");
        assert_eq!(life.agent.status, status, "{situation}");
    }
    let mut life = stored(&in_situation("deleting"));
    let gone = Found::Gone("the daemon was restarted".to_owned());
    assert_eq!(deeds(life.revive(gone, false, at(8), at(9))), [Effect::Remove]);
    assert_eq!(deeds(life.sign(Sign::Ended(None), at(10))), [Effect::Forget]);
}

#[test]
fn signs_that_come_too_late_change_nothing() {
    for situation in ["idle", "resting", "crashed"] {
        let life = in_situation(situation);
        for sign in [
            Sign::TurnEnded(TaskStatus::Failed, None),
            Sign::Spent(Usage { cost: Some(1.0), ..Usage::default() }),
            Sign::Withdrawn("q1".to_owned()),
            Sign::Opened(Some("other".to_owned())),
        ] {
            let mut after = life.clone();

            let effects = after.sign(sign.clone(), at(9));

            assert!(effects.is_empty(), "{situation}: {sign:?}");
            assert_eq!(
                (after.task, after.agent.status, after.session),
                (life.task.clone(), life.agent.status, life.session.clone())
            );
        }
    }
}
