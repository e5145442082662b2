//! Which events are wanted: the operator's filter on top of our own.

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};

/// How much libraries may say unless the operator names them.
///
/// rmcp logs each request at info, with the peer's address; the access log and the audit events say
/// that better.
const BUILT_IN: [(&str, LevelFilter); 6] = [
    ("rmcp", LevelFilter::OFF),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
    ("h2", LevelFilter::WARN),
    ("mio", LevelFilter::WARN),
];

/// Reads a filter. Without a bare level, info is the default.
pub(super) fn parse(filter: &str) -> Result<Targets, ParseError> {
    // `Targets` takes blanks for part of a name, and an empty directive for a target.
    let directives: Vec<&str> =
        filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let wanted: Targets = match directives.as_slice() {
        [] => Targets::new(),
        some => some.join(",").parse()?,
    };

    let default = wanted.default_level().unwrap_or(LevelFilter::INFO);
    Ok(Targets::new().with_targets(BUILT_IN).with_default(default).with_targets(wanted.iter()))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_stay_quiet_unless_named() {
        let cases = [
            ("info", "fleet_mcp::http", Level::INFO, true),
            ("info", "fleet_mcp::http", Level::DEBUG, false),
            ("", "fleet_mcp::http", Level::INFO, true),
            ("debug", "fleet_mcp::http", Level::DEBUG, true),
            ("debug", "rmcp::service", Level::ERROR, false),
            ("trace", "hyper::proto", Level::INFO, false),
            ("trace", "hyper::proto", Level::WARN, true),
            ("info,rmcp=warn", "rmcp::service", Level::WARN, true),
            ("info, rmcp=off,", "rmcp", Level::ERROR, false),
            ("rmcp::service=debug", "rmcp::service", Level::DEBUG, true),
            ("rmcp::service=debug", "rmcp::transport", Level::ERROR, false),
            ("rmcp::service=debug", "fleet_mcp", Level::INFO, true),
            ("off", "fleet_mcp::http", Level::ERROR, false),
            ("warn,fleet_mcp::auth=debug", "fleet_mcp::auth", Level::DEBUG, true),
        ];

        for (filter, target, level, expected) in cases {
            let targets = parse(filter).unwrap();
            assert_eq!(
                targets.would_enable(target, &level),
                expected,
                "{filter}: {target} {level}"
            );
        }
    }

    #[test]
    fn filter_with_an_unknown_level_is_refused() {
        assert!(parse("fleet_mcp=loud").is_err());
    }
}
