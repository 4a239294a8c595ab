//! Foreign servers.

use std::fmt::Write as _;

use tokio_postgres::Row;

use super::foreign_data_wrapper::{Options, looks_secret};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal};

/// The class.
pub const CLASS: Class = Class {
    name: "foreign_server",
    query: include_str!("foreign_server.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Privileges], states: "", fixtures: &["foreign"] },
};

/// A server.
#[derive(Debug)]
pub struct ForeignServer {
    wrapper: String,
    kind: Option<String>,
    version: Option<String>,
    options: Options,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    let options: Vec<String> = row.try_get::<_, Option<_>>("options")?.unwrap_or_default();
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::SERVER, row.try_get("oid")?),
        parent: None,
        face: Face::new("SERVER", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(ForeignServer {
            wrapper: row.try_get("wrapper")?,
            kind: row.try_get("type")?,
            version: row.try_get("version")?,
            options: Options::new(&options, looks_secret),
        }),
    });
    Ok(())
}

impl Definition for ForeignServer {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE {}", object.face);
        for (clause, value) in [("TYPE", &self.kind), ("VERSION", &self.version)] {
            if let Some(value) = value {
                // Writing to a String can't fail.
                let _ = write!(sql, " {clause} {}", literal(value).trim_start());
            }
        }
        let _ = write!(sql, " FOREIGN DATA WRAPPER {}", ident(&self.wrapper));
        drafts.push(self.options.after(Draft::create(object, Section::BeforeData, sql)));
    }
}
