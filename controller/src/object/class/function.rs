//! Functions and procedures, as the server spells them.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "function",
    query: include_str!("function.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["function", "function_11", "function_14"],
    },
};

/// A function or procedure.
#[derive(Debug)]
pub struct Function {
    /// `CREATE OR REPLACE …`
    pub definition: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let arguments: String = row.try_get("arguments")?;
    let keyword = if row.try_get("is_procedure")? { "PROCEDURE" } else { "FUNCTION" };
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::PROC, row.try_get("oid")?),
        parent: None,
        face: Face::new(keyword, format!("{}({arguments})", qualified(&schema, &name))),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name: format!("{name}({arguments})") }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Function { definition: row.try_get("definition")? }),
    });
    Ok(())
}

impl Definition for Function {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        drafts.push(Draft::create(object, Section::BeforeData, self.definition.trim_end().to_owned()));
    }
}
