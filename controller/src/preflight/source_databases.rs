//! Databases of the source that nobody can connect to: they would stay behind without a word.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("not_connectable.sql"), &[])
        .await
        .map_err(|source| Error { check: "the source's databases", source })?;
    Ok(rows
        .iter()
        .map(|row| {
            let name = quote::ident(row.get("name"));
            let (reason, fix) = if row.get("invalid") {
                (
                    "it is left from a DROP DATABASE that was interrupted, and is not carried over",
                    format!("on the source: DROP DATABASE {name};"),
                )
            } else {
                (
                    "it allows no connections, and is not carried over",
                    format!("if it is to be: on the source, ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true;"),
                )
            };
            let object = format!("source: database {name}");
            instance_finding(Severity::Warning, Code::DatabaseNotConnectable, object, reason, fix)
        })
        .collect())
}
