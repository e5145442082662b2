//! Hostile programs.

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_/$]{0,12}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let name = prop_oneof![prop::sample::select(WORDS), Just("x")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

const WORDS: &[&str] = &[
    "id",
    "method",
    "params",
    "result",
    "error",
    "code",
    "message",
    "data",
    "sessionId",
    "update",
    "sessionUpdate",
    "tool_call",
    "tool_call_update",
    "toolCallId",
    "toolCall",
    "options",
    "kind",
    "optionId",
    "name",
    "allow_once",
    "title",
    "status",
    "completed",
    "content",
    "type",
    "text",
    "diff",
    "path",
    "newText",
    "agent_message_chunk",
    "plan",
    "entries",
    "usage_update",
    "used",
    "size",
    "cost",
    "amount",
    "currency",
    "stopReason",
    "end_turn",
    "cancelled",
    "session/update",
    "session/request_permission",
    "elicitation/create",
    "$/cancel_request",
    "requestId",
    "s",
    "protocolVersion",
    "modes",
    "currentModeId",
    "availableModes",
    "configOptions",
    "errorKind",
    "current_mode_update",
    "messageId",
    "locations",
    "rawInput",
    "rawOutput",
    "failed",
];

/// A line that comes close to the protocol.
fn any_line() -> impl Strategy<Value = String> {
    let update = any_json().prop_map(|update| {
        json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
    });
    const KINDS: &[&str] =
        &["tool_call", "tool_call_update", "plan", "usage_update", "agent_message_chunk"];
    let near = (prop::sample::select(KINDS), any_json(), any_json()).prop_map(
        |(kind, status, content)| {
            let update = json!({"sessionUpdate": kind, "toolCallId": "t", "title": "x",
                "status": status, "content": content, "entries": content, "used": 1, "size": 2});
            json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
        },
    );
    let request = (any_json(), any_json()).prop_map(|(id, options)| {
        let params = json!({"sessionId": "s", "toolCall": {"toolCallId": "t"}, "options": options});
        json!({"id": id, "method": "session/request_permission", "params": params})
    });
    let answer = (0..6i64, any_json(), any::<bool>()).prop_map(|(id, result, failed)| {
        let member = if failed { "error" } else { "result" };
        json!({"id": id, member: result})
    });
    let good = (1..6i64).prop_map(|id| {
        json!({"id": id, "result": {"protocolVersion": 1, "sessionId": "s",
            "configOptions": [], "stopReason": "end_turn"}})
    });
    prop_oneof![
        1 => any_json().prop_map(|json| json.to_string()),
        1 => update.prop_map(|json| json.to_string()),
        1 => near.prop_map(|json| json.to_string()),
        1 => request.prop_map(|json| json.to_string()),
        1 => answer.prop_map(|json| json.to_string()),
        3 => good.prop_map(|json| json.to_string()),
        1 => ".{0,40}",
    ]
}

#[derive(Debug, Clone)]
enum Move {
    Line(String),
    Prompt,
    Cancel,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![8 => any_line().prop_map(Move::Line), 2 => Just(Move::Prompt), 1 => Just(Move::Cancel)]
}

proptest! {
    #[test]
    fn no_program_ends_a_turn_twice_or_breaks_the_driver(
        moves in prop::collection::vec(any_move(), 0..60),
        permissions in prop::sample::select(
            vec![Permissions::Ask, Permissions::Deny, Permissions::Allow]),
    ) {
        let mut talk =
            Conversation::open(Params { permissions, ..params() }, Timestamp::UNIX_EPOCH);
        let (mut turns, mut ends, mut open) = (0, 0, std::collections::BTreeSet::new());
        for a_move in moves {
            let news = match a_move {
                Move::Line(line) => talk.hear(Stream::Out, &line, Timestamp::UNIX_EPOCH),
                Move::Prompt => talk.obey(Order::Prompt { text: "work".to_owned() }),
                Move::Cancel => talk.obey(Order::Cancel),
            };
            for line in talk.unwritten.drain(..) {
                prop_assert!(!line.contains('\n'));
                turns += u32::from(line.contains("\"session/prompt\""));
            }
            for news in news {
                match news {
                    News::TurnEnded(_) => ends += 1,
                    News::Said(entry) => prop_assert!(!entry.content.is_empty()),
                    News::Asked(question) => {
                        prop_assert!(!question.choices.is_empty());
                        prop_assert!(open.insert(question.id));
                    }
                    News::Withdrawn { question } => prop_assert!(open.remove(&question)),
                    _ => {}
                }
                prop_assert!(ends <= turns);
            }
        }
        prop_assert!(turns - ends <= 1);
    }

    /// Wherever it is saved and taken up by another daemon, the program notices nothing, and neither
    /// does the fleet: the same lines are written, and the same is told.
    #[test]
    fn a_conversation_that_is_saved_and_resumed_goes_on_as_if_it_were_not(
        moves in prop::collection::vec((any_move(), any::<bool>()), 0..60),
    ) {
        let mut whole = Script::opened(params()).talk;
        let mut torn = Script::opened(params()).talk;
        for (a_move, tears) in moves {
            if tears && let Some(state) = torn.state() {
                prop_assert!(torn.unwritten.is_empty());
                torn = Conversation::resume(params(), &state).unwrap();
            }
            let mut told = [&mut whole, &mut torn].into_iter().map(|talk| {
                let news = match &a_move {
                    Move::Line(line) => talk.hear(Stream::Out, line, Timestamp::UNIX_EPOCH),
                    Move::Prompt => talk.obey(Order::Prompt { text: "work".to_owned() }),
                    Move::Cancel => talk.obey(Order::Cancel),
                };
                (format!("{news:?}"), talk.unwritten.drain(..).collect::<Vec<_>>())
            });
            let (whole, torn) = (told.next().unwrap(), told.next().unwrap());
            prop_assert_eq!(whole, torn);
        }
    }
}
