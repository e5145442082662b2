//! What a turn costs, as far as the program tells.

use agent_client_protocol::v1::schema::{Usage as Tokens, UsageUpdate};
use serde::{Deserialize, Serialize};

use crate::fleet::Usage;

/// The session's cost is told as a sum; the turn's is what was added since it began.
#[derive(Debug)]
pub(super) struct Spending {
    /// `None` while a resumed session has not told its sum: it may carry over what was before.
    session_cost: Option<f64>,
    before: Option<f64>,
    turn: Usage,
}

/// It as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    session_cost: Option<f64>,
    before: Option<f64>,
    context_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost: Option<f64>,
    currency: Option<String>,
}

impl Spending {
    /// A session's that has cost nothing yet.
    pub(super) fn new() -> Self {
        Self { session_cost: Some(0.0), before: Some(0.0), turn: Usage::default() }
    }

    /// The session is one that was before. Until its sum is told once, nobody knows what a turn of it
    /// has cost, and no cost is better than one that is wrong.
    pub(super) fn resume(&mut self) {
        self.session_cost = None;
        self.before = None;
    }

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
            if self.before.is_some_and(|before| cost.amount < before) {
                self.before = Some(0.0);
            }
            self.session_cost = Some(cost.amount);
            if let Some(before) = self.before {
                self.turn.cost = Some(cost.amount - before);
                self.turn.currency = Some(cost.currency.clone());
            }
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

#[cfg(test)]
mod tests {
    use agent_client_protocol::v1::schema::Cost;

    use super::*;

    fn told(spending: &mut Spending, sum: f64) -> Option<f64> {
        let mut update = UsageUpdate::new(10, 100);
        update.cost = Some(Cost::new(sum, "USD"));
        spending.update(&update).and_then(|usage| usage.cost)
    }

    #[test]
    fn a_turn_costs_what_the_sum_grew_by() {
        let mut spending = Spending::new();

        spending.begin_turn();
        assert_eq!(told(&mut spending, 0.25), Some(0.25));
        spending.begin_turn();
        assert_eq!(told(&mut spending, 1.0), Some(0.75));
        spending.begin_turn();
        assert_eq!(told(&mut spending, 0.5), Some(0.5), "the sum has begun anew");
    }

    #[test]
    fn what_a_resumed_session_carries_over_is_no_turns_cost() {
        let mut spending = Spending::new();
        spending.resume();

        spending.begin_turn();
        assert_eq!(told(&mut spending, 1.0), None, "how much of it is this turn's?");
        spending.begin_turn();
        assert_eq!(told(&mut spending, 1.25), Some(0.25));
    }

    #[test]
    fn a_resumed_session_that_tells_its_sum_first_has_all_costs() {
        let mut spending = Spending::new();
        spending.resume();

        told(&mut spending, 1.0);
        spending.begin_turn();
        assert_eq!(told(&mut spending, 1.25), Some(0.25));
    }
}
