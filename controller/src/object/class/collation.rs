//! Collations. Their version is the destination's own: indexes are built there.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "collation",
    query: include_str!("collation.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment],
        states: "",
        fixtures: &["collation", "collation_12", "collation_17"],
    },
};

/// A collation.
#[derive(Debug)]
pub struct Collation {
    /// `libc`, `icu`, `builtin`.
    provider: &'static str,
    locale: Option<String>,
    lc_collate: Option<String>,
    lc_ctype: Option<String>,
    deterministic: bool,
    rules: Option<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::COLLATION, row.try_get("oid")?),
        parent: None,
        face: Face::new("COLLATION", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Collation {
            provider: match row.try_get("provider")? {
                "i" => "icu",
                "b" => "builtin",
                _ => "libc",
            },
            locale: row.try_get("locale")?,
            lc_collate: row.try_get("lc_collate")?,
            lc_ctype: row.try_get("lc_ctype")?,
            deterministic: row.try_get("deterministic")?,
            rules: row.try_get("rules")?,
        }),
    });
    Ok(())
}

impl Definition for Collation {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE COLLATION {} (provider = {}", object.face.target, self.provider);
        if !self.deterministic {
            sql.push_str(", deterministic = false");
        }
        if let Some(locale) = &self.locale {
            let _ = write!(sql, ", locale = {}", literal(locale));
        } else {
            for (key, value) in [("lc_collate", &self.lc_collate), ("lc_ctype", &self.lc_ctype)] {
                if let Some(value) = value {
                    let _ = write!(sql, ", {key} = {}", literal(value));
                }
            }
        }
        if let Some(rules) = &self.rules {
            let _ = write!(sql, ", rules = {}", literal(rules));
        }
        sql.push(')');
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
