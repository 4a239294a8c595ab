//! What the source holds and no class has read: said, never passed over in silence.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::id::{CatalogTable, ObjectId};
use super::{Catalog, Error, each_row};
use crate::finding::{Code, Finding, Severity};

const QUERY: &str = include_str!("uncovered.sql");

/// How many objects of a class a finding names.
const NAMED: usize = 20;

/// Adds a finding for each kind of object of which some were not read.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut left: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each_row(client, catalog.session(), "uncovered", QUERY, |row| {
        let class: String = row.try_get("class")?;
        let name: String = row.try_get("name")?;
        let id = ObjectId::new(CatalogTable(row.try_get("catalog")?), row.try_get("oid")?);
        let ours = class == "publication" && catalog.ignored_publications.contains(&name);
        if !ours && catalog.object(id).is_none() && !catalog.aliases.contains_key(&id) && !catalog.is_member(id) {
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
            code: Code::ClassNotSupported,
            object: format!("{class}: {list}"),
            reason: format!("no {class} in the system's own schemas is carried over, and what depends on it will fail"),
            fix: "make them on the destination by hand after the migrated database was created, or before the cutover".to_owned(),
            statement: None,
        });
    }
    Ok(())
}
