//! How it stands with an agent's program, and what comes after its end.

/// How it stands with an agent's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// There is none.
    Down,
    /// It is being started.
    Opening,
    /// It waits for a prompt.
    Open,
    /// It is in a turn.
    Turn,
    /// It was told to end its turn.
    Canceling,
    /// There is none, and the work is being published.
    Publishing,
    /// It is being ended.
    Closing(Then),
}

/// What comes after the end of an agent's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Rest,
    Reopen,
    /// Nothing is left: its session removes the workspace.
    Delete,
    /// It was to end before it was to be deleted: the workspace is still to be removed.
    Remove,
}
