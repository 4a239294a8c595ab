//! Casts.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "cast",
    query: include_str!("cast.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["cast"] },
};

/// A cast.
#[derive(Debug)]
pub struct Cast {
    /// `WITH FUNCTION …`, `WITHOUT FUNCTION`, `WITH INOUT`.
    method: String,
    /// `AS ASSIGNMENT`, `AS IMPLICIT` or nothing.
    context: &'static str,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (source, target): (String, String) = (row.try_get("source")?, row.try_get("target")?);
    let function: (Option<&str>, Option<&str>, Option<&str>) =
        (row.try_get("function_schema")?, row.try_get("function_name")?, row.try_get("function_arguments")?);
    let method = match (row.try_get("method")?, function) {
        ("f", (Some(schema), Some(name), Some(arguments))) => format!("WITH FUNCTION {}({arguments})", qualified(schema, name)),
        ("i", _) => "WITH INOUT".to_owned(),
        _ => "WITHOUT FUNCTION".to_owned(),
    };
    let context = match row.try_get("context")? {
        "a" => " AS ASSIGNMENT",
        "i" => " AS IMPLICIT",
        _ => "",
    };
    let name = format!("({source} AS {target})");
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::CAST, row.try_get("oid")?),
        parent: None,
        face: Face::new("CAST", name.clone()),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: None,
        table: None,
        definition: Box::new(Cast { method, context }),
    });
    Ok(())
}

impl Definition for Cast {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE CAST {} {}{}", object.face.target, self.method, self.context);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
