//! Transactions on the source that a new slot would wait for.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("transactions.sql"), &[])
        .await
        .map_err(|source| Error { check: "open transactions", source })?;
    Ok(rows
        .iter()
        .map(|row| {
            let kind: &str = row.get("kind");
            let code = if kind == "prepared" { Code::PreparedTransaction } else { Code::LongTransaction };
            let what: &str = row.get("what");
            instance_finding(
                Severity::Warning,
                code,
                format!("source: {}", row.get::<_, &str>("object")),
                format!("{what}; the copy can't begin before it has ended"),
                row.get::<_, &str>("fix"),
            )
        })
        .collect())
}
