//! Base types: a name first, which their input and output functions need, then the type itself.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft, Part};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "base_type",
    query: include_str!("base_type.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "names of types that were never completed",
        fixtures: &["base_type"],
    },
};

/// The functions of a type, in the order in which the query gives them.
const FUNCTIONS: [&str; 8] = ["INPUT", "OUTPUT", "RECEIVE", "SEND", "TYPMOD_IN", "TYPMOD_OUT", "ANALYZE", "SUBSCRIPT"];

/// A base type, or the mere name of a type.
#[derive(Debug)]
pub struct BaseType {
    /// The entries of its parenthesized list; empty for a mere name.
    options: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let options = if row.try_get("is_defined")? { options(row)? } else { Vec::new() };
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::TYPE, row.try_get("oid")?),
        parent: None,
        face: Face::new("TYPE", qualified(&schema, &name)),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(BaseType { options }),
    });
    Ok(())
}

fn options(row: &Row) -> Result<Vec<String>, tokio_postgres::Error> {
    let functions: Vec<Option<String>> = row.try_get("functions")?;
    let named = FUNCTIONS.iter().zip(functions);
    let mut options: Vec<String> = named.filter_map(|(option, name)| Some(format!("{option} = {}", name?))).collect();
    options.push(match row.try_get::<_, i16>("length")? {
        -1 => "INTERNALLENGTH = VARIABLE".to_owned(),
        length => format!("INTERNALLENGTH = {length}"),
    });
    options.push(format!(
        "ALIGNMENT = {}",
        match row.try_get("alignment")? {
            "c" => "char",
            "s" => "int2",
            "d" => "double",
            _ => "int4",
        }
    ));
    options.push(format!(
        "STORAGE = {}",
        match row.try_get("storage")? {
            "e" => "external",
            "x" => "extended",
            "m" => "main",
            _ => "plain",
        }
    ));
    options.push(format!("CATEGORY = {}", literal(row.try_get("category")?).trim_start()));
    options.push(format!("PREFERRED = {}", row.try_get::<_, bool>("is_preferred")?));
    if let Some(default) = row.try_get("default_value")? {
        options.push(format!("DEFAULT = {}", literal(default).trim_start()));
    }
    if let Some(element) = row.try_get::<_, Option<&str>>("element")? {
        options.push(format!("ELEMENT = {element}"));
    }
    options.push(format!("DELIMITER = {}", literal(row.try_get("delimiter")?).trim_start()));
    if row.try_get("is_collatable")? {
        options.push("COLLATABLE = true".to_owned());
    }
    if row.try_get("by_value")? {
        options.push("PASSEDBYVALUE".to_owned());
    }
    Ok(options)
}

/// The draft of a type's mere name, for a type whose own functions need it, and the type's draft after it.
pub(super) fn with_shell(object: &Object, context: &Context<'_>, whole: Draft, drafts: &mut Vec<Draft>) {
    if !context.repairs.shells.contains(&object.id) {
        drafts.push(whole);
        return;
    }
    let shell = ObjectId::new(CatalogTable::TYPE_SHELL, object.id.oid);
    let sql = format!("CREATE TYPE {}", object.face.target);
    drafts.push(Draft::create(object, Section::BeforeData, sql).identity(shell));
    drafts.push(whole.needs(shell, Part::Create));
}

impl Definition for BaseType {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let mut sql = format!("CREATE TYPE {}", object.face.target);
        if !self.options.is_empty() {
            sql = format!("{sql} (\n    {}\n)", self.options.join(",\n    "));
        }
        with_shell(object, context, Draft::create(object, Section::BeforeData, sql), drafts);
    }
}
