//! What `pg-migrator check` found, held against what the documentation says of findings.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::controller::Controller;
use crate::error::{Doing as _, Error, Result};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// The database, or nothing for the whole mapping.
    pub database: String,
    /// The kind.
    pub code: String,
    /// The object.
    pub object: String,
    /// What is the matter.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// What one `check` said.
#[derive(Debug)]
pub struct Checked {
    /// The exit code.
    pub code: i32,
    /// The findings of all mappings, in its order.
    pub findings: Vec<Finding>,
}

impl Controller {
    /// Asks `check --json`, and sees to what must hold of every answer: worst first, every code documented with that severity, every
    /// fix said, and exit code 1 exactly if there is an error.
    pub async fn check(&self) -> Result<Checked> {
        let answer = self.ask(&["check", "--json"]).await?;
        let broken = |what: String| Error::Broken(format!("{what}\nstdout:\n{}\nstderr:\n{}", answer.stdout, answer.stderr));
        let json: Value = serde_json::from_str(&answer.stdout).map_err(|error| broken(format!("check gave no JSON: {error}")))?;
        let documented = documented()?;
        let mut findings = Vec::new();
        for mapping in json["mappings"].as_array().into_iter().flatten() {
            let mut worst = 0;
            for finding in mapping["findings"].as_array().into_iter().flatten() {
                let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                let finding = Finding {
                    severity: text("severity"),
                    database: text("database"),
                    code: text("code"),
                    object: text("object"),
                    reason: text("reason"),
                    fix: text("fix"),
                };
                let rank = ["error", "warning", "info"].iter().position(|s| *s == finding.severity);
                let rank = rank.ok_or_else(|| broken(format!("an unknown severity: {finding:?}")))?;
                if rank < worst {
                    return Err(broken(format!("not the worst first: {finding:?}")));
                }
                worst = rank;
                let known = documented
                    .iter()
                    .any(|(code, severities)| *code == finding.code && severities.split(", ").any(|s| s == finding.severity));
                if !known || finding.fix.is_empty() || finding.object.is_empty() || finding.reason.is_empty() {
                    return Err(broken(format!("not as docs/findings.md has it, or a part is empty: {finding:?}")));
                }
                findings.push(finding);
            }
        }
        let expected = i32::from(findings.iter().any(|f| f.severity == "error"));
        if answer.code != expected {
            return Err(broken(format!("the exit code is {}, not {expected}", answer.code)));
        }
        Ok(Checked { code: answer.code, findings })
    }
}

impl Checked {
    /// Whether there is a finding like this, whose object contains `object`.
    pub fn has(&self, severity: &str, database: &str, code: &str, object: &str) -> bool {
        self.find(severity, database, code, object).is_some()
    }

    /// The first finding like this.
    pub fn find(&self, severity: &str, database: &str, code: &str, object: &str) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|f| f.severity == severity && f.database == database && f.code == code && f.object.contains(object))
    }

    /// Fails unless every one of these is there: severity, database, code, part of the object.
    pub fn must_have(&self, expected: &[(&str, &str, &str, &str)]) -> Result<()> {
        let missing: Vec<_> = expected.iter().filter(|(s, d, c, o)| !self.has(s, d, c, o)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let found: Vec<String> = self
            .findings
            .iter()
            .map(|f| format!("{} {:?} {} {}: {}", f.severity, f.database, f.code, f.object, f.reason))
            .collect();
        Err(Error::Broken(format!("check did not tell {missing:#?}\nbut:\n{}", found.join("\n"))))
    }

    /// The codes of a severity, each once.
    pub fn codes(&self, severity: &str) -> Vec<&str> {
        let mut codes: Vec<&str> = self.findings.iter().filter(|f| f.severity == severity).map(|f| f.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// The codes of `docs/findings.md`, with their severities as they stand there.
fn documented() -> Result<Vec<(String, String)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    let page = fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    Ok(rows
        .filter_map(|row| {
            let (code, rest) = row.split_once("` | ")?;
            Some((code.to_owned(), rest.split_once(" | ")?.0.to_owned()))
        })
        .collect())
}
