//! Findings: what an operator should know or do, with object, reason and fix. Their kinds are listed in [`code`].

pub mod code;
pub mod document;

pub use code::Code;

use serde::Serialize;

/// How much a finding matters. Sorted with the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The thing named can't be migrated as things stand.
    Error,
    /// It will work, but not as one may expect.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word used in SQL and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The database it is about; empty for the whole mapping.
    pub database: String,
    /// What kind it is: `wal_level`, `database_exists`, `statement_failed`, …
    pub code: Code,
    /// The object, named so that an operator finds it.
    pub object: String,
    /// What is the matter, with the server's own words where there are any.
    pub reason: String,
    /// What to do about it: SQL or words.
    pub fix: String,
    /// The statement that failed, where one did. Never one that carries a password.
    pub statement: Option<String>,
}
