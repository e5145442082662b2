//! The tracing targets that the log treats specially. Use cases and edges emit them; `log` sorts by
//! them.

/// Security and audit events.
///
/// Their fields are journal fields, named in full (`MESSAGE_ID`, `FLEET_EVENT`), and no filter holds
/// them back.
pub const AUDIT_TARGET: &str = "fleet_mcp::audit";

/// One answered request, for the access log.
///
/// Fields: `client`, `method`, `path`, `version`, `status`, and if known `bytes` and `user`. Goes
/// nowhere unless an access file is configured.
pub const ACCESS_TARGET: &str = "fleet_mcp::access";
