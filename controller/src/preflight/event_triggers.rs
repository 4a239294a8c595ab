//! Event triggers of a source's database: they fire for the little that we do there, too.

use tokio_postgres::Client;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("event_triggers.sql"), &[])
        .await
        .map_err(|source| Error { check: "event triggers", source })?;
    Ok(rows
        .iter()
        .map(|row| {
            database_finding(
                Severity::Info,
                database,
                Code::EventTrigger,
                format!("event trigger {}", quote::ident(row.get("name"))),
                format!(
                    "on the source it fires at {} also for what the migration does there: a publication, and replica identities of \
                     tables without a key; on the destination it is made at the cutover",
                    row.get::<_, &str>("event")
                ),
                "nothing, if its function lets ALTER TABLE and CREATE PUBLICATION of our role pass",
            )
        })
        .collect())
}
