//! What a session is told, taken whatever it is doing.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::mpsc;

use super::GRACE;
use crate::app::ports::sessions::Order;

/// Most orders that wait for a driver.
const MAX_ORDERS: usize = 64;

/// What a session was told to do at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Close {
    pub(super) remove: bool,
    pub(super) grace: Duration,
}

/// Orders, taken whatever the session is doing. Once it is to close, only that counts.
pub(super) struct Orders {
    orders: mpsc::Receiver<Order>,
    pub(super) waiting: VecDeque<Order>,
    pub(super) close: Option<Close>,
    /// The work is to be published, with what is not committed or without.
    pub(super) publish: Option<bool>,
    /// The close has been answered; another one may change what is removed.
    told: bool,
}

impl Orders {
    pub(super) fn new(orders: mpsc::Receiver<Order>) -> Self {
        Self { orders, waiting: VecDeque::new(), close: None, publish: None, told: false }
    }

    /// Begins with the order to publish everything.
    pub(super) fn to_publish(orders: mpsc::Receiver<Order>) -> Self {
        Self { publish: Some(true), ..Self::new(orders) }
    }

    /// Nothing but the order to remove everything.
    pub(super) fn to_remove() -> Self {
        let (_, none) = mpsc::channel(1);
        Self { close: Some(Close { remove: true, grace: GRACE }), ..Self::new(none) }
    }

    /// Waits for an order that changes something. Cancel-safe.
    pub(super) async fn listen(&mut self) {
        loop {
            if self.orders.is_closed() && self.orders.is_empty() && self.close.is_some() {
                return std::future::pending().await;
            }
            match self.orders.recv().await {
                Some(Order::Close { remove_workspace, grace_secs }) => {
                    let grace = Duration::from_secs(grace_secs.into());
                    let earlier = self.close.unwrap_or(Close { remove: false, grace });
                    self.close = Some(Close {
                        remove: earlier.remove || remove_workspace,
                        grace: earlier.grace.min(grace),
                    });
                    self.told = false;
                }
                None => {
                    self.close.get_or_insert(Close { remove: false, grace: GRACE });
                }
                Some(Order::Publish { uncommitted }) if self.close.is_none() => {
                    self.publish = Some(uncommitted && self.publish.unwrap_or(true));
                }
                Some(order) if self.close.is_none() && self.waiting.len() < MAX_ORDERS => {
                    self.waiting.push_back(order);
                }
                Some(_) if self.close.is_some() => continue,
                Some(_) => {
                    // Orders are counted, so that none may be left out.
                    tracing::warn!("an agent takes no orders, {MAX_ORDERS} wait; it is ended");
                    self.close = Some(Close { remove: false, grace: GRACE });
                }
            }
            return;
        }
    }

    /// A close that was not answered yet.
    pub(super) fn close_due(&mut self) -> Option<Close> {
        let close = self.close.filter(|_| !self.told)?;
        self.told = true;
        Some(close)
    }
}
