//! The targets that the log treats in a way of its own.

/// Security events: fields named in full, never filtered out.
pub const AUDIT_TARGET: &str = "fleet_mcp::audit";
/// One event a request, for the access log.
pub const ACCESS_TARGET: &str = "fleet_mcp::access";
