//! Collations whose locale the destination does not know: the database's own, and those of the system that something in it is sorted by.
//! Either costs what uses it, and nothing else.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row};

use super::locale::{self, Lack};
use super::{Error, database_finding, listed};
use crate::finding::{Finding, Severity};
use crate::provision::databases::Definition;
use crate::provision::system_collation;

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "collations' locales", source }
}

/// Whether a finding is about a collation, and not about the locale of a whole database.
pub(super) fn is_of_collation(object: &str) -> bool {
    object.starts_with("collation ")
}

pub(super) async fn check(source: &Client, destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let rows = source.query(include_str!("collation_locales.sql"), &[]).await.map_err(failed)?;
    let mut findings = Vec::new();
    // Many collations may be of one locale.
    let mut asked: BTreeMap<(String, String, Option<String>), Option<Lack>> = BTreeMap::new();
    for row in &rows {
        if row.get("is_system") {
            if !has_system_collation(destination, row, &definition.encoding).await? {
                findings.push(system_collation(row, &definition.name));
            }
            continue;
        }
        let provider: &str = row.get("provider");
        let locales: Vec<String> = match provider {
            "c" => vec![row.get("collate"), row.get("ctype")],
            _ => vec![row.get::<_, Option<String>>("locale").unwrap_or_default()],
        };
        for locale in locales {
            let question = (provider.to_owned(), locale, row.get::<_, Option<String>>("rules"));
            if !asked.contains_key(&question) {
                let lack = locale::lack(destination, provider, &question.1, question.2.as_deref()).await?;
                asked.insert(question.clone(), lack);
            }
            if let Some(Some(lack)) = asked.get(&question) {
                findings.push(own_collation(row, lack, &definition.name));
                break;
            }
        }
    }
    Ok(findings)
}

/// Whether the destination's system collations have one of this name for this encoding.
async fn has_system_collation(destination: &Client, row: &Row, encoding: &str) -> Result<bool, Error> {
    let name: &str = row.get("name");
    let there = destination.query_one(include_str!("system_collation.sql"), &[&name, &encoding]).await.map_err(failed)?;
    Ok(there.get("is_there"))
}

fn system_collation(row: &Row, database: &str) -> Finding {
    let users: Vec<String> = row.get("users");
    let reason =
        format!("the destination's system collations do not have it; sorted by it: {}", listed(&users, row.get("total")));
    system_collation::finding(database, row.get("name"), row.get("locale"), reason)
}

fn own_collation(row: &Row, lack: &Lack, database: &str) -> Finding {
    let users: Vec<String> = row.get("users");
    let users = if users.is_empty() { String::new() } else { format!("; sorted by it: {}", listed(&users, row.get("total"))) };
    database_finding(
        Severity::Error,
        database,
        lack.code,
        format!("collation {}", row.get::<_, &str>("object")),
        format!("{}{users}", lack.reason),
        lack.fix.clone(),
    )
}
