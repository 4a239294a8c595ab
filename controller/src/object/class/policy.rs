//! Row security policies. Whether row security is on, and forced on the owner, belongs to the table.

use std::fmt::Write as _;

use tokio_postgres::Row;

use crate::object::{Beyond, Catalog, CatalogTable, Class, Covers, Definition, Face, Object, ObjectId};
use crate::plan::draft::{Context, Draft};
use crate::plan::{ObjectName, Section};
use crate::postgres::quote::{ident, literal, qualified};

/// The class.
pub const CLASS: Class = Class {
    name: "policy",
    query: include_str!("policy.sql"),
    read,
    covers: Covers { beyond: &[Beyond::Comment], states: "", fixtures: &["policy"] },
};

/// A policy.
#[derive(Debug)]
pub struct Policy {
    /// Qualified and quoted.
    table: String,
    relation: u32,
    command: &'static str,
    permissive: bool,
    /// Quoted, or `PUBLIC`.
    roles: Vec<String>,
    using: Option<String>,
    check: Option<String>,
}

fn read(row: &Row, catalog: &mut Catalog) -> Result<(), tokio_postgres::Error> {
    let relation: u32 = row.try_get("relation")?;
    let (schema, table, name): (String, String, String) =
        (row.try_get("schema")?, row.try_get("table_name")?, row.try_get("name")?);
    let target = qualified(&schema, &table);
    let is_leaf = catalog.tables.get(&relation) == Some(&false);
    let roles: Vec<String> = row.try_get("roles")?;
    catalog.push(Object {
        id: ObjectId::new(CatalogTable::POLICY, row.try_get("oid")?),
        parent: Some(ObjectId::class(relation)),
        face: Face::new("POLICY", format!("{} ON {target}", ident(&name))),
        name: ObjectName { class: CLASS.name, schema, parent: table, name }.into(),
        owner: None,
        table: is_leaf.then_some(relation),
        definition: Box::new(Policy {
            table: target,
            relation,
            command: match row.try_get("command")? {
                "r" => "SELECT",
                "a" => "INSERT",
                "w" => "UPDATE",
                "d" => "DELETE",
                _ => "ALL",
            },
            permissive: row.try_get("permissive")?,
            roles: roles.iter().map(|role| if role.is_empty() { "PUBLIC".to_owned() } else { ident(role) }).collect(),
            using: row.try_get("using_expression")?,
            check: row.try_get("check_expression")?,
        }),
    });
    Ok(())
}

impl Definition for Policy {
    fn statements(&self, object: &Object, context: &Context<'_>, drafts: &mut Vec<Draft>) {
        let sql = self.create(&object.face.target);
        let section = if context.catalog.is_partitioned(self.relation) { Section::AfterStreaming } else { Section::AfterData };
        let done = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polname = {} AND polrelid = pg_catalog.to_regclass({}))",
            literal(&object.name.name),
            literal(&self.table)
        );
        drafts.push(Draft::create(object, section, sql).table(object.table).done_when(done));
    }
}

impl Policy {
    fn create(&self, target: &str) -> String {
        let mut sql = format!("CREATE POLICY {target}");
        if !self.permissive {
            sql.push_str(" AS RESTRICTIVE");
        }
        let _ = write!(sql, " FOR {} TO {}", self.command, self.roles.join(", "));
        if let Some(using) = &self.using {
            let _ = write!(sql, " USING ({using})");
        }
        if let Some(check) = &self.check {
            let _ = write!(sql, " WITH CHECK ({check})");
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_is_said() {
        let policy = Policy {
            table: "\"t\"".into(),
            relation: 1,
            command: "UPDATE",
            permissive: false,
            roles: vec!["PUBLIC".into(), ident("a\"b")],
            using: Some("(x > 0)".into()),
            check: Some("true".into()),
        };
        assert_eq!(
            policy.create("\"p\" ON \"t\""),
            "CREATE POLICY \"p\" ON \"t\" AS RESTRICTIVE FOR UPDATE TO PUBLIC, \"a\"\"b\" USING ((x > 0)) WITH CHECK (true)"
        );
    }
}
