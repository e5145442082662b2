//! What came of what a driver has heard and obeyed, until there is room for it.

use crate::{
    agents::io::{Say, Step},
    app::ports::sessions::News,
};

/// News that may gather; then no more is heard.
const MOST_NEWS: usize = 512;
/// Characters that may, of what the program says.
const MOST_BYTES: usize = 256 * 1024;

/// Gathers the next step.
#[derive(Debug, Default)]
pub(super) struct Told {
    news: Vec<News>,
    bytes: usize,
    heard: u64,
    obeyed: u64,
    due: bool,
}

impl Told {
    /// Goes on behind these.
    pub(super) fn after(heard: u64, obeyed: u64) -> Self {
        Self { heard, obeyed, ..Self::default() }
    }

    /// This was heard, and nothing more comes of it.
    pub(super) fn hear(&mut self, number: u64, news: impl IntoIterator<Item = News>) {
        self.heard = number;
        self.add(news);
    }

    /// An order was obeyed.
    pub(super) fn obey(&mut self, news: impl IntoIterator<Item = News>) {
        self.obeyed += 1;
        self.add(news);
    }

    /// This came of something else.
    pub(super) fn add(&mut self, news: impl IntoIterator<Item = News>) {
        for news in news {
            if let News::Said(entry) = &news {
                self.bytes += entry.content.len();
            }
            self.news.push(news);
        }
        self.due = true;
    }

    /// Whether there is anything to tell.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether so much waits that no more should be heard.
    pub(super) fn is_full(&self) -> bool {
        self.news.len() >= MOST_NEWS || self.bytes >= MOST_BYTES
    }

    /// The step, with what the host is to be told.
    pub(super) fn take(&mut self, says: Vec<Say>, state: Option<String>) -> Step {
        let (heard, obeyed) = (self.heard, self.obeyed);
        let news = std::mem::replace(self, Self::after(heard, obeyed)).news;
        Step { news, says, heard, obeyed, state }
    }
}
