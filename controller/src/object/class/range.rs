//! Range types, with their multirange's name.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::qualified;

/// The class.
pub const CLASS: Class = Class {
    name: "range",
    query: include_str!("range.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["range", "range_14", "range_canonical"],
    },
};

/// A range type.
#[derive(Debug)]
pub struct Range {
    subtype: String,
    /// Options and the qualified names they have, in the order of the statement.
    options: Vec<(&'static str, String)>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let id = ObjectId::new(CatalogTable::TYPE, row.try_get("oid")?);
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let mut options = Vec::new();
    // The server cuts the name that it makes up at a byte, be it within a character: no client can say such a name.
    let multirange_name = row.try_get::<_, Option<Vec<u8>>>("multirange_name")?.map(String::from_utf8).and_then(Result::ok);
    if let (Some(schema), Some(name)) = (row.try_get::<_, Option<&str>>("multirange_schema")?, &multirange_name) {
        options.push(("multirange_type_name", qualified(schema, name)));
    }
    for (option, schema, name) in [
        ("subtype_opclass", "opclass_schema", "opclass_name"),
        ("collation", "collation_schema", "collation_name"),
        ("canonical", "canonical_schema", "canonical_name"),
        ("subtype_diff", "difference_schema", "difference_name"),
    ] {
        if let (Some(schema), Some(name)) = (row.try_get::<_, Option<&str>>(schema)?, row.try_get::<_, Option<&str>>(name)?) {
            options.push((option, qualified(schema, name)));
        }
    }
    let multirange: u32 = row.try_get("multirange")?;
    if multirange != 0 {
        catalog.aliases.insert(ObjectId::new(CatalogTable::TYPE, multirange), id);
    }
    catalog.push(Object {
        id,
        parent: None,
        face: Face::new("TYPE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Range { subtype: row.try_get("subtype")?, options }),
    });
    Ok(())
}

impl Definition for Range {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE TYPE {} AS RANGE (subtype = {}", object.face.target, self.subtype);
        for (option, name) in &self.options {
            let _ = write!(sql, ", {option} = {name}");
        }
        sql.push(')');
        super::base_type::with_shell(object, context, Draft::create(object, Section::BeforeData, sql), drafts);
    }
}
