//! Publications of the source's users.
//!
//! They come at the cutover: a publication makes the server refuse updates and deletes of a published table whose replica
//! identity doesn't fit, and that is another one while the table streams.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal};

/// The class.
pub const CLASS: Class = Class {
    name: "publication",
    query: include_str!("publication.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label],
        states: "made at the cutover",
        fixtures: &["publication", "partition_13", "publication_15"],
    },
};

/// A publication.
#[derive(Debug)]
pub struct Publication {
    all_tables: bool,
    via_root: bool,
    /// `insert, update`
    operations: String,
    /// `TABLE ONLY …`, `TABLES IN SCHEMA …`
    members: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    if catalog.ignored_publications.contains(&name) {
        return Ok(());
    }
    let mut members: Vec<String> = row.try_get("tables")?;
    members.extend(row.try_get::<_, Vec<String>>("schemas")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::PUBLICATION, row.try_get("oid")?),
        parent: None,
        face: Face::new("PUBLICATION", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Publication {
            all_tables: row.try_get("all_tables")?,
            via_root: row.try_get("via_root")?,
            operations: row.try_get("operations")?,
            members,
        }),
    });
    Ok(())
}

impl Definition for Publication {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE {}", object.face);
        // Writing to a String can't fail.
        if self.all_tables {
            sql.push_str(" FOR ALL TABLES");
        } else if !self.members.is_empty() {
            let _ = write!(sql, " FOR {}", self.members.join(", "));
        }
        let _ = write!(sql, " WITH (publish = '{}'", self.operations);
        if self.via_root {
            sql.push_str(", publish_via_partition_root = true");
        }
        sql.push(')');
        let done =
            format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {})", literal(&object.name.name));
        let draft = Draft::create(object, Section::AtCutover, sql).done_when(done);
        drafts.push(draft.undo(format!("DROP PUBLICATION IF EXISTS {}", object.face.target)));
    }
}
