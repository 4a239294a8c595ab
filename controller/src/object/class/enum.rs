//! Enumerations.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "enum",
    query: include_str!("enum.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["enum"],
    },
};

/// An enumeration.
#[derive(Debug)]
pub struct Enum {
    /// Its labels, in their order; a type without any is possible.
    pub labels: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TYPE, row.try_get("oid")?),
        parent: None,
        face: Face::new("TYPE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Enum { labels: row.try_get("labels")? }),
    });
    Ok(())
}

impl Definition for Enum {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        drafts.push(Draft::create(object, Section::BeforeData, self.create(&object.face.target)));
    }
}

impl Enum {
    fn create(&self, target: &str) -> String {
        let labels: Vec<String> = self.labels.iter().map(|label| literal(label)).collect();
        format!("CREATE TYPE {target} AS ENUM ({})", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_as_values() {
        let mood = Enum { labels: vec!["it's".into(), "a\\b".into(), String::new()] };
        assert_eq!(mood.create("\"s\".\"m\""), "CREATE TYPE \"s\".\"m\" AS ENUM ('it''s',  E'a\\\\b', '')");
        assert_eq!(Enum { labels: Vec::new() }.create("t"), "CREATE TYPE t AS ENUM ()");
    }
}
