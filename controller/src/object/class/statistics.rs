//! Extended statistics: what is to be gathered, not what was.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "statistics",
    query: include_str!("statistics.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment],
        states: "statistics target",
        fixtures: &["statistics", "statistics_13", "statistics_14"],
    },
};

/// Extended statistics on a table.
#[derive(Debug)]
pub struct Statistics {
    schema: String,
    definition: String,
    target: Option<i32>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let relation: u32 = row.try_get("relation")?;
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let is_leaf = catalog.tables.get(&relation) == Some(&false);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::STATISTIC_EXT, row.try_get("oid")?),
        parent: Some(ObjectId::class(relation)),
        face: Face::new("STATISTICS", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema: schema.clone(), parent: row.try_get("table_name")?, name }.into(),
        owner: Some(row.try_get("owner")?),
        table: is_leaf.then_some(relation),
        definition: Box::new(Statistics { schema, definition: row.try_get("definition")?, target: row.try_get("target")? }),
    });
    Ok(())
}

impl Definition for Statistics {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let done = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace \
             WHERE s.stxname = {} AND n.nspname = {})",
            literal(&object.name.name),
            literal(&self.schema)
        );
        drafts.push(Draft::create(object, Section::AfterData, self.definition.clone()).table(object.table).done_when(done));
        if let Some(target) = self.target {
            let sql = format!("ALTER STATISTICS {} SET STATISTICS {target}", object.face.target);
            drafts.push(Draft::about(object, Part::Setting, sql).section(Section::AfterData).table(object.table));
        }
    }
}
