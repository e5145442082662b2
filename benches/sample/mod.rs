//! Agents and tasks as the benchmarks' fleets have them.

use fleet_mcp::{
    app::ports::fleet_store::Change,
    fleet::{Agent, AgentId, AgentName, Life, Status, Task, TaskId, TaskStatus, Usage},
};
use jiff::Timestamp;

/// The agent `aN`, idle, after a task.
pub(crate) fn agent(id: i64) -> Change {
    let name: AgentName = format!("a{id}").parse().expect("letters and digits are a name");
    let agent = Agent {
        name,
        id: AgentId(id),
        status: Status::Idle,
        slot: None,
        role: "demo".into(),
        project: "scratch".into(),
        last_task: Some("Make the tests pass, then tell me what was wrong with them".into()),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    };
    let standing = Life::new(agent.clone()).standing();
    Change::PutAgent { agent, session: Some("6f1c1c5e-session".into()), standing }
}

/// A task of an agent, done.
pub(crate) fn task(id: i64, agent: i64) -> Change {
    Change::PutTask(Task {
        id: TaskId(id),
        agent: AgentId(agent),
        description: "Make the tests pass, then tell me what was wrong with them".into(),
        status: TaskStatus::Done,
        message: Some("All tests pass".into()),
        created_at: Timestamp::UNIX_EPOCH,
        ended_at: Some(Timestamp::UNIX_EPOCH),
        usage: Usage { input_tokens: Some(12_345), cost: Some(0.12), ..Usage::default() },
        question: None,
    })
}
