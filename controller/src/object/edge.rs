//! Dependencies, as `pg_depend` records them.

use tokio_postgres::Client;

use super::id::{CatalogTable, ObjectId};
use super::{Catalog, Error, each_row};

/// Why one object depends on another: `pg_depend.deptype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// `n`: can't be dropped before.
    Normal,
    /// `a`: dropped along with it.
    Auto,
    /// `i`: part of it (before 11 also: the partition's half of a partitioned index).
    Internal,
    /// `e`: made by the extension.
    Extension,
    /// `x`: dropped along with the extension.
    AutoExtension,
    /// `P`, `S` and 11's `I`: the partition's half of a partitioned index, constraint or trigger.
    Partition,
}

/// `from` depends on `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The object that needs the other.
    pub from: ObjectId,
    /// The object that must be there first.
    pub to: ObjectId,
    /// Why.
    pub kind: EdgeKind,
}

const QUERY: &str = include_str!("edge.sql");

/// Reads the dependencies among objects that are not part of every database.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    let mut edges = Vec::new();
    each_row(client, catalog.session(), "dependency", QUERY, |row| {
        let kind = match row.try_get::<_, &str>("kind")? {
            "a" => EdgeKind::Auto,
            "i" => EdgeKind::Internal,
            "e" => EdgeKind::Extension,
            "x" => EdgeKind::AutoExtension,
            "P" | "S" | "I" => EdgeKind::Partition,
            _ => EdgeKind::Normal,
        };
        edges.push(Edge {
            from: ObjectId::new(CatalogTable(row.try_get("from_catalog")?), row.try_get("from_oid")?),
            to: ObjectId::new(CatalogTable(row.try_get("to_catalog")?), row.try_get("to_oid")?),
            kind,
        });
        Ok(())
    })
    .await?;
    catalog.set_edges(edges);
    Ok(())
}
