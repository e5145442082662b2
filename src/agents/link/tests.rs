//! A link between a driver and a host that the test plays.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{Link, Teller};
use crate::{
    agents::{
        host::{
            exchange::End,
            frames::{FromHost, Splitter, ToHost},
        },
        io::{AgentIo, Say, Step},
    },
    fleet::AgentId,
};

/// A host's end of the stream.
struct Host {
    stream: UnixStream,
    splitter: Splitter,
    end: End<FromHost, ToHost>,
}

impl Host {
    fn new(stream: UnixStream) -> Self {
        Self { stream, splitter: Splitter::default(), end: End::host(1, 1) }
    }

    fn say(&mut self, line: &str) {
        let data = line.to_owned();
        self.end.push(&FromHost::Out { err: false, data, more: false, cut: false });
    }

    async fn transmit(&mut self) {
        while let Some(bytes) = self.end.transmit() {
            self.stream.write_all(&bytes).await.unwrap();
        }
    }

    /// What it is told next.
    async fn hear(&mut self) -> Vec<ToHost> {
        let mut bytes = Vec::new();
        self.stream.read_buf(&mut bytes).await.unwrap();
        let (mut told, end) = (Vec::new(), &mut self.end);
        self.splitter.push(&bytes, |line| told.extend(end.receive(line).unwrap()));
        told.into_iter().map(|(_, item)| item).collect()
    }

    async fn greet(&mut self) {
        while !self.end.is_greeted() {
            assert!(self.hear().await.is_empty());
        }
        self.transmit().await;
    }
}

#[tokio::test]
async fn a_host_that_was_let_go_of_is_told_nothing_and_forgets_nothing() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (reports, mut reported) = mpsc::channel(4);
    let let_go = CancellationToken::new();
    let teller = Teller { agent: AgentId(1), reports, keeps: true, let_go: let_go.clone() };
    let (link, AgentIo { mut heard, steps }) = Link::new(ours, teller);
    let mut host = Host::new(theirs);
    host.say("one");
    host.greet().await;
    let number = heard.recv().await.unwrap().number;
    let open = Step { heard: number, state: Some("{}".to_owned()), ..Step::default() };
    steps.send(open).await.unwrap();
    // On its way, and it will not arrive.
    let report = reported.recv().await.unwrap();
    assert!(report.checkpoint.is_some());

    // The order of a stop: the driver learns that nobody gives it orders any more, and closes.
    let_go.cancel();
    let closing = Step { heard: number, says: vec![Say::CloseInput], ..Step::default() };
    steps.send(closing).await.unwrap();
    let taken = steps.reserve().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }

    taken.expect("the driver is not told that the link has ended");
    assert!(!link.task.is_finished(), "the session is not told that the host is lost");
    drop(link);
    assert_eq!(host.hear().await, []);
    assert_eq!(host.end.unacknowledged().0, 1);
}
