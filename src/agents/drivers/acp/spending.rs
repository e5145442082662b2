//! What a turn costs, as far as the program tells.

use agent_client_protocol::v1::schema::{Usage as Tokens, UsageUpdate};
use serde::{Deserialize, Serialize};

use crate::fleet::Usage;

/// The session's cost is told as a sum; the turn's is what was added since it began.
#[derive(Debug, Default)]
pub(super) struct Spending {
    session_cost: f64,
    before: f64,
    turn: Usage,
}

/// It as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    session_cost: f64,
    before: f64,
    context_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost: Option<f64>,
    currency: Option<String>,
}

impl Spending {
    pub(super) fn save(&self) -> Saved {
        let turn = self.turn.clone();
        Saved {
            session_cost: self.session_cost,
            before: self.before,
            context_tokens: turn.context_tokens,
            input_tokens: turn.input_tokens,
            output_tokens: turn.output_tokens,
            cost: turn.cost,
            currency: turn.currency,
        }
    }

    pub(super) fn restore(saved: Saved) -> Self {
        let turn = Usage {
            context_tokens: saved.context_tokens,
            input_tokens: saved.input_tokens,
            output_tokens: saved.output_tokens,
            cost: saved.cost,
            currency: saved.currency,
        };
        Self { session_cost: saved.session_cost, before: saved.before, turn }
    }

    pub(super) fn begin_turn(&mut self) {
        self.before = self.session_cost;
        self.turn = Usage::default();
    }

    /// The turn's usage, if that is news.
    pub(super) fn update(&mut self, update: &UsageUpdate) -> Option<Usage> {
        let known = self.turn.clone();
        self.turn.context_tokens = Some(update.used);
        if let Some(cost) = &update.cost
            && cost.amount.is_finite()
            && cost.amount >= 0.0
            && is_unit(&cost.currency)
        {
            // A sum that shrinks has begun anew: what was before is not part of it.
            if cost.amount < self.before {
                self.before = 0.0;
            }
            self.session_cost = cost.amount;
            self.turn.cost = Some(cost.amount - self.before);
            self.turn.currency = Some(cost.currency.clone());
        }
        (self.turn != known).then(|| self.turn.clone())
    }

    /// The turn's usage with what its answer says.
    pub(super) fn end_turn(&mut self, tokens: &Tokens) -> Usage {
        // What was read from a cache or written to it was input as well.
        let cached = [tokens.cached_read_tokens, tokens.cached_write_tokens];
        let input = cached.into_iter().flatten().fold(tokens.input_tokens, u64::saturating_add);
        self.turn.input_tokens = Some(input);
        self.turn.output_tokens = Some(tokens.output_tokens);
        self.turn.clone()
    }
}

/// ISO 4217, or a word such as `credits`.
fn is_unit(unit: &str) -> bool {
    (1..=16).contains(&unit.len()) && unit.chars().all(|c| c.is_ascii_alphabetic())
}
