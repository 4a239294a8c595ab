//! Composite types.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "composite",
    query: include_str!("composite.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["composite"],
    },
};

/// A composite type.
#[derive(Debug)]
pub struct Composite {
    /// The entry in `pg_class` that has its columns.
    pub relation: u32,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::new(CatalogTable::TYPE, row.try_get("oid")?);
    let relation = row.try_get("relation")?;
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.aliases.insert(ObjectId::class(relation), id);
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("TYPE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Composite { relation }),
    });
    Ok(())
}

impl Definition for Composite {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let columns: Vec<String> = context.catalog.columns_of(self.relation).iter().map(super::column::Column::head).collect();
        let sql = format!("CREATE TYPE {} AS (\n    {}\n)", object.face.target, columns.join(",\n    "));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
