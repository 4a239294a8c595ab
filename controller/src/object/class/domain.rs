//! Domains.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "domain",
    query: include_str!("domain.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "checks that are not valid",
        fixtures: &["domain", "domain_11", "domain_17"],
    },
};

/// A domain.
#[derive(Debug)]
pub struct Domain {
    base_type: String,
    /// Qualified and quoted, where it is not the base type's.
    collation: Option<String>,
    default: Option<String>,
    not_null: NotNull,
}

/// Whether NULL is refused.
#[derive(Debug)]
enum NotNull {
    No,
    /// Before 17 that has no name.
    Unnamed,
    Named(String),
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let collation = match (row.try_get("collation_schema")?, row.try_get("collation_name")?) {
        (Some(schema), Some(name)) => Some(qualified(schema, name)),
        _ => None,
    };
    let (id, target) = (ObjectId::new(CatalogTable::TYPE, row.try_get("oid")?), qualified(&schema, &name));
    let constraint: (Option<u32>, Option<String>) = (row.try_get("not_null_oid")?, row.try_get("not_null_name")?);
    let not_null = match constraint {
        (Some(oid), Some(name)) => {
            let constraint = ObjectId::new(CatalogTable::CONSTRAINT, oid);
            catalog.aliases.insert(constraint, id);
            // It may have a comment.
            catalog.faces.insert(constraint, Face::new("CONSTRAINT", format!("{} ON DOMAIN {target}", ident(&name))));
            NotNull::Named(name)
        }
        _ if row.try_get("not_null")? => NotNull::Unnamed,
        _ => NotNull::No,
    };
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("DOMAIN", target),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Domain {
            base_type: row.try_get("base_type")?,
            collation,
            default: row.try_get("default_expression")?,
            not_null,
        }),
    });
    Ok(())
}

impl Definition for Domain {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE DOMAIN {} AS {}", object.face.target, self.base_type);
        if let Some(collation) = &self.collation {
            let _ = write!(sql, " COLLATE {collation}");
        }
        if let Some(default) = &self.default {
            let _ = write!(sql, " DEFAULT {default}");
        }
        match &self.not_null {
            NotNull::No => {}
            NotNull::Unnamed => sql.push_str(" NOT NULL"),
            NotNull::Named(name) => {
                let _ = write!(sql, " CONSTRAINT {} NOT NULL", ident(name));
            }
        }
        for check in context.catalog.checks.get(&object.id).map_or(&[][..], Vec::as_slice) {
            if check.is_inline(context) {
                let _ = write!(sql, " CONSTRAINT {} {}", ident(&check.name), check.definition);
            }
        }
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
