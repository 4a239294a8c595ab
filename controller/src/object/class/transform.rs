//! Transforms: how a language sees a type.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "transform",
    query: include_str!("transform.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["language"] },
};

/// A transform.
#[derive(Debug)]
pub struct Transform {
    /// Functions with their argument types, qualified and quoted.
    from_sql: Option<String>,
    to_sql: Option<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (data_type, language): (String, String) = (row.try_get("type")?, row.try_get("language")?);
    let target = format!("FOR {data_type} LANGUAGE {}", ident(&language));
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TRANSFORM, row.try_get("oid")?),
        parent: None,
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name: target.clone() }.into(),
        face: Face::new("TRANSFORM", target),
        owner: None,
        table: None,
        definition: Box::new(Transform { from_sql: row.try_get("from_sql")?, to_sql: row.try_get("to_sql")? }),
    });
    Ok(())
}

impl Definition for Transform {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let from = self.from_sql.iter().map(|function| format!("FROM SQL WITH FUNCTION {function}"));
        let to = self.to_sql.iter().map(|function| format!("TO SQL WITH FUNCTION {function}"));
        let functions: Vec<String> = from.chain(to).collect();
        let sql = format!("CREATE TRANSFORM {} ({})", object.face.target, functions.join(", "));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
