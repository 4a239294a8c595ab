//! Extensions, in the destination's own version of them; their members come with them.

use tokio_postgres::Row;

use crate::finding::{Code, Finding, Severity};
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "extension",
    query: include_str!("extension.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["extension"] },
};

/// An extension.
#[derive(Debug)]
pub struct Extension {
    /// The schema of its members.
    pub schema: String,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    let configuration: Vec<String> = row.try_get("configuration")?;
    if !configuration.is_empty() {
        catalog.findings.push(Finding {
            severity: Severity::Info,
            database: String::new(),
            code: Code::ExtensionConfiguration,
            object: format!("extension {}", ident(&name)),
            reason: format!(
                "users keep rows in tables that the extension made; they are carried beside the stream: {}",
                configuration.join(", ")
            ),
            fix: "nothing; the check carried_beside in migrator.cutover_checks says when they were last copied".to_owned(),
            statement: None,
        });
    }
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::EXTENSION, row.try_get("oid")?),
        parent: None,
        face: Face::new("EXTENSION", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: None,
        table: None,
        definition: Box::new(Extension { schema: row.try_get("schema")? }),
    });
    Ok(())
}

impl Definition for Extension {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}", object.face.target, ident(&self.schema));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
