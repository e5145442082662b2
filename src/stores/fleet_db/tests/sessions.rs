//! Sessions that outlive the daemon.

use super::*;
use crate::app::ports::{
    fleet_store::StoredSession,
    sessions::{Checkpoint, Order},
};

fn checkpoint(obeyed: u64, state: &[u8]) -> Checkpoint {
    Checkpoint { obeyed, state: state.to_vec() }
}

fn put_session(time: i64, checkpoint: Checkpoint) -> Change {
    Change::PutSession { agent: AgentId(1), time: at(time), checkpoint }
}

fn put_order(number: u64, order: Order) -> Change {
    Change::PutOrder { agent: AgentId(1), number, order }
}

fn open(db: &FleetDb) -> Option<StoredSession> {
    db.load().unwrap().agents[0].open.clone()
}

#[test]
fn the_newest_checkpoint_counts_and_orders_that_it_has_obeyed_are_forgotten() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();
    let strange = "a\0b'\"; é 🦀\r\n".to_owned();
    let answer = Order::Answer { question: strange.clone(), choice: strange.clone() };
    let orders = [Order::Prompt { text: strange }, answer, Order::Cancel];
    commit(&db, vec![put(agent(1)), put_session(1, checkpoint(0, b"first"))]).unwrap();

    let numbered = (1..).zip(orders.clone()).map(|(number, order)| put_order(number, order));
    commit(&db, numbered.collect()).unwrap();
    let all = open(&db).unwrap();
    commit(&db, vec![put_session(2, checkpoint(2, b"\xff\0"))]).unwrap();
    let left = open(&db).unwrap();

    assert_eq!(all.orders, (1..).zip(orders).collect::<Vec<_>>());
    assert_eq!((left.time, left.checkpoint), (at(2), checkpoint(2, b"\xff\0")));
    assert_eq!(left.orders, [(3, Order::Cancel)]);
}

#[test]
fn a_session_is_removed_with_its_orders_and_with_its_agent() {
    for removal in [Change::RemoveSession(AgentId(1)), Change::RemoveAgent(AgentId(1))] {
        let home = home();
        let db = FleetDb::open(home.path()).unwrap();
        let begun =
            vec![put(agent(1)), put_session(1, checkpoint(0, b"x")), put_order(1, Order::Cancel)];
        commit(&db, begun).unwrap();

        commit(&db, vec![removal.clone()]).unwrap();

        if removal == Change::RemoveSession(AgentId(1)) {
            assert_eq!(open(&db), None);
            commit(&db, vec![put_session(2, checkpoint(0, b"y"))]).unwrap();
            assert_eq!(open(&db).unwrap().orders, []);
        }
    }
}

#[test]
fn a_checkpoint_of_an_agent_that_is_gone_is_refused() {
    let home = home();
    let db = FleetDb::open(home.path()).unwrap();

    assert!(commit(&db, vec![put_session(1, checkpoint(0, b"x"))]).is_err());
}
