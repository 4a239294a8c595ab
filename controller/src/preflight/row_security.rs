//! Row security that would hide rows from our role on the source.

use tokio_postgres::Client;

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one(include_str!("row_security.sql"), &[])
        .await
        .map_err(|source| Error { check: "row security", source })?;
    let tables: i64 = row.get("tables");
    if tables == 0 {
        return Ok(Vec::new());
    }
    let (first, role): (Vec<String>, String) = (row.get("first_tables"), quote::ident(row.get("role")));
    Ok(vec![database_finding(
        Severity::Error,
        database,
        Code::RowSecurity,
        format!("{tables} tables"),
        format!(
            "row security hides rows from the source's role {role} in {}; they can't be read in whole",
            listed(&first, tables)
        ),
        format!("on the source: ALTER ROLE {role} BYPASSRLS; or use a superuser"),
    )])
}
