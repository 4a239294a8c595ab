//! Providers of security labels: modules that a server has loaded, or has not. A label of one that is not loaded can't be set, which is
//! told once for the provider and not for every label. A warning: without its provider a label has no effect, so nothing else waits for it. It
//! is tried again until the cutover, which leaves it out.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::finding::{Code, Finding, Severity};
use crate::plan::draft::Part;
use crate::plan::{Section, Statement};
use crate::postgres::{quote, retry};

/// The destination does not answer.
#[derive(Debug, thiserror::Error)]
#[error("can't look up which providers of security labels the destination has loaded: {}", retry::message(.0))]
pub struct Error(#[source] pub tokio_postgres::Error);

/// What the name of a provider follows in a finding.
const OBJECT: &str = "security label provider ";

/// So many labelled objects are named.
const NAMED: usize = 10;

/// Which of these providers the server behind `client` has not loaded, for sessions like this one.
pub async fn missing(client: &Client, providers: BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let mut missing = BTreeSet::new();
    for provider in providers {
        // No catalog lists them. The server looks for the provider first, and then for a schema that no user can make.
        let question = format!("SECURITY LABEL FOR {} ON SCHEMA pg_migrator_no_such_schema IS NULL", quote::ident(&provider));
        match client.batch_execute(&question).await {
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                missing.insert(provider);
            }
            Err(error) if error.code().is_none() => return Err(Error(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(missing)
}

/// What is told of labels that would be set at the cutover, in vain.
pub async fn at_cutover(client: &Client, database: &str, statements: &[Statement]) -> Result<Vec<Finding>, Error> {
    let mut labelled: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for statement in statements {
        if let Some(provider) = waiting_for_cutover(statement) {
            labelled.entry(provider).or_default().push(statement.object.to_string());
        }
    }
    let missing = missing(client, labelled.keys().cloned().collect()).await?;
    let of_missing = labelled.iter().filter(|(provider, _)| missing.contains(*provider));
    Ok(of_missing.map(|(provider, objects)| finding(database, provider, objects, objects.len())).collect())
}

/// The statements of the cutover without the labels that can't be set: they would fail, and all with them.
pub async fn without_missing(client: &Client, mut statements: Vec<Statement>) -> Result<Vec<Statement>, Error> {
    let missing = missing(client, statements.iter().filter_map(waiting_for_cutover).collect()).await?;
    statements.retain(|statement| waiting_for_cutover(statement).is_none_or(|provider| !missing.contains(&provider)));
    Ok(statements)
}

/// The provider of the label that a statement sets at the cutover, if it sets one.
fn waiting_for_cutover(statement: &Statement) -> Option<String> {
    let sets = statement.section == Section::AtCutover && statement.part == Part::Label;
    if sets { of_statement(&statement.sql) } else { None }
}

/// The provider of a label that one of our statements sets.
fn of_statement(sql: &str) -> Option<String> {
    let quoted = sql.strip_prefix("SECURITY LABEL FOR \"")?;
    let (provider, _) = quoted.split_once("\" ON ")?;
    Some(provider.replace("\"\"", "\""))
}

/// The provider that a finding says is missing.
pub fn of_finding(finding: &Finding) -> Option<String> {
    let quoted = finding.object.strip_prefix(OBJECT)?.strip_prefix('"')?.strip_suffix('"')?;
    Some(quoted.replace("\"\"", "\""))
}

/// The provider for want of which a label could not be set, by the server's message (`ExecSecLabelStmt` in `commands/seclabel.c`).
pub fn not_loaded(message: &str) -> Option<&str> {
    message.strip_prefix("security label provider \"")?.strip_suffix("\" is not loaded")
}

/// What is told of a provider that is missing; `objects` are all that have a label of it, or the first of so many (`total`).
pub fn finding(database: &str, provider: &str, objects: &[String], total: usize) -> Finding {
    let named = &objects[..objects.len().min(NAMED)];
    let more = total.saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: Code::LabelProviderMissing,
        object: format!("{OBJECT}{}", quote::ident(provider)),
        reason: format!("the destination has not loaded it, so its labels can't be set there: {}{more}", named.join(", ")),
        fix: format!(
            "load its library on the destination before the cutover (shared_preload_libraries or session_preload_libraries), then the labels \
             are set by themselves; or do without them; or, on the source, take them away: SECURITY LABEL FOR {} ON … IS NULL",
            quote::ident(provider)
        ),
        statement: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_read_from_the_servers_words() {
        assert_eq!(not_loaded("security label provider \"a \"b\" c\" is not loaded"), Some("a \"b\" c"));
        assert_eq!(not_loaded("invalid security label"), None);
        assert_eq!(of_statement("SECURITY LABEL FOR \"a \"\"b\" ON PUBLICATION \"p\" IS 'x'").as_deref(), Some("a \"b"));
    }

    #[test]
    fn a_provider_is_told_with_the_first_of_its_objects() {
        let objects: Vec<String> = (0..30).map(|n| format!("table t{n:02}")).collect();
        let finding = finding("shop", "it's", &objects, 30);
        assert_eq!(finding.object, "security label provider \"it's\"");
        assert_eq!(of_finding(&finding).as_deref(), Some("it's"));
        assert!(finding.reason.ends_with("table t09 and 20 more"), "{}", finding.reason);
        let few = super::finding("shop", "it's", &objects[..2], 2);
        assert!(few.reason.ends_with("there: table t00, table t01"), "{}", few.reason);
    }
}
