//! Triggers.
//!
//! Those that fire on replica would run a second time for every change that is streamed, so they stay off until the cutover.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "trigger",
    query: include_str!("trigger.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Comment],
        states: "disabled, replica, always (at the cutover)",
        fixtures: &["trigger", "partition", "partition_11", "partition_13"],
    },
};

/// When a trigger or rule fires: `pg_trigger.tgenabled`, `pg_rewrite.ev_enabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firing {
    /// In ordinary sessions.
    Origin,
    /// Never.
    Disabled,
    /// Only where changes are applied.
    Replica,
    /// Everywhere.
    Always,
}

impl Firing {
    /// From the catalogs' letter.
    pub fn new(letter: &str) -> Self {
        match letter {
            "D" => Self::Disabled,
            "R" => Self::Replica,
            "A" => Self::Always,
            _ => Self::Origin,
        }
    }

    /// The drafts that bring a new trigger or rule to this state: `kind` is `TRIGGER` or `RULE`.
    pub fn statements(self, object: &Object, table: &str, kind: &str, section: Section, drafts: &mut Vec<Draft>) {
        let sql = |action: &str| format!("ALTER TABLE ONLY {table} {action} {kind} {}", ident(&object.name.name));
        let (catalog, relation, name, state) = match kind {
            "RULE" => ("pg_rewrite", "ev_class", "rulename", "ev_enabled"),
            _ => ("pg_trigger", "tgrelid", "tgname", "tgenabled"),
        };
        let done = |condition: &str| {
            format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.{catalog} WHERE {relation} = pg_catalog.to_regclass({}) AND {name} = {} AND {state} {condition})",
                literal(table),
                literal(&object.name.name)
            )
        };
        let enable = match self {
            Self::Origin => return,
            Self::Disabled => None,
            Self::Replica => Some(("ENABLE REPLICA", "= 'R'")),
            Self::Always => Some(("ENABLE ALWAYS", "= 'A'")),
        };
        // Anything but the state it was born with: after the cutover this one is not to be done again.
        let disable = Draft::about(object, Part::State, sql("DISABLE")).section(section).table(object.table);
        drafts.push(disable.done_when(done("<> 'O'")));
        if let Some((action, condition)) = enable {
            let draft = Draft::about(object, Part::Cutover, sql(action)).section(Section::AtCutover).undo(sql("DISABLE"));
            drafts.push(draft.done_when(done(condition)));
        }
    }
}

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    definition: String,
    /// The table, qualified and quoted.
    table: String,
    firing: Firing,
    /// The partitioned table's trigger that this one is a copy of.
    copy_of: Option<ObjectId>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let relation: u32 = row.try_get("relation")?;
    let (schema, table, name): (String, String, String) =
        (row.try_get("schema")?, row.try_get("table_name")?, row.try_get("name")?);
    let target = qualified(&schema, &table);
    let copy_of = row.try_get::<_, Option<u32>>("parent_oid")?.map(|oid| ObjectId::new(CatalogTable::TRIGGER, oid));
    let is_leaf = catalog.tables.get(&relation) == Some(&false);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TRIGGER, row.try_get("oid")?),
        parent: copy_of.or(Some(ObjectId::class(relation))),
        face: Face::new("TRIGGER", format!("{} ON {target}", ident(&name))),
        name: ObjectName { class: CLASS.name, schema, parent: table, name }.into(),
        owner: None,
        table: is_leaf.then_some(relation),
        definition: Box::new(Trigger {
            definition: row.try_get("definition")?,
            table: target,
            firing: Firing::new(row.try_get("state")?),
            copy_of,
        }),
    });
    Ok(())
}

impl Definition for Trigger {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let relation = object.parent.filter(|_| self.copy_of.is_none()).map(|parent| parent.oid);
        let partitioned = self.copy_of.is_some() || relation.is_some_and(|oid| context.catalog.is_partitioned(oid));
        let section = if partitioned { Section::AfterStreaming } else { Section::AfterData };
        if self.copy_of.is_none() {
            let done = format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgname = {} AND tgrelid = pg_catalog.to_regclass({}) AND NOT tgisinternal)",
                literal(&object.name.name),
                literal(&self.table)
            );
            drafts.push(Draft::create(object, section, self.definition.clone()).table(object.table).done_when(done));
        }
        self.firing.statements(object, &self.table, "TRIGGER", section, drafts);
    }
}
