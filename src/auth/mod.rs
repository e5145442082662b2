//! Who may do what: secrets, tokens, scopes, the Authorization header, and the registry that
//! answers "whose secret is this?". Pure: no I/O, no clock, no runtime; time and randomness come
//! in as values.

pub mod header;
pub mod principal;
pub mod registry;
pub mod sampler;
pub mod scope;
pub mod secret;
pub mod token;

pub use principal::Principal;

pub use scope::{Scope, Scopes};
pub use secret::{Digest, Secret};
pub use token::Token;
