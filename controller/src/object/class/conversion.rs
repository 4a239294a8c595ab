//! Conversions between encodings.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "conversion",
    query: include_str!("conversion.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "", fixtures: &["conversion"] },
};

/// A conversion.
#[derive(Debug)]
pub struct Conversion {
    source: String,
    target: String,
    /// Qualified and quoted.
    function: String,
    is_default: bool,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::CONVERSION, row.try_get("oid")?),
        parent: None,
        face: Face::new("CONVERSION", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Conversion {
            source: row.try_get("source")?,
            target: row.try_get("target")?,
            function: row.try_get("function")?,
            is_default: row.try_get("is_default")?,
        }),
    });
    Ok(())
}

impl Definition for Conversion {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let default = if self.is_default { "DEFAULT " } else { "" };
        let (source, target) = (literal(&self.source), literal(&self.target));
        let sql = format!("CREATE {default}CONVERSION {} FOR {source} TO {target} FROM {}", object.face.target, self.function);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
