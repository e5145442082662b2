//! Sessions with real hosts and real programs. The driver is a plain one: prompts are lines in, lines
//! out are messages.

mod bench;
mod endings;
mod streams;
mod workspaces;
