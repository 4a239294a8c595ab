//! Schemas. `public` is born with the database, so it is brought to the source's state: owner, privileges, or gone.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "schema",
    query: include_str!("schema.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["schema", "acl"],
    },
};

/// The schema that every database is born with.
pub const PUBLIC: &str = "public";

/// A schema.
#[derive(Debug)]
pub enum Schema {
    /// Made by a user.
    Made,
    /// `public`.
    Public,
    /// `public` was dropped or renamed.
    PublicGone,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let oid: u32 = row.try_get("oid")?;
    let name: String = row.try_get("name")?;
    let definition = match (oid, name.as_str()) {
        (0, _) => Schema::PublicGone,
        (_, PUBLIC) => Schema::Public,
        _ => Schema::Made,
    };
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::NAMESPACE, oid),
        parent: None,
        face: Face::new("SCHEMA", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: row.try_get("owner")?,
        table: None,
        definition: Box::new(definition),
    });
    Ok(())
}

impl Definition for Schema {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = match self {
            Self::Made => format!("CREATE SCHEMA {}", object.face.target),
            // It is born with a comment.
            Self::Public if context.catalog.comments.iter().any(|comment| comment.on == object.id) => return,
            Self::Public => {
                drafts.push(Draft::about(object, Part::Comment, format!("COMMENT ON SCHEMA {} IS NULL", object.face.target)));
                return;
            }
            Self::PublicGone => format!("DROP SCHEMA IF EXISTS {}", object.face.target),
        };
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
