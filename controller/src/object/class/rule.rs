//! Rules.

use tokio_postgres::Row;

use super::trigger::Firing;
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "rule",
    query: include_str!("rule.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "disabled, replica, always (at the cutover)", fixtures: &["rule"] },
};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    definition: String,
    /// The table or view, qualified and quoted.
    table: String,
    relation: u32,
    firing: Firing,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let relation: u32 = row.try_get("relation")?;
    let (schema, table, name): (String, String, String) =
        (row.try_get("schema")?, row.try_get("table_name")?, row.try_get("name")?);
    let target = qualified(&schema, &table);
    let is_leaf = catalog.tables.get(&relation) == Some(&false);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::REWRITE, row.try_get("oid")?),
        parent: Some(ObjectId::class(relation)),
        face: Face::new("RULE", format!("{} ON {target}", ident(&name))),
        name: ObjectName { class: CLASS.name, schema, parent: table, name }.into(),
        owner: None,
        table: is_leaf.then_some(relation),
        definition: Box::new(Rule {
            definition: row.try_get("definition")?,
            table: target,
            relation,
            firing: Firing::new(row.try_get("state")?),
        }),
    });
    Ok(())
}

impl Definition for Rule {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let section = if context.catalog.is_partitioned(self.relation) { Section::AfterStreaming } else { Section::AfterData };
        let done = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE rulename = {} AND ev_class = pg_catalog.to_regclass({}))",
            literal(&object.name.name),
            literal(&self.table)
        );
        let sql = self.definition.trim_end().trim_end_matches(';').to_owned();
        drafts.push(Draft::create(object, section, sql).table(object.table).done_when(done));
        self.firing.statements(object, &self.table, "RULE", section, drafts);
    }
}
