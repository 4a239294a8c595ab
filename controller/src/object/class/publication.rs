//! Publications of the source's users.
//!
//! They come at the cutover: a publication makes the server refuse updates and deletes of a published table whose replica
//! identity doesn't fit, and that is another one while the table streams. What they publish is added member by member, so that one that is
//! missing costs nothing but itself.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
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
    members: Vec<Member>,
}

/// What a publication publishes.
#[derive(Debug)]
struct Member {
    /// A table, or a schema.
    id: ObjectId,
    /// Qualified and quoted.
    name: String,
    /// Of a table: ` (columns) WHERE (condition)`.
    clause: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    if catalog.ignored_publications.contains(&name) {
        return Ok(());
    }
    let (tables, oids): (Vec<bool>, Vec<u32>) = (row.try_get("tables")?, row.try_get("oids")?);
    let (names, clauses): (Vec<String>, Vec<String>) = (row.try_get("names")?, row.try_get("clauses")?);
    let members = tables.into_iter().zip(oids).zip(names.into_iter().zip(clauses)).map(|((is_table, oid), (name, clause))| {
        let catalog = if is_table { CatalogTable::CLASS } else { CatalogTable::NAMESPACE };
        Member { id: ObjectId::new(catalog, oid), name, clause }
    });
    let members = members.collect();
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
        let of = if self.all_tables { " FOR ALL TABLES" } else { "" };
        let via_root = if self.via_root { ", publish_via_partition_root = true" } else { "" };
        let sql = format!("CREATE {}{of} WITH (publish = '{}'{via_root})", object.face, self.operations);
        let done =
            format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = {})", literal(&object.name.name));
        let draft = Draft::create(object, Section::AtCutover, sql).done_when(done);
        drafts.push(draft.undo(format!("DROP PUBLICATION IF EXISTS {}", object.face.target)));
        for member in &self.members {
            let (kind, members, column, of_name) = if member.id.catalog == CatalogTable::CLASS {
                ("TABLE ONLY", "pg_publication_rel WHERE prpubid", "prrelid", "to_regclass")
            } else {
                ("TABLES IN SCHEMA", "pg_publication_namespace WHERE pnpubid", "pnnspid", "to_regnamespace")
            };
            let sql = format!("ALTER {} ADD {kind} {}{}", object.face, member.name, member.clause);
            let done = format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.{members} = (SELECT oid FROM pg_catalog.pg_publication WHERE pubname = {}) \
                 AND {column} = pg_catalog.{of_name}({}))",
                literal(&object.name.name),
                literal(&member.name)
            );
            // As in pg_dump, the owner comes first: one who is no superuser any more could not have a publication of schemas given.
            let draft = Draft::about(object, Part::Setting, sql).section(Section::AtCutover).done_when(done);
            let name = ObjectName {
                class: CLASS.name,
                schema: String::new(),
                parent: object.name.name.clone(),
                name: member.name.clone(),
            };
            let draft = Draft { name: name.into(), ..draft };
            drafts.push(draft.needs(object.id, Part::Owner).needs(member.id, Part::Create));
        }
    }
}
