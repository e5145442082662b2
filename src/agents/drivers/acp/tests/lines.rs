//! Lines, orders and reports.

use super::*;

/// A driver between a program and a fleet that are both played by the test.
struct Bench {
    out: mpsc::Sender<AgentLine>,
    written: mpsc::Receiver<String>,
    orders: mpsc::Sender<Order>,
    reports: mpsc::Receiver<Report>,
    driver: JoinHandle<Result<(), NotOpened>>,
}

impl Bench {
    fn start(params: Params) -> Self {
        let (out, lines) = mpsc::channel(1);
        let (input, written) = mpsc::channel(1);
        let (orders, ordered) = mpsc::channel(1);
        let (told, reports) = mpsc::channel(1);
        let driver = tokio::spawn(drive(AgentIo { lines, input }, params, ordered, told));
        Self { out, written, orders, reports, driver }
    }

    async fn working() -> Self {
        let mut bench = Self::start(params());
        for result in [json!({"protocolVersion": 1}), json!({"sessionId": "s"})] {
            let request = bench.reads().await;
            bench.says(&json!({"id": request["id"], "result": result}).to_string()).await;
        }
        assert!(matches!(bench.report().await, News::Opened { .. }));
        bench.orders.send(Order::Prompt { text: "work".to_owned() }).await.unwrap();
        assert_eq!(bench.reads().await["method"], "session/prompt");
        bench
    }

    async fn reads(&mut self) -> Value {
        serde_json::from_str(&self.written.recv().await.unwrap()).unwrap()
    }

    async fn says(&mut self, line: &str) -> oneshot::Receiver<()> {
        let (receipt, committed) = oneshot::channel();
        let line = AgentLine { stream: Stream::Out, text: line.to_owned(), receipt };
        self.out.send(line).await.unwrap();
        committed
    }

    async fn report(&mut self) -> News {
        let report = self.reports.recv().await.unwrap();
        assert_eq!(report.agent, AgentId(7));
        // Not every test waits for it.
        let _ = report.receipt.map(|receipt| receipt.send(()));
        report.news
    }
}

fn update_line(update: &Value) -> String {
    let params = json!({"sessionId": "s", "update": update});
    json!({"method": "session/update", "params": params}).to_string()
}

#[tokio::test]
async fn a_line_is_done_with_once_all_that_came_of_it_is_durable() {
    let mut bench = Bench::working().await;
    let nothing = bench.says("{\"method\":\"_x\"}").await;
    nothing.await.unwrap();

    // Two reports come of the second of these.
    let call = json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": "x"});
    bench.says(&update_line(&call)).await.await.unwrap();
    let mut committed = bench.says(&update_line(&chunk("agent_message_chunk", "y"))).await;
    let first = bench.reports.recv().await.unwrap();
    let second = bench.reports.recv().await.unwrap();

    assert!(first.receipt.is_none());
    assert!(committed.try_recv().is_err());
    second.receipt.unwrap().send(()).unwrap();
    committed.await.unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_read_is_still_heard_and_a_busy_fleet_still_gives_orders() {
    let mut bench = Bench::working().await;
    // The program's input is full, and a report waits.
    for id in 0..3 {
        bench.says(&json!({"id": id, "method": "fs/read_text_file"}).to_string()).await;
    }
    bench.says(&update_line(&chunk("agent_message_chunk", "a"))).await;
    bench.says(&update_line(&chunk("agent_message_chunk", "b"))).await;

    bench.orders.send(Order::Cancel).await.unwrap();
    bench.orders.send(Order::Cancel).await.unwrap();

    assert!(matches!(bench.report().await, News::Said(_)));
    for id in 0..3 {
        assert_eq!(bench.reads().await["id"], id);
    }
    assert_eq!(bench.reads().await["method"], "session/cancel");
}

#[tokio::test]
async fn closing_cancels_ends_the_input_and_hears_the_last_words() {
    let mut bench = Bench::working().await;

    drop(bench.orders);
    let cancel = bench.written.recv().await.unwrap();
    let end = bench.written.recv().await;
    let line = update_line(&chunk("agent_message_chunk", "bye"));
    let (receipt, _) = oneshot::channel();
    bench.out.send(AgentLine { stream: Stream::Out, text: line, receipt }).await.unwrap();
    drop(bench.out);
    let last = bench.reports.recv().await.unwrap();

    assert!(cancel.contains("session/cancel"));
    assert_eq!(end, None);
    assert!(matches!(last.news, News::Said(entry) if entry.content == "bye"));
    assert_eq!(bench.driver.await.unwrap(), Ok(()));
    assert!(bench.reports.recv().await.is_none());
}

#[tokio::test]
async fn a_program_that_ends_in_a_turn_leaves_the_turn_to_its_host() {
    let mut bench = Bench::working().await;

    drop(bench.out);

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
    assert!(bench.reports.recv().await.is_none());
}

#[tokio::test]
async fn a_program_that_closed_its_input_is_heard_until_it_ends() {
    let mut bench = Bench::working().await;
    let (out, written) = mpsc::channel(1);
    drop((out, std::mem::replace(&mut bench.written, written)));

    bench.orders.send(Order::Cancel).await.unwrap();
    bench.says(&update_line(&chunk("agent_message_chunk", "hi"))).await;

    assert!(matches!(bench.report().await, News::Said(_)));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_never_answers_does_not_open() {
    let mut bench = Bench::start(params());
    bench.reads().await;

    let NotOpened(why) = bench.driver.await.unwrap().unwrap_err();

    assert_eq!(why, "the agent did not answer initialize within 180 s");
}

#[tokio::test]
async fn without_anybody_to_report_to_the_driver_ends() {
    let mut bench = Bench::working().await;
    let (told, reports) = mpsc::channel(1);
    drop((told, std::mem::replace(&mut bench.reports, reports)));

    bench.says(&update_line(&chunk("agent_message_chunk", "hi"))).await;

    assert_eq!(bench.driver.await.unwrap(), Ok(()));
}
