//! Indexes that are not behind a constraint.
//!
//! The index of a partitioned table is made after those of its partitions, each built by itself when its table is copied, and
//! they are attached to it: so every build is its own piece of work, and the partitioned table is locked only when all copies are over.

use tokio_postgres::Row;

use super::table::relation_exists;
use crate::finding::{Code, Finding, Severity};
use crate::object::{Beyond, Catalog, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "index",
    query: include_str!("index.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Comment],
        states: "clustered on, statistics targets, attached as a part",
        fixtures: &["index", "index_11", "partition", "partition_11"],
    },
};

/// An index.
#[derive(Debug)]
pub struct Index {
    definition: String,
    /// The table, qualified and quoted, and its OID.
    table: String,
    relation: u32,
    clustered: bool,
    /// The partitioned table's index that this one is a part of: identity, qualified name.
    parent: Option<(ObjectId, String)>,
    /// Column number and statistics target, for expressions.
    statistics: Vec<(i16, i32)>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::class(row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let (relation, table): (u32, String) = (row.try_get("relation")?, row.try_get("table_name")?);
    let target = qualified(&schema, &table);
    if !row.try_get("valid")? {
        catalog.findings.push(Finding {
            severity: Severity::Warning,
            database: String::new(),
            code: Code::IndexInvalid,
            object: format!("index {}", qualified(&schema, &name)),
            reason: format!("the index on {target} is not valid on the source (a concurrent build failed or is under way) and is not carried over"),
            fix: format!("REINDEX INDEX {} or DROP INDEX it on the source", qualified(&schema, &name)),
            statement: None,
        });
        return Ok(());
    }
    let parent = match row.try_get::<_, Option<u32>>("parent_index_oid")? {
        Some(oid) => {
            let (schema, name): (&str, &str) = (row.try_get("parent_index_schema")?, row.try_get("parent_index_name")?);
            Some((ObjectId::class(oid), qualified(schema, name)))
        }
        None => None,
    };
    catalog.add_index(&schema, &name, id);
    if let Some((parent, _)) = &parent {
        catalog.index_parts.entry(*parent).or_default().push(id);
    }
    let columns: Vec<i16> = row.try_get("statistics_columns")?;
    let targets: Vec<i32> = row.try_get("statistics_targets")?;
    let is_leaf = catalog.tables.get(&relation) == Some(&false);
    catalog.push(Object {
        id,
        parent: Some(ObjectId::class(relation)),
        face: Face::new("INDEX", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: table, name }.into(),
        owner: None,
        table: is_leaf.then_some(relation),
        definition: Box::new(Index {
            definition: row.try_get("definition")?,
            table: target,
            relation,
            clustered: row.try_get("clustered")?,
            parent,
            statistics: columns.into_iter().zip(targets).collect(),
        }),
    });
    Ok(())
}

impl Definition for Index {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut create = Draft::create(object, Section::AfterData, self.definition.clone())
            .table(object.table)
            .done_when(relation_exists(&object.face.target));
        for &part in context.catalog.index_parts.get(&object.id).map_or(&[][..], Vec::as_slice) {
            create = create.needs(part, Part::Create);
        }
        drafts.push(create.needs(ObjectId::class(self.relation), Part::Attach));
        for (column, target) in &self.statistics {
            let sql = format!("ALTER INDEX {} ALTER COLUMN {column} SET STATISTICS {target}", object.face.target);
            drafts.push(Draft::about(object, Part::Setting, sql).section(Section::AfterData).table(object.table));
        }
        if let Some((parent, target)) = &self.parent {
            drafts.push(attach(object, *parent, target, &object.face.target));
        }
        if self.clustered {
            let keyword = if context.catalog.tables.contains_key(&self.relation) { "TABLE" } else { "MATERIALIZED VIEW" };
            let only = if keyword == "TABLE" { "ONLY " } else { "" };
            let sql = format!("ALTER {keyword} {only}{} CLUSTER ON {}", self.table, ident(&object.name.name));
            let draft = Draft::about(object, Part::State, sql).section(Section::AfterData).table(object.table);
            drafts.push(draft.done_when(is_clustered(&object.face.target)));
        }
    }
}

/// Whether the index is its table's cluster marker.
pub(super) fn is_clustered(target: &str) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indisclustered AND indexrelid = pg_catalog.to_regclass({}))",
        literal(target)
    )
}

/// Makes an index a part of the partitioned table's one.
pub(super) fn attach(object: &Object, parent: ObjectId, parent_target: &str, target: &str) -> Draft {
    let sql = format!("ALTER INDEX {parent_target} ATTACH PARTITION {target}");
    let done = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = pg_catalog.to_regclass({}) AND inhparent = pg_catalog.to_regclass({}))",
        literal(target),
        literal(parent_target)
    );
    Draft::about(object, Part::Attach, sql).section(Section::AfterData).needs(parent, Part::Create).done_when(done)
}
