//! Names that the server or pg-migrator keeps for itself.

use tokio_postgres::Client;

use super::{Error, database_finding};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{Kind, SideEffect};
use crate::postgres::quote;
use crate::stream::Names;

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "names", source }
}

/// Whether a publication or slot is in the place of ours.
pub async fn check(source: &Client, database: &str, names: &Names, effects: &[SideEffect]) -> Result<Vec<Finding>, Error> {
    let inserts = names.inserts();
    let row =
        source.query_one(include_str!("names_taken.sql"), &[&names.publication, &inserts, &names.slot]).await.map_err(failed)?;
    let is_ours = |kind: Kind, name: &str| effects.iter().any(|e| e.kind == kind && e.database == database && e.object == name);
    let mut findings = Vec::new();
    for (there, kind, code, what, name) in [
        (row.get("publication"), Kind::Publication, Code::PublicationExists, "publication", &names.publication),
        (row.get("inserts"), Kind::Publication, Code::PublicationExists, "publication", &inserts),
        (row.get("slot"), Kind::Slot, Code::SlotExists, "slot", &names.slot),
    ] {
        if there && !is_ours(kind, name) {
            findings.push(database_finding(
                Severity::Error,
                database,
                code,
                format!("source: {what} {name}"),
                format!("the source has a {what} of this name that was not made by this mapping"),
                format!("give the mapping another name, or drop the {what} on the source if nobody needs it"),
            ));
        }
    }
    Ok(findings)
}

/// Schemas with names that the server keeps for itself; a source may have been made to take them.
pub(super) async fn reserved_schemas(source: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let rows = source.query(include_str!("reserved_schemas.sql"), &[]).await.map_err(failed)?;
    Ok(rows
        .iter()
        .map(|row| {
            let name = quote::ident(row.get("name"));
            database_finding(
                Severity::Error,
                database,
                Code::ReservedName,
                format!("schema {name}"),
                "names that begin with pg_ belong to the server: the schema and what is in it are not carried over",
                format!("on the source: ALTER SCHEMA {name} RENAME TO …;"),
            )
        })
        .collect())
}
