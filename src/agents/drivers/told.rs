//! What a driver has to report and to write, until there is room for it.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

use crate::{
    app::ports::sessions::{News, Report},
    fleet::AgentId,
};

/// Reports in order, with the receipts of the lines that they come from.
pub(super) struct Told {
    agent: AgentId,
    pub(super) reports: VecDeque<Report>,
}

impl Told {
    pub(super) fn new(agent: AgentId) -> Self {
        Self { agent, reports: VecDeque::new() }
    }

    /// The receipt of a line belongs to the last report that came of it: reports become durable in
    /// order. A line that nothing came of is done with at once.
    pub(super) fn add(
        &mut self,
        news: impl IntoIterator<Item = News>,
        receipt: Option<oneshot::Sender<()>>,
    ) {
        let agent = self.agent;
        let before = self.reports.len();
        let reports = news.into_iter().map(|news| Report { agent, news, receipt: None });
        self.reports.extend(reports);
        let Some(receipt) = receipt else { return };
        match self.reports.range_mut(before..).last() {
            Some(last) => last.receipt = Some(receipt),
            // The host may be gone: then nobody waits for it.
            None => drop(receipt.send(())),
        }
    }
}

/// Room for a line in the program's input; `None` if it no longer reads.
pub(super) async fn writable(
    input: Option<&mpsc::Sender<String>>,
) -> Option<mpsc::Permit<'_, String>> {
    input?.reserve().await.ok()
}
