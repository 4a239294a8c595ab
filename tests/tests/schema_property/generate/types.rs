//! Types, and columns of them.

use std::fmt::Write as _;

use pg_migrator_tests::Result;
use rand::Rng as _;

use super::{Column, Family, Kind, World};
use crate::names::{hostile, literal};

/// Options of an identity column's sequence.
const IDENTITIES: &[&str] = &[
    "",
    " (START 5 INCREMENT -2 MINVALUE -99 MAXVALUE 10 CACHE 3 CYCLE)",
    " (START 100 NO MINVALUE MAXVALUE 30000)",
    " (INCREMENT 7 NO CYCLE)",
];

impl World {
    pub(super) async fn data_type(&mut self) -> Result<()> {
        let target = self.new_target();
        let (base, family) = self.pick(&self.types.clone()).unwrap_or(("integer".to_owned(), Family::Number));
        match self.rng.random_range(0..7) {
            0 => {
                let labels: Vec<String> = (0..self.rng.random_range(0..4)).map(|n| literal(&hostile(&mut self.rng, n))).collect();
                let sql = format!("CREATE TYPE {target} AS ENUM ({})", labels.join(", "));
                self.new_type(&target, "TYPE", &sql, Family::Other).await?;
            }
            1..=2 => {
                let field = self.new_name();
                let sql = format!("CREATE TYPE {target} AS ({field} {base}, \"B b\" text COLLATE \"C\", c {base}[])");
                if self.new_type(&target, "TYPE", &sql, Family::Other).await? {
                    self.composites.push((target, field));
                }
            }
            // From a longer name the server may make a multirange's name that ends within a character.
            3 if target.len() < self.schema.len() + 45 => {
                let options = if self.chance(5) && self.has(14) {
                    format!("subtype = text, collation = \"C\", multirange_type_name = {}", self.new_target())
                } else {
                    "subtype = numeric, subtype_opclass = numeric_ops".to_owned()
                };
                let sql = format!("CREATE TYPE {target} AS RANGE ({options})");
                self.new_type(&target, "TYPE", &sql, Family::Other).await?;
            }
            _ => self.domain(&target, &base, family).await?,
        }
        Ok(())
    }

    async fn domain(&mut self, target: &str, base: &str, family: Family) -> Result<()> {
        let (name, function) = (self.new_name(), self.a_function());
        let (default, condition) = match family {
            Family::Number if self.chance(4) => {
                (format!(" DEFAULT {function}(7)"), format!("{function}((VALUE)::integer) < 1000"))
            }
            Family::Number => (String::new(), "VALUE > -100".to_owned()),
            Family::Text => (" DEFAULT 'it''s'".to_owned(), "length(VALUE) < 99".to_owned()),
            // Of composites, enums, arrays, ranges and other domains alike.
            Family::Other => (" DEFAULT NULL".to_owned(), format!("VALUE IS NULL OR ({}) IS NOT NULL", literal("it's \\"))),
        };
        let default = if self.chance(5) { default } else { String::new() };
        let check = self.chance(6).then(|| name.clone());
        let clause = check.as_ref().map(|name| format!(" CONSTRAINT {name} CHECK ({condition})")).unwrap_or_default();
        let not_null = if self.chance(2) { " NOT NULL" } else { "" };
        let sql = format!("CREATE DOMAIN {target} AS {base}{default}{not_null}{clause}");
        if self.new_type(target, "DOMAIN", &sql, family).await? {
            if self.chance(2) {
                let later = self.new_name();
                let sql = format!("ALTER DOMAIN {target} ADD CONSTRAINT {later} CHECK ({condition}) NOT VALID");
                self.run(&sql).await?;
            }
            self.domains.push((target.to_owned(), check));
        }
        Ok(())
    }

    /// Makes a type, and has an array of it used as well now and then.
    async fn new_type(&mut self, target: &str, keyword: &'static str, sql: &str, family: Family) -> Result<bool> {
        if !self.run(sql).await? {
            return Ok(false);
        }
        self.types.push((target.to_owned(), family));
        // Domains have arrays since 11.
        if self.chance(3) && (keyword == "TYPE" || self.has(11)) {
            self.types.push((format!("{target}[]"), Family::Other));
        }
        self.thing(keyword, target, true, Some((keyword, "USAGE")));
        Ok(true)
    }

