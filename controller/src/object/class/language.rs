//! Procedural languages that no extension made.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "language",
    query: include_str!("language.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["language"],
    },
};

/// A language.
#[derive(Debug)]
pub struct Language {
    trusted: bool,
    /// Nothing for a language that the destination makes with its extension.
    handler: Option<String>,
    inline_handler: Option<String>,
    validator: Option<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let name: String = row.try_get("name")?;
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::LANGUAGE, row.try_get("oid")?),
        parent: None,
        face: Face::new("LANGUAGE", ident(&name)),
        name: ObjectName { class: CLASS.name, schema: String::new(), parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Language {
            trusted: row.try_get("trusted")?,
            handler: row.try_get("handler")?,
            inline_handler: row.try_get("inline_handler")?,
            validator: row.try_get("validator")?,
        }),
    });
    Ok(())
}

impl Definition for Language {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let name = &object.face.target;
        let mut sql = match &self.handler {
            None => format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA pg_catalog"),
            Some(handler) => {
                format!("CREATE {}LANGUAGE {name} HANDLER {handler}", if self.trusted { "TRUSTED " } else { "" })
            }
        };
        if self.handler.is_some() {
            for (clause, function) in [("INLINE", &self.inline_handler), ("VALIDATOR", &self.validator)] {
                if let Some(function) = function {
                    // Writing to a String can't fail.
                    let _ = write!(sql, " {clause} {function}");
                }
            }
        }
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
