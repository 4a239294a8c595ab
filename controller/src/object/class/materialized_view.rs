//! Materialized views: made empty, filled when every table streams.

use std::fmt::Write as _;

use tokio_postgres::Row;

use super::column::options_list;
use super::table::relation_exists;
use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "materialized_view",
    query: include_str!("materialized_view.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "filled or not",
        fixtures: &["materialized_view"],
    },
};

/// A materialized view.
#[derive(Debug)]
pub struct MaterializedView {
    options: Vec<String>,
    toast_options: Vec<String>,
    access_method: Option<String>,
    definition: String,
    populated: bool,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::class(row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.aliases.insert(ObjectId::new(CatalogTable::REWRITE, row.try_get("rule_oid")?), id);
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("MATERIALIZED VIEW", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(MaterializedView {
            options: row.try_get::<_, Option<_>>("options")?.unwrap_or_default(),
            toast_options: row.try_get::<_, Option<_>>("toast_options")?.unwrap_or_default(),
            access_method: row.try_get("access_method")?,
            definition: row.try_get("definition")?,
            populated: row.try_get("populated")?,
        }),
    });
    Ok(())
}

impl Definition for MaterializedView {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let target = &object.face.target;
        let mut sql = format!("CREATE MATERIALIZED VIEW {target}");
        if let Some(method) = &self.access_method {
            let _ = write!(sql, " USING {}", ident(method));
        }
        let options = self.options.iter().map(|option| ("", option.as_str()));
        let options = options_list(options.chain(self.toast_options.iter().map(|option| ("toast", option.as_str()))));
        if !options.is_empty() {
            let _ = write!(sql, " WITH ({options})");
        }
        let query = self.definition.trim_end().trim_end_matches(';');
        let _ = write!(sql, " AS\n{query}\n  WITH NO DATA");
        drafts.push(Draft::create(object, Section::BeforeData, sql).done_when(relation_exists(target)));
        for column in context.catalog.columns_of(object.id.oid) {
            let mut set = |action: String| {
                let sql = format!("ALTER MATERIALIZED VIEW {target} ALTER COLUMN {} {action}", ident(&column.name));
                drafts.push(Draft::about(object, Part::Setting, sql));
            };
            if let Some(statistics) = column.statistics {
                set(format!("SET STATISTICS {statistics}"));
            }
            if let Some(storage) = column.storage {
                set(format!("SET STORAGE {storage}"));
            }
            if let Some(method) = column.compression {
                set(format!("SET COMPRESSION {method}"));
            }
            if !column.options.is_empty() {
                set(format!("SET ({})", options_list(column.options.iter().map(|option| ("", option.as_str())))));
            }
        }
        if self.populated {
            let done = format!(
                "SELECT coalesce((SELECT relispopulated FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({})), false)",
                literal(target)
            );
            let sql = format!("REFRESH MATERIALIZED VIEW {target}");
            drafts.push(Draft::about(object, Part::Fill, sql).section(Section::AfterStreaming).done_when(done));
        }
    }
}
