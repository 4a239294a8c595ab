//! Operators.

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "operator",
    query: include_str!("operator.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Owner, Beyond::Comment], states: "", fixtures: &["operator"] },
};

/// An operator.
#[derive(Debug)]
pub struct Operator {
    /// Its name with its schema; operator names can't be quoted and consist of operator characters only.
    target: String,
    /// The entries of its parenthesized list.
    options: Vec<String>,
}

/// An operator's name as SQL takes it, or nothing if it is not made of operator characters, which no server would let be.
fn operator(schema: &str, name: &str) -> Option<String> {
    let sound =
        !name.is_empty() && name.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c)) && !name.contains("--") && !name.contains("/*");
    sound.then(|| format!("{}.{name}", ident(schema)))
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
    let Some(target) = operator(&schema, &name) else { return Ok(()) };
    let (left, right): (Option<String>, Option<String>) = (row.try_get("left_type")?, row.try_get("right_type")?);
    let pair = |option: &str| -> Result<Option<(String, String)>, tokio_postgres::Error> {
        let schema: Option<String> = row.try_get(format!("{option}_schema").as_str())?;
        let name: Option<String> = row.try_get(format!("{option}_name").as_str())?;
        Ok(schema.zip(name))
    };
    let mut options = Vec::new();
    if let Some((schema, name)) = pair("function")? {
        options.push(format!("FUNCTION = {}", qualified(&schema, &name)));
    }
    for (side, data_type) in [("LEFTARG", &left), ("RIGHTARG", &right)] {
        options.extend(data_type.as_ref().map(|data_type| format!("{side} = {data_type}")));
    }
    for (option, columns) in [("COMMUTATOR", "commutator"), ("NEGATOR", "negator")] {
        let other = pair(columns)?.and_then(|(schema, name)| operator(&schema, &name));
        options.extend(other.map(|other| format!("{option} = OPERATOR({other})")));
    }
    for (option, columns) in [("RESTRICT", "restrict"), ("JOIN", "join")] {
        options.extend(pair(columns)?.map(|(schema, name)| format!("{option} = {}", qualified(&schema, &name))));
    }
    for (option, column) in [("HASHES", "hashes"), ("MERGES", "merges")] {
        if row.try_get(column)? {
            options.push(option.to_owned());
        }
    }
    let arguments = format!("({}, {})", left.as_deref().unwrap_or("NONE"), right.as_deref().unwrap_or("NONE"));
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::OPERATOR, row.try_get("oid")?),
        parent: None,
        face: Face::new("OPERATOR", format!("{target} {arguments}")),
        name: ObjectName { class: CLASS.name, schema, parent: String::new(), name: format!("{name}{arguments}") }.into(),
        owner: Some(row.try_get("owner")?),
        table: None,
        definition: Box::new(Operator { target, options }),
    });
    Ok(())
}

impl Definition for Operator {
    fn statements(&self, object: &Object, _: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = format!("CREATE OPERATOR {} (\n    {}\n)", self.target, self.options.join(",\n    "));
        drafts.push(Draft::create(object, Section::BeforeData, sql));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operator_characters_pass() {
        assert_eq!(operator("a\"b", "<->").as_deref(), Some("\"a\"\"b\".<->"));
        assert_eq!(operator("s", "= (x); DROP TABLE t; --"), None);
        assert_eq!(operator("s", "--"), None);
    }
}