    /// A column's definition, and the column.
    pub(super) fn new_column(&mut self, earlier: &[Column]) -> (String, Column) {
        let name = self.new_name();
        let (data_type, family) = self.pick(&self.types.clone()).unwrap_or(("integer".to_owned(), Family::Number));
        // Writing to a String can't fail.
        let mut sql = format!("{name} {data_type}");
        if family == Family::Text && self.chance(2) {
            sql.push_str(" COLLATE \"C\"");
        }
        let of_earlier = |family: Family| earlier.iter().find(|column| column.family == family).map(|column| column.name.clone());
        match (family, self.rng.random_range(0..8), of_earlier(family)) {
            (Family::Number, 0, _) => {
                let _ = write!(sql, " DEFAULT {}({}(7))", self.a_function(), self.a_function());
            }
            (Family::Number, 1, _) => {
                if let Some(sequence) = self.pick(&self.sequences.clone()) {
                    let _ = write!(sql, " DEFAULT nextval({})", literal(&sequence));
                }
            }
            (Family::Number, 2, _) if matches!(data_type.as_str(), "integer" | "bigint") => {
                let kind = if self.chance(5) { "ALWAYS" } else { "BY DEFAULT" };
                let options = self.pick(IDENTITIES).unwrap_or_default();
                let _ = write!(sql, " GENERATED {kind} AS IDENTITY{options}");
            }
            (Family::Number, 3, Some(number)) if self.has(12) => {
                let _ = write!(sql, " GENERATED ALWAYS AS ({}(({number})::integer) * 2) STORED", self.a_function());
            }
            (Family::Text, 1, Some(text)) if self.has(12) => {
                let _ = write!(sql, " GENERATED ALWAYS AS (({text})::text || {}) STORED", literal("it's \\ --"));
            }
            (Family::Text, 0, _) => {
                let _ = write!(sql, " DEFAULT {}", literal("x' || \\ \n \"y\""));
            }
            _ => {}
        }
        if self.chance(2) {
            sql.push_str(" NOT NULL");
        }
        (sql, Column { name, family })
    }

    pub(super) fn new_columns(&mut self) -> (Vec<String>, Vec<Column>) {
        let name = self.new_name();
        let mut columns = vec![Column { name: name.clone(), family: Family::Number }];
        let mut definitions = vec![format!("{name} integer NOT NULL")];
        for _ in 0..self.rng.random_range(0..6) {
            let (definition, column) = self.new_column(&columns);
            if definition.contains("GENERATED ALWAYS AS (") {
                // Not for expressions of other generated columns.
                columns.push(Column { family: Family::Other, ..column });
            } else {
                columns.push(column);
            }
            definitions.push(definition);
        }
        (definitions, columns)
    }

    pub(super) async fn column_setting(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table, Kind::Partitioned]) else { return Ok(()) };
        let Some(column) = self.pick(&relation.columns[1..]) else { return Ok(()) };
        let function = self.a_function();
        let action = match (self.rng.random_range(0..8), column.family) {
            (0, Family::Text) => format!("ALTER COLUMN {} SET STORAGE EXTERNAL", column.name),
            (1, Family::Text) if self.has(14) => format!("ALTER COLUMN {} SET COMPRESSION pglz", column.name),
            (2, _) => format!("ALTER COLUMN {} SET (n_distinct = 5, n_distinct_inherited = -0.5)", column.name),
            (3, Family::Number) => format!("ALTER COLUMN {} SET DEFAULT {function}(3)", column.name),
            (4, _) => format!("ALTER COLUMN {} SET NOT NULL", column.name),
            (5, Family::Number) if self.has(13) => format!("ALTER COLUMN {} DROP EXPRESSION IF EXISTS", column.name),
            (6, _) => format!("ALTER COLUMN {} DROP IDENTITY IF EXISTS", column.name),
            _ => format!("ALTER COLUMN {} SET STATISTICS 17", column.name),
        };
        let only = if self.chance(3) { "ONLY " } else { "" };
        self.run(&format!("ALTER TABLE {only}{} {action}", relation.name)).await?;
        Ok(())
    }
}
