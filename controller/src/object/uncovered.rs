//! What the source holds and no class reads: said, never passed over in silence.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::id::{CatalogTable, ObjectId};
use super::{CLASSES, Catalog, Error, each_row};
use crate::finding::{Finding, Severity};

const QUERY: &str = include_str!("uncovered.sql");

/// How many objects of a class a finding names.
const NAMED: usize = 20;

/// Adds a finding for each kind of object that is present and that no class reads.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut left: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each_row(client, catalog.session(), "uncovered", QUERY, |row| {
        let class: String = row.try_get("class")?;
        let name: String = row.try_get("name")?;
        let id = row
            .try_get::<_, Option<u32>>("oid")?
            .map(|oid| Ok::<_, tokio_postgres::Error>(ObjectId::new(CatalogTable(row.try_get("catalog")?), oid)))
            .transpose()?;
        let ours = class == "publication" && catalog.ignored_publications.contains(&name);
        let covered = CLASSES.iter().any(|covered| covered.name == class);
        if !ours && !covered && !id.is_some_and(|id| catalog.is_member(id)) {
            left.entry(class).or_default().push(name);
        }
        Ok(())
    })
    .await?;
    for (class, names) in left {
        let more = names.len().saturating_sub(NAMED);
        let mut list = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more > 0 {
            list = format!("{list} and {more} more");
        }
        let class = class.replace('_', " ");
        catalog.findings.push(Finding {
            severity: Severity::Warning,
            database: String::new(),
            code: "class_not_supported",
            object: format!("{class}: {list}"),
            reason: format!("objects of the kind {class} are not carried over, and what depends on them will fail"),
            fix: "make them on the destination by hand after the migrated database was created, or before the cutover".to_owned(),
            statement: None,
        });
    }
    Ok(())
}
