//! Text search templates.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "text_search_template",
    query: include_str!("text_search_template.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["text_search"] },
};

/// A template.
#[derive(Debug)]
pub struct Template {
    init: Option<String>,
    lexize: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TS_TEMPLATE, row.try_get("oid")?),
        parent: None,
        face: Face::new("TEXT SEARCH TEMPLATE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: None,
        table: None,
        definition: Box::new(Template { init: row.try_get("init")?, lexize: row.try_get("lexize")? }),
    });
    Ok(())
}

impl Definition for Template {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let init = self.init.as_ref().map(|init| format!("INIT = {init}, ")).unwrap_or_default();
        let sql = format!("CREATE {} ({init}LEXIZE = {})", object.face, self.lexize);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
