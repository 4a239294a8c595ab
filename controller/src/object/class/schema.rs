//! Schemas. `public` is born with the database, so it is brought to the source's state: owner, privileges, name, or gone.

use tokio_postgres::Row;

use crate::object::{Catalog, CatalogTable, Class, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class { name: "schema", query: include_str!("schema.sql"), read };

/// The OID of the schema that every database is born with.
pub const PUBLIC: u32 = 2200;

/// A schema.
#[derive(Debug)]
pub enum Schema {
    /// Made by a user.
    Made,
    /// `public`, perhaps under another name.
    Public,
    /// `public` was dropped.
    PublicGone,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let oid: u32 = row.try_get("oid")?;
    let name: Option<String> = row.try_get("name")?;
    let definition = match (oid, &name) {
        (PUBLIC, None) => Schema::PublicGone,
        (PUBLIC, Some(_)) => Schema::Public,
        _ => Schema::Made,
    };
    let name = name.unwrap_or_else(|| "public".to_owned());
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::NAMESPACE, oid),
        parent: None,
        face: Face::new("SCHEMA", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name },
        owner: row.try_get("owner")?,
        table: None,
        definition: Box::new(definition),
    });
    Ok(())
}

impl Definition for Schema {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = match self {
            Self::Made => format!("CREATE SCHEMA {}", object.face.target),
            Self::Public if object.name.name == "public" => return,
            Self::Public => format!("ALTER SCHEMA \"public\" RENAME TO {}", object.face.target),
            Self::PublicGone => "DROP SCHEMA IF EXISTS \"public\"".to_owned(),
        };
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
