//! Neither side may be a standby: a publication is made on the source, everything on the destination.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};

pub(super) async fn check(client: &Client, side: &'static str) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one("SELECT pg_catalog.pg_is_in_recovery()", &[])
        .await
        .map_err(|source| Error { check: "the recovery state", source })?;
    if !row.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    Ok(vec![instance_finding(
        Severity::Error,
        Code::InRecovery,
        side,
        format!("the {side} is a standby, on which nothing can be created"),
        format!("give its primary as the {side}, or promote it"),
    )])
}
