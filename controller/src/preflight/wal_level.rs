//! The source's WAL must hold what logical decoding needs.

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, Error> {
    let row = client
        .query_one("SELECT pg_catalog.current_setting('wal_level') AS wal_level", &[])
        .await
        .map_err(|source| Error { check: "wal_level", source })?;
    Ok(judge(row.get("wal_level")))
}

fn judge(wal_level: &str) -> Vec<Finding> {
    if wal_level == "logical" {
        return Vec::new();
    }
    vec![instance_finding(
        Severity::Error,
        Code::WalLevel,
        "source: wal_level",
        format!("wal_level is {wal_level}, so that changes can't be decoded"),
        "on the source: ALTER SYSTEM SET wal_level = 'logical'; then restart it",
    )]
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_logical_will_do() {
        assert!(judge("logical").is_empty());
        assert_eq!(judge("replica")[0].code, "wal_level");
    }
}
