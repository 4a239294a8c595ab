//! Tablespaces, for every class alike: what is in one of its own is made while that one is the session's default.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::{Catalog, Error, ObjectId, each_row};
use crate::plan::draft::{Context, Draft, Part};
use crate::postgres::quote::ident;

/// Reads which relations are in a tablespace of their own.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut found = HashMap::new();
    each_row(client, catalog.session(), "tablespace", include_str!("tablespace.sql"), |row| {
        found.insert(ObjectId::class(row.try_get("oid")?), row.try_get("tablespace")?);
        Ok(())
    })
    .await?;
    catalog.tablespaces = found;
    Ok(())
}

/// Has tables, indexes, keys and materialized views made where they belong. As in pg_dump, it is the session's default that says
/// where: the server's own definitions of indexes and keys leave no place for it.
pub(crate) fn place(context: &Context<'_>, drafts: &mut [Draft]) {
    let catalog = context.catalog;
    let placed: HashMap<ObjectId, &str> = catalog
        .tablespaces
        .iter()
        .filter_map(|(id, tablespace)| {
            let to = context.options.tablespaces.get(tablespace)?;
            // The index of a key is made with its constraint.
            Some((*catalog.aliases.get(id).unwrap_or(id), to.as_str()))
        })
        .collect();
    if placed.is_empty() {
        return;
    }
    for draft in drafts.iter_mut().filter(|draft| draft.part == Part::Create) {
        if let Some(to) = placed.get(&draft.id) {
            draft.sql = format!("SET default_tablespace = {};\n{}\n;\nSET default_tablespace = ''", ident(to), draft.sql);
        }
    }
}
