//! Aggregates.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "aggregate",
    query: include_str!("aggregate.sql"),
    read,
    covers: Covers {
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "",
        fixtures: &["aggregate"],
    },
};

/// The statement's names for the functions, in the order of the query's arrays.
const FUNCTIONS: [&str; 8] =
    ["SFUNC", "FINALFUNC", "COMBINEFUNC", "SERIALFUNC", "DESERIALFUNC", "MSFUNC", "MINVFUNC", "MFINALFUNC"];

/// An aggregate.
#[derive(Debug)]
pub struct Aggregate {
    /// Qualified and quoted.
    target: String,
    /// With names and defaults, as the definition needs them.
    signature: String,
    /// The entries of its parenthesized list.
    options: Vec<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let kind: &str = row.try_get("kind")?;
    let call = |arguments: String| if arguments.is_empty() { "*".to_owned() } else { arguments };
    let (arguments, identity) = (call(row.try_get("arguments")?), call(row.try_get("identity_arguments")?));
    let target = qualified(&schema, &name);
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::PROC, row.try_get("oid")?),
        parent: None,
        face: Face::new("AGGREGATE", format!("{target}({identity})")),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name: format!("{name}({identity})") }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Aggregate { target, signature: arguments, options: options(row, kind)? }),
    });
    Ok(())
}

fn options(row: &Row, kind: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut options = Vec::new();
    let schemas: Vec<Option<String>> = row.try_get("function_schemas")?;
    let names: Vec<Option<String>> = row.try_get("function_names")?;
    for (option, function) in FUNCTIONS.iter().zip(schemas.iter().zip(&names)) {
        if let (Some(schema), Some(name)) = function {
            options.push(format!("{option} = {}", qualified(schema, name)));
        }
    }
    options.push(format!("STYPE = {}", row.try_get::<_, &str>("state_type")?));
    for (option, column) in [("SSPACE", "state_size"), ("MSSPACE", "moving_state_size")] {
        let size: i32 = row.try_get(column)?;
        if size != 0 {
            options.push(format!("{option} = {size}"));
        }
    }
    if let Some(state_type) = row.try_get::<_, Option<&str>>("moving_state_type")? {
        options.push(format!("MSTYPE = {state_type}"));
    }
    for (option, column) in [("INITCOND", "initial"), ("MINITCOND", "moving_initial")] {
        if let Some(value) = row.try_get::<_, Option<&str>>(column)? {
            options.push(format!("{option} = {}", literal(value)));
        }
    }
    for (option, column) in [("FINALFUNC_EXTRA", "final_extra"), ("MFINALFUNC_EXTRA", "moving_final_extra")] {
        if row.try_get(column)? {
            options.push(option.to_owned());
        }
    }
    // Ordered-set aggregates may modify their state by default, others may not.
    let usual = if kind == "n" { "r" } else { "w" };
    for (option, column, function) in [("FINALFUNC_MODIFY", "final_modify", 1), ("MFINALFUNC_MODIFY", "moving_final_modify", 7)] {
        let modify: &str = row.try_get(column)?;
        if modify != usual && names.get(function).is_some_and(Option::is_some) {
            let word = match modify {
                "s" => "SHAREABLE",
                "w" => "READ_WRITE",
                _ => "READ_ONLY",
            };
            options.push(format!("{option} = {word}"));
        }
    }
    if let (Some(schema), Some(name)) =
        (row.try_get::<_, Option<&str>>("sort_schema")?, row.try_get::<_, Option<&str>>("sort_name")?)
    {
        options.push(format!("SORTOP = OPERATOR({}.{name})", ident(schema)));
    }
    match row.try_get("parallel")? {
        "s" => options.push("PARALLEL = SAFE".to_owned()),
        "r" => options.push("PARALLEL = RESTRICTED".to_owned()),
        _ => {}
    }
    if kind == "h" {
        options.push("HYPOTHETICAL".to_owned());
    }
    Ok(options)
}

impl Definition for Aggregate {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE AGGREGATE {}({}) (\n    {}\n)", self.target, self.signature, self.options.join(",\n    "));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}
