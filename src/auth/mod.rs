//! Who may do what: secrets, tokens, scopes, the Authorization header, and the registry that
//! answers "whose secret is this?". Pure: no I/O, no clock, no runtime; time and randomness come
//! in as values.

pub mod form;
pub mod header;
pub mod name;
pub mod networks;
pub mod principal;
pub mod projects;
pub mod registry;
pub mod sampler;
pub mod scope;
pub mod secret;
pub mod source;
pub mod throttle;
pub mod token;

pub use form::Form;
pub use header::Refusal;
pub use name::TokenName;
pub use networks::Networks;
pub use principal::Principal;
pub use projects::Projects;
pub use registry::{Registry, Verdict};
pub use scope::{Scope, Scopes};
pub use secret::{Digest, Secret};
pub use source::Source;
pub use token::{Generation, Token};
