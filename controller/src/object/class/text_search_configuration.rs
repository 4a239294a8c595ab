//! Text search configurations.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "text_search_configuration",
    query: include_str!("text_search_configuration.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "", fixtures: &["text_search"] },
};

/// A configuration.
#[derive(Debug)]
pub struct Configuration {
    parser: String,
    /// `token WITH dictionary, …`
    mappings: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TS_CONFIG, row.try_get("oid")?),
        parent: None,
        face: Face::new("TEXT SEARCH CONFIGURATION", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Configuration {
            parser: qualified(row.try_get("parser_schema")?, row.try_get("parser_name")?),
            mappings: row.try_get("mappings")?,
        }),
    });
    Ok(())
}

impl Definition for Configuration {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE {} (PARSER = {})", object.face, self.parser);
        drafts.push(Draft::create(object, Section::BeforeData, sql));
        for mapping in &self.mappings {
            let sql = format!("ALTER {} ADD MAPPING FOR {mapping}", object.face);
            drafts.push(Draft::about(object, Part::Setting, sql));
        }
    }
}
