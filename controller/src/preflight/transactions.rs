//! Transactions on the source that a new slot would wait for.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("transactions.sql"), &[])
        .await
        .map_err(|source| Error { check: "open transactions", source })?;
    let mut findings: Vec<Finding> = rows
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
        .collect();
    let row = client
        .query_one("SELECT current_user::text AS role, pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all", &[])
        .await
        .map_err(|source| Error { check: "open transactions", source })?;
    if !row.get::<_, bool>("sees_all") {
        let role = quote::ident(row.get("role"));
        findings.push(instance_finding(
            Severity::Info,
            Code::ActivityHidden,
            format!("source: role {role}"),
            "it does not see other roles' transactions: the copy may have to wait for one that is not named here",
            format!("on the source: GRANT pg_read_all_stats TO {role};"),
        ));
    }
    Ok(findings)
}
