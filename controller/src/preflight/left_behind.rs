//! What stays behind in the databases that every instance has, and the destination as well: `template1`, of which new databases are made, and
//! `postgres` where nothing of a user's makes it take part. A `pg_dumpall` would bring its contents over.

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{self, Endpoint, quote};

/// Looks into these databases.
pub async fn left_behind(endpoint: &Endpoint, databases: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut findings = Vec::new();
    for &database in databases {
        let session = match endpoint.connect(database).await {
            Ok(session) => session,
            // Nobody looks into it: then nobody of ours put anything there either, and who did knows of it.
            Err(error @ postgres::connect::Error::Connect { .. }) if !error.is_transient() => {
                tracing::debug!(database, %error, "not looked into");
                continue;
            }
            Err(error) => {
                findings.push(not_checked(database, &error.to_string()));
                continue;
            }
        };
        match session.query_one(include_str!("left_behind.sql"), &[]).await.and_then(|row| row.try_get("holds")) {
            Ok(holds) => found.push((database, holds)),
            Err(source) => {
                findings.push(not_checked(database, &Error { check: "what stays behind", source }.to_string()));
            }
        }
    }
    findings.extend(judge(&found));
    findings
}

fn not_checked(database: &str, reason: &str) -> Finding {
    let object = format!("source: database {}", quote::ident(database));
    database_finding(Severity::Warning, "", Code::CheckFailed, object, reason, "mend what the message names, and check again")
}

/// One finding for all that stays behind.
fn judge(found: &[(&str, Vec<String>)]) -> Option<Finding> {
    let holding: Vec<&(&str, Vec<String>)> = found.iter().filter(|(_, holds)| !holds.is_empty()).collect();
    if holding.is_empty() {
        return None;
    }
    let names: Vec<String> = holding.iter().map(|(name, _)| quote::ident(name)).collect();
    let told: Vec<String> = holding.iter().map(|(name, holds)| format!("{name} has {}", holds.join("; "))).collect();
    Some(database_finding(
        Severity::Warning,
        "",
        Code::ContentsLeft,
        format!("source: database {}", names.join(", ")),
        format!("the destination has its own, so this stays behind: {}", told.join(". ")),
        "do the same on the destination if it is wanted there (pg_dump of it shows how); to be rid of this, name it in databases.exclude of the mapping",
    ))
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn databases_with_nothing_in_them_are_no_trouble() {
        assert!(judge(&[("template1", Vec::new()), ("postgres", Vec::new())]).is_none());
        let one =
            judge(&[("template1", vec!["functions: 2".to_owned(), "settings: work_mem".to_owned()]), ("postgres", Vec::new())]);
        let one = one.expect("a finding");
        assert!(
            one.reason.contains("template1 has functions: 2; settings: work_mem") && !one.reason.contains("postgres"),
            "{}",
            one.reason
        );
    }
}
