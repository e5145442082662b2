//! Lines, orders and steps.

use super::*;

/// A driver between a program and a fleet that are both played by the test.
struct Bench {
    out: mpsc::Sender<Heard>,
    number: u64,
    orders: mpsc::Sender<Order>,
    steps: mpsc::Receiver<Step>,
    driver: JoinHandle<Result<(), NotOpened>>,
}

impl Bench {
    fn start(params: Params) -> Self {
        Self::with(params, None)
    }

    fn with(params: Params, from: Option<Resumed>) -> Self {
        let (out, heard) = mpsc::channel(1);
        let (tell, steps) = mpsc::channel(1);
        let (orders, ordered) = mpsc::channel(1);
        let driver = tokio::spawn(drive(AgentIo { heard, steps: tell }, params, from, ordered));
        Self { out, number: 0, orders, steps, driver }
    }

    async fn working() -> Self {
        let mut bench = Self::start(params());
        for result in [json!({"protocolVersion": 1}), json!({"sessionId": "s"})] {
            let request = bench.reads().await;
            bench.says(&json!({"id": request["id"], "result": result}).to_string()).await;
        }
        let opened = bench.step().await;
        assert!(matches!(opened.news[..], [News::Opened { .. }]) && opened.state.is_some());
        bench.orders.send(Order::Prompt { text: "work".to_owned() }).await.unwrap();
        assert_eq!(bench.reads().await["method"], "session/prompt");
        bench
    }

    async fn step(&mut self) -> Step {
        self.steps.recv().await.unwrap()
    }

    /// The next step that has something for the program: the one line of it.
    async fn reads(&mut self) -> Value {
        loop {
            match &self.step().await.says[..] {
                [] => {}
                [Say::Line(line)] => return serde_json::from_str(line).unwrap(),
                says => panic!("{says:?}"),
            }
        }
    }

    async fn says(&mut self, line: &str) {
        self.number += 1;
        let what = What::Line(Stream::Out, line.to_owned());
        self.out.send(Heard { number: self.number, what }).await.unwrap();
    }
}

fn update_line(update: &Value) -> String {
    let params = json!({"sessionId": "s", "update": update});
    json!({"method": "session/update", "params": params}).to_string()
}

#[tokio::test]
async fn all_that_came_of_a_line_is_in_one_step_with_its_number() {
    let mut bench = Bench::working().await;
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "x"});
    bench.says(&update_line(&call)).await;
    let nothing = bench.step().await;

    // Two entries come of this line: the call's start had waited.
    bench.says(&update_line(&chunk("agent_message_chunk", "y"))).await;
    let both = bench.step().await;

    assert!(nothing.news.is_empty() && nothing.heard == bench.number - 1);
    assert_eq!(both.news.len(), 2);
    assert_eq!((both.heard, both.obeyed), (bench.number, 1));
}

#[tokio::test]
async fn while_the_fleet_is_busy_steps_grow_together_and_orders_are_taken() {
    let mut bench = Bench::working().await;
    for text in ["a", "b", "c", "d"] {
        bench.says(&update_line(&chunk("agent_message_chunk", text))).await;
    }

    bench.orders.send(Order::Cancel).await.unwrap();
    bench.orders.send(Order::Cancel).await.unwrap();
    let (mut news, mut says, mut steps) = (Vec::new(), Vec::new(), 0);
    let is_last = |news: &News| matches!(news, News::Said(entry) if entry.content == "d");
    while says.is_empty() || !news.last().is_some_and(is_last) {
        let step = bench.step().await;
        steps += usize::from(!step.news.is_empty());
        news.extend(step.news);
        says.extend(step.says);
    }

    assert!(news.len() == 4 && steps < 4, "{steps}");
    assert!(matches!(&says[0], Say::Line(line) if line.contains("session/cancel")), "{says:?}");
}

#[tokio::test]
async fn closing_cancels_ends_the_input_and_hears_the_last_words() {
    let mut bench = Bench::working().await;

    let (orders, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut bench.orders, orders));
    let closing = bench.step().await;
    bench.says(&update_line(&chunk("agent_message_chunk", "bye"))).await;
    let last = bench.step().await;
    drop(bench.out);

    let [Say::Line(cancel), Say::CloseInput] = &closing.says[..] else { panic!("{closing:?}") };
    assert!(cancel.contains("session/cancel"));
    assert!(closing.state.is_none() && last.state.is_none());
    assert!(matches!(&last.news[..], [News::Said(entry)] if entry.content == "bye"));
    assert_eq!(bench.driver.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_program_that_ends_in_a_turn_leaves_the_turn_to_its_host() {
    let mut bench = Bench::working().await;

    drop(bench.out);

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
    while let Some(step) = bench.steps.recv().await {
        assert!(step.news.is_empty(), "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_never_answers_does_not_open() {
    let mut bench = Bench::start(params());
    bench.reads().await;

    let NotOpened(why) = bench.driver.await.unwrap().unwrap_err();

    assert_eq!(why, "the agent did not answer initialize within 180 s");
}

#[tokio::test]
async fn without_anybody_to_step_for_the_driver_ends() {
    let mut bench = Bench::working().await;
    let (told, steps) = mpsc::channel(1);
    drop((told, std::mem::replace(&mut bench.steps, steps)));

    bench.says(&update_line(&chunk("agent_message_chunk", "hi"))).await;

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn the_next_daemon_goes_on_from_a_step() {
    let mut bench = Bench::working().await;
    bench.says(&update_line(&chunk("agent_message_chunk", "a"))).await;
    let step = bench.step().await;
    let from = Resumed { heard: step.heard, obeyed: step.obeyed, state: step.state.unwrap() };

    let mut next = Bench::with(params(), Some(from));
    next.number = bench.number;
    next.says(&json!({"id": 3, "result": {"stopReason": "end_turn"}}).to_string()).await;
    let ended = next.step().await;

    assert!(matches!(ended.news[..], [News::TurnEnded(Outcome::Done)]), "{ended:?}");
    assert_eq!((ended.heard, ended.obeyed), (next.number, 1));
}
