//! Security labels whose provider the destination has not loaded.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::Error;
use crate::finding::Finding;
use crate::provision::label_provider;

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "security labels", source }
}

pub(super) async fn check(source: &Client, destination: &Client, database: &str) -> Result<Vec<Finding>, Error> {
    let rows = source.query(include_str!("labels.sql"), &[]).await.map_err(failed)?;
    let providers: BTreeSet<String> = rows.iter().map(|row| row.get("provider")).collect();
    let missing = label_provider::missing(destination, providers).await.map_err(|error| failed(error.0))?;
    let of_missing = rows.iter().filter(|row| missing.contains(row.get::<_, &str>("provider")));
    Ok(of_missing
        .map(|row| {
            let objects: Vec<String> = row.get("objects");
            let total = usize::try_from(row.get::<_, i64>("total")).unwrap_or_default();
            label_provider::finding(database, row.get("provider"), &objects, total)
        })
        .collect())
}
