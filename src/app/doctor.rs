//! What was found when somebody looked whether everything is as it should be.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, or is open to others.
    Error,
    /// It will not work one day, or may be meant but rarely is.
    Warning,
    /// Worth knowing.
    Note,
    /// It could not be checked.
    Skipped,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Note, Self::Skipped];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Skipped => "skipped",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in a word that scripts can rely on: `token_file`.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so. Never holds a secret.
    pub what: String,
    /// Why it matters, or why it could not be checked.
    pub why: String,
    /// What mends it: a command where there is one.
    pub fix: Option<String>,
}

impl Finding {
    /// Something does not work, or is open to others.
    pub fn error(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (what, why, fix) = (what.into(), why.into(), Some(fix.into()));
        Self { check, severity: Severity::Error, what, why, fix }
    }

    /// The same, less bad.
    pub fn warning(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, what, why, fix) }
    }

    /// Worth knowing.
    pub fn note(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Note, ..Self::error(check, what, why, fix) }
    }

    /// What could not be checked, and why.
    pub fn skipped(check: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        let (what, why) = (what.into(), why.into());
        Self { check, severity: Severity::Skipped, what, why, fix: None }
    }
}

/// What came of all checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many checks found nothing.
    pub good: u64,
    /// What the others found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Takes down what a check has found.
    pub fn add(&mut self, found: impl IntoIterator<Item = Finding>) {
        let before = self.findings.len();
        self.findings.extend(found);
        self.good += u64::from(self.findings.len() == before);
    }
}
