//! Default privileges: last of all, since they would change what is made after them.

use std::collections::HashMap;

use tokio_postgres::Row;

use crate::object::acl::{Grant, difference, numbered, read_grants};
use crate::object::{Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::ident;

/// The class.
pub const CLASS: Class = Class {
    name: "default_acl",
    query: include_str!("default_acl.sql"),
    read,
    covers: Covers { beyond: &[], states: "", fixtures: &["default_acl"] },
};

/// The default privileges of a role on one kind of objects, in one schema or in all.
#[derive(Debug)]
pub struct DefaultAcl {
    role: String,
    schema: Option<String>,
    /// `TABLES`, `FUNCTIONS`, …
    kind: &'static str,
    base: Vec<Grant>,
    grants: Vec<Grant>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let kind = match row.try_get("kind")? {
        "r" => "TABLES",
        "S" => "SEQUENCES",
        "f" => "FUNCTIONS",
        "T" => "TYPES",
        "n" => "SCHEMAS",
        _ => return Ok(()),
    };
    let (role, schema): (String, Option<String>) = (row.try_get("role")?, row.try_get("schema")?);
    let (base, grants) = read_grants(row)?;
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::DEFAULT_ACL, row.try_get("oid")?),
        parent: None,
        face: Face::new("DEFAULT PRIVILEGES", String::new()),
        name: ObjectName {
            class: CLASS.name,
            schema: schema.clone().unwrap_or_default(),
            parent: role.clone(),
            name: kind.to_lowercase(),
        }
        .into(),
        owner: None,
        table: None,
        definition: Box::new(DefaultAcl { role, schema, kind, base, grants }),
    });
    Ok(())
}

impl Definition for DefaultAcl {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let schema = self.schema.as_ref().map(|schema| format!(" IN SCHEMA {}", ident(schema))).unwrap_or_default();
        let prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{schema}", ident(&self.role));
        let mut numbers = HashMap::new();
        for (_, phrase) in difference(&self.base, &self.grants, &self.role, "", self.kind) {
            let draft = Draft::about(object, Part::Acl(0), format!("{prefix} {phrase}")).section(Section::AfterData);
            drafts.push(numbered(draft, &mut numbers));
        }
    }
}
