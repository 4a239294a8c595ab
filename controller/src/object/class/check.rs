//! Check constraints of tables and domains: within the definition of what they check, or after it where that is not possible.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "check",
    query: include_str!("check.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "not valid", fixtures: &["constraint", "table", "domain"] },
};

/// A check constraint, as its table or domain sees it.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its identity.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// `CHECK (…)`, with `NO INHERIT` and `NOT VALID` where they apply.
    pub definition: String,
    /// Whether every row was checked.
    pub validated: bool,
    /// Whether it is defined here and not only inherited.
    pub is_local: bool,
    /// Whether it is a partition's, which is made with its parent's checks to be attached.
    pub of_partition: bool,
}

/// A check constraint as an object: it may have a comment, and may be added apart.
#[derive(Debug)]
struct CheckObject {
    check: Check,
    /// Qualified and quoted.
    parent: String,
}

impl Check {
    /// Whether it stands within `CREATE TABLE` or `CREATE DOMAIN`. A partition states its parent's checks too, to be attached.
    pub fn is_inline(&self, context: &Context<'_>) -> bool {
        self.validated && (self.is_local || self.of_partition) && !context.repairs.apart.contains(&self.id)
    }

    /// Whether it comes with the check of the parent, wherever that stands.
    pub fn comes_with_parent(&self) -> bool {
        !self.is_local && !self.of_partition
    }
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (relation, data_type): (u32, u32) = (row.try_get("relation")?, row.try_get("type")?);
    let parent = if relation != 0 { ObjectId::class(relation) } else { ObjectId::new(CatalogTable::TYPE, data_type) };
    let (schema, parent_name): (String, String) = (row.try_get("schema")?, row.try_get("parent")?);
    let check = Check {
        id: ObjectId::new(CatalogTable::CONSTRAINT, row.try_get("oid")?),
        name: row.try_get("name")?,
        definition: row.try_get("definition")?,
        validated: row.try_get("validated")?,
        is_local: row.try_get("is_local")?,
        of_partition: row.try_get("of_partition")?,
    };
    let target = qualified(&schema, &parent_name);
    let on = if relation != 0 { "" } else { "DOMAIN " };
    let added = catalog.push(Object {
        id: check.id,
        parent: Some(parent),
        face: Face::new("CONSTRAINT", format!("{} ON {on}{target}", ident(&check.name))),
        name: ObjectName { class: CLASS.name, schema, parent: parent_name, name: check.name.clone() }.into(),
        owner: None,
        table: (catalog.tables.get(&relation) == Some(&false)).then_some(relation),
        definition: Box::new(CheckObject { check: check.clone(), parent: target }),
    });
    if added {
        catalog.checks.entry(parent).or_default().push(check);
    }
    Ok(())
}

impl Definition for CheckObject {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let apart = context.repairs.apart.contains(&object.id);
        // One that is not valid comes to partitions with their parent's.
        let made_here = self.check.is_local || (self.check.of_partition && self.check.validated);
        if !made_here || (self.check.validated && !apart) {
            return;
        }
        let Some(parent) = object.parent else { return };
        let add = format!("ADD CONSTRAINT {} {}", ident(&self.check.name), self.check.definition);
        if parent.catalog == CatalogTable::TYPE {
            let sql = format!("ALTER DOMAIN {} {add}", self.parent);
            // Values that were never checked may violate it, so it comes after them.
            let section = if self.check.validated { Section::BeforeData } else { Section::AfterData };
            drafts.push(Draft::create(object, section, sql).needs(parent, Part::Create).done_when(self.done_when(true)));
            return;
        }
        // Rows that were never checked may violate it, so it comes after them.
        let partitioned = context.catalog.is_partitioned(parent.oid);
        let section = match (self.check.validated, partitioned) {
            (true, _) => Section::BeforeData,
            (false, false) => Section::AfterData,
            (false, true) => Section::AfterStreaming,
        };
        let sql = format!("ALTER TABLE {} {add}", self.parent);
        drafts.push(
            Draft::create(object, section, sql).table(object.table).needs(parent, Part::Create).done_when(self.done_when(false)),
        );
    }
}

impl CheckObject {
    fn done_when(&self, domain: bool) -> String {
        let (column, function) = if domain { ("contypid", "to_regtype") } else { ("conrelid", "to_regclass") };
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conname = {} AND {column} = pg_catalog.{function}({}))",
            literal(&self.check.name),
            literal(&self.parent)
        )
    }
}
