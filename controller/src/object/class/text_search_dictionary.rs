//! Text search dictionaries. Files that they name (thesaurus, stop words) must be on the destination's disk.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "text_search_dictionary",
    query: include_str!("text_search_dictionary.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "", fixtures: &["text_search"] },
};

/// A dictionary.
#[derive(Debug)]
pub struct Dictionary {
    template: String,
    options: Option<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TS_DICT, row.try_get("oid")?),
        parent: None,
        face: Face::new("TEXT SEARCH DICTIONARY", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Dictionary {
            template: qualified(row.try_get("template_schema")?, row.try_get("template_name")?),
            options: row.try_get("options")?,
        }),
    });
    Ok(())
}

impl Definition for Dictionary {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let options = self.options.as_ref().map(|options| format!(", {options}")).unwrap_or_default();
        let sql = format!("CREATE {} (TEMPLATE = {}{options})", object.face, self.template);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
