//! Access methods.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "access_method",
    query: include_str!("access_method.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["access_method", "access_method_12"] },
};

/// An access method.
#[derive(Debug)]
pub struct AccessMethod {
    is_table: bool,
    handler: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::AM, row.try_get("oid")?),
        parent: None,
        face: Face::new("ACCESS METHOD", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: None,
        table: None,
        definition: Box::new(AccessMethod { is_table: row.try_get("is_table")?, handler: row.try_get("handler")? }),
    });
    Ok(())
}

impl Definition for AccessMethod {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let kind = if self.is_table { "TABLE" } else { "INDEX" };
        let sql = format!("CREATE ACCESS METHOD {} TYPE {kind} HANDLER {}", object.face.target, self.handler);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
