//! Random schemas, made step by step on the source: what the server refuses did not happen.

use std::fmt::Write as _;

use pg_migrator_tests::{Error, Result};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio_postgres::Client;

use crate::names::{hostile, ident, literal};

/// Roles that own things and are granted things.
pub const ROLES: &[&str] = &["prop_a", "Prop \"B\"", "prop_größe", "select; --"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Partitioned,
    View,
    MaterializedView,
    ForeignTable,
}

impl Kind {
    fn keyword(self) -> &'static str {
        match self {
            Self::Table | Self::Partitioned => "TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::ForeignTable => "FOREIGN TABLE",
        }
    }
}

/// What expressions on a column can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Text,
    Other,
}

#[derive(Debug, Clone)]
struct Column {
    /// Quoted.
    name: String,
    family: Family,
}

#[derive(Debug, Clone)]
struct Relation {
    /// Qualified and quoted.
    name: String,
    kind: Kind,
    columns: Vec<Column>,
    /// A column with a unique constraint.
    key: Option<String>,
}

/// An object as `COMMENT ON` and `ALTER … OWNER TO` call it.
#[derive(Debug, Clone)]
struct Thing {
    keyword: &'static str,
    target: String,
    /// Whether anyone may own it.
    ownable: bool,
    /// What it has privileges as, and which.
    privileges: Option<(&'static str, &'static str)>,
}

/// All that the database holds so far.
pub struct World {
    client: Client,
    rng: StdRng,
    number: usize,
    made: usize,
    refused: usize,
    /// Quoted.
    schema: String,
    relations: Vec<Relation>,
    /// Types with what they are like.
    types: Vec<(String, Family)>,
    /// Functions of one integer that give one.
    functions: Vec<String>,
    sequences: Vec<String>,
    things: Vec<Thing>,
}

impl World {
    /// An empty database's.
    pub fn new(client: Client, rng: StdRng) -> Self {
        let built_in = [
            ("integer", Family::Number),
            ("bigint", Family::Number),
            ("numeric(10,2)", Family::Number),
            ("text", Family::Text),
            ("character varying(20)", Family::Text),
            ("boolean", Family::Other),
            ("timestamp with time zone", Family::Other),
            ("interval day to second(3)", Family::Other),
            ("jsonb", Family::Other),
            ("integer[]", Family::Other),
            ("int4range", Family::Other),
            ("bit varying(5)", Family::Other),
            ("\"char\"", Family::Other),
            ("tsvector", Family::Other),
        ];
        Self {
            client,
            rng,
            number: 0,
            made: 0,
            refused: 0,
            schema: String::new(),
            relations: Vec::new(),
            types: built_in.into_iter().map(|(name, family)| (name.to_owned(), family)).collect(),
            functions: vec!["pg_catalog.abs".to_owned()],
            sequences: Vec::new(),
            things: Vec::new(),
        }
    }

    /// How many statements were carried out and how many refused.
    pub fn end(self) -> (usize, usize) {
        (self.made, self.refused)
    }

    /// Makes one schema full of things.
    pub async fn case(&mut self, case: usize) -> Result<()> {
        let name = format!("case {case} {}", hostile(&mut self.rng, case));
        let name: String = name.chars().take(30).collect();
        self.schema = ident(&name);
        let sql = format!("CREATE SCHEMA {}", self.schema);
        if !self.run(&sql).await? {
            return Err(Error::Broken(format!("refused: {sql}")));
        }
        self.things.push(Thing {
            keyword: "SCHEMA",
            target: self.schema.clone(),
            ownable: true,
            privileges: Some(("SCHEMA", "USAGE CREATE")),
        });
        // Every schema has something for the others to use.
        self.data_type().await?;
        self.table().await?;
        for _ in 0..self.rng.random_range(10..30) {
            match self.rng.random_range(0..30) {
                0 => self.data_type().await?,
                1..=4 => self.table().await?,
                5 => self.partitioned().await?,
                6 => self.child().await?,
                7..=9 => self.view().await?,
                10 => self.function().await?,
                11 => self.sequence().await?,
                12..=13 => self.index().await?,
                14 => self.foreign_key().await?,
                15..=16 => self.constraint().await?,
                17 => self.trigger().await?,
                18 => self.rule_or_policy().await?,
                19 => self.column_setting().await?,
                20..=21 => self.comment().await?,
                22 => self.owner().await?,
                23..=24 => self.grant().await?,
                25 => self.column_grant().await?,
                26 => self.default_privileges().await?,
                27 => self.statistics_or_state().await?,
                28 => self.foreign().await?,
                _ => self.rare().await?,
            }
        }
        Ok(())
    }

    /// Runs a statement. Gives whether the server took it; a broken connection is an error.
    async fn run(&mut self, sql: &str) -> Result<bool> {
        match self.client.batch_execute(sql).await {
            Ok(()) => self.made += 1,
            Err(error) if error.as_db_error().is_none() => return Err(Error::Broken(format!("{error}: {sql}"))),
            Err(error) => {
                self.refused += 1;
                if std::env::var_os("SCHEMA_SHOW_REFUSED").is_some() {
                    eprintln!("refused: {}: {sql}", error.as_db_error().map_or("", |error| error.message()));
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn new_name(&mut self) -> String {
        self.number += 1;
        ident(&hostile(&mut self.rng, self.number))
    }

    /// A new name in this schema.
    fn new_target(&mut self) -> String {
        let name = self.new_name();
        format!("{}.{name}", self.schema)
    }

    fn chance(&mut self, of_ten: u32) -> bool {
        self.rng.random_ratio(of_ten, 10)
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        list.choose(&mut self.rng).cloned()
    }

    fn role(&mut self) -> String {
        ident(ROLES.choose(&mut self.rng).copied().unwrap_or("prop_a"))
    }

    fn relation(&mut self, kinds: &[Kind]) -> Option<Relation> {
        // Mostly a recent one, sometimes one of another schema.
        let fitting: Vec<Relation> = self.relations.iter().filter(|relation| kinds.contains(&relation.kind)).cloned().collect();
        let recent = if self.chance(7) { fitting.len().saturating_sub(4) } else { 0 };
        self.pick(&fitting[recent..])
    }

    fn column(&mut self, relation: &Relation, families: &[Family]) -> Option<Column> {
        let fitting: Vec<Column> = relation.columns.iter().filter(|column| families.contains(&column.family)).cloned().collect();
        self.pick(&fitting)
    }

    fn thing(&mut self, keyword: &'static str, target: &str, ownable: bool, privileges: Option<(&'static str, &'static str)>) {
        self.things.push(Thing { keyword, target: target.to_owned(), ownable, privileges });
    }

    /// A condition on a column.
    fn condition(&mut self, column: &Column) -> String {
        let function = self.pick(&self.functions.clone()).unwrap_or_default();
        match column.family {
            Family::Number if self.chance(3) => format!("{function}(({})::integer) > 0", column.name),
            Family::Number => format!("{} > {}", column.name, self.rng.random_range(-5..5)),
            Family::Text => format!("{} <> {}", column.name, literal("it's; \\ --")),
            Family::Other => format!("{} IS NOT NULL", column.name),
        }
    }

    async fn data_type(&mut self) -> Result<()> {
        let target = self.new_target();
        let (base, family) = self.pick(&self.types.clone()).unwrap_or(("integer".to_owned(), Family::Number));
        let (keyword, sql, family) = match self.rng.random_range(0..5) {
            0 => {
                let labels: Vec<String> = (0..self.rng.random_range(1..4)).map(|n| literal(&hostile(&mut self.rng, n))).collect();
                ("TYPE", format!("CREATE TYPE {target} AS ENUM ({})", labels.join(", ")), Family::Other)
            }
            1 => {
                let field = self.new_name();
                ("TYPE", format!("CREATE TYPE {target} AS ({field} {base}, \"B b\" text COLLATE \"C\")"), Family::Other)
            }
            // From a longer name the server may make a multirange's name that ends within a character.
            2 if target.len() < self.schema.len() + 45 => {
                ("TYPE", format!("CREATE TYPE {target} AS RANGE (subtype = numeric)"), Family::Other)
            }
            _ => {
                let check = match family {
                    Family::Number => {
                        let name = self.new_name();
                        format!(" CONSTRAINT {name} CHECK (VALUE > -100)")
                    }
                    Family::Text => " CHECK (length(VALUE) < 99) DEFAULT 'it''s'".to_owned(),
                    Family::Other => String::new(),
                };
                let not_null = if self.chance(2) { " NOT NULL" } else { "" };
                ("DOMAIN", format!("CREATE DOMAIN {target} AS {base}{not_null}{check}"), family)
            }
        };
        if self.run(&sql).await? {
            self.types.push((target.clone(), family));
            self.thing(keyword, &target, true, Some((keyword, "USAGE")));
        }
        Ok(())
    }

    /// A column's definition, and the column.
    fn new_column(&mut self, earlier: &[Column]) -> (String, Column) {
        let name = self.new_name();
        let (data_type, family) = self.pick(&self.types.clone()).unwrap_or(("integer".to_owned(), Family::Number));
        // Writing to a String can't fail.
        let mut sql = format!("{name} {data_type}");
        if family == Family::Text && self.chance(2) {
            sql.push_str(" COLLATE \"C\"");
        }
        let number = earlier.iter().find(|column| column.family == Family::Number).map(|column| column.name.clone());
        match (family, self.rng.random_range(0..8), number) {
            (Family::Number, 0, _) => {
                let function = self.pick(&self.functions.clone()).unwrap_or_default();
                let _ = write!(sql, " DEFAULT {function}(7)");
            }
            (Family::Number, 1, _) => {
                if let Some(sequence) = self.pick(&self.sequences.clone()) {
                    let _ = write!(sql, " DEFAULT nextval({})", literal(&sequence));
                }
            }
            (Family::Number, 2, _) if matches!(data_type.as_str(), "integer" | "bigint") => {
                let kind = if self.chance(5) { "ALWAYS" } else { "BY DEFAULT" };
                let _ =
                    write!(sql, " GENERATED {kind} AS IDENTITY (START 5 INCREMENT -2 MINVALUE -99 MAXVALUE 10 CACHE 3 CYCLE)");
            }
            (Family::Number, 3, Some(number)) => {
                let _ = write!(sql, " GENERATED ALWAYS AS (({number})::integer * 2) STORED");
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

    fn new_columns(&mut self) -> (Vec<String>, Vec<Column>) {
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

    async fn table(&mut self) -> Result<()> {
        let target = self.new_target();
        let (mut definitions, columns) = self.new_columns();
        let mut key = None;
        if self.chance(5) {
            let name = self.new_name();
            let deferrable = if self.chance(2) { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
            definitions.push(format!("CONSTRAINT {name} PRIMARY KEY ({}){deferrable}", columns[0].name));
            // A foreign key can't refer to a deferrable one.
            key = deferrable.is_empty().then(|| columns[0].name.clone());
        }
        if self.chance(3) {
            let column = self.pick(&columns).unwrap_or_else(|| columns[0].clone());
            definitions.push(format!("CHECK ({}){}", self.condition(&column), if self.chance(3) { " NO INHERIT" } else { "" }));
        }
        let unlogged = if self.chance(1) { "UNLOGGED " } else { "" };
        let options = if self.chance(2) { " WITH (fillfactor = 70, toast.autovacuum_enabled = false)" } else { "" };
        let sql = format!("CREATE {unlogged}TABLE {target} ({}){options}", definitions.join(", "));
        if self.run(&sql).await? {
            self.relations.push(Relation { name: target.clone(), kind: Kind::Table, columns, key });
            self.thing("TABLE", &target, true, Some(("TABLE", "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER")));
        }
        Ok(())
    }

    async fn partitioned(&mut self) -> Result<()> {
        let target = self.new_target();
        let (definitions, columns) = self.new_columns();
        let definitions: Vec<String> = definitions.into_iter().filter(|definition| !definition.contains(" IDENTITY")).collect();
        let named = |column: &&Column| definitions.iter().any(|definition| definition.starts_with(&column.name));
        let columns: Vec<Column> = columns.iter().filter(named).cloned().collect();
        let key = self.chance(5).then(|| columns[0].name.clone());
        let primary = key.as_ref().map(|key| format!(", PRIMARY KEY ({key})")).unwrap_or_default();
        let by = ["RANGE", "LIST", "HASH"][self.rng.random_range(0..3)];
        let sql = format!("CREATE TABLE {target} ({}{primary}) PARTITION BY {by} ({})", definitions.join(", "), columns[0].name);
        if !self.run(&sql).await? {
            return Ok(());
        }
        self.relations.push(Relation { name: target.clone(), kind: Kind::Partitioned, columns: columns.clone(), key });
        self.thing("TABLE", &target, true, Some(("TABLE", "SELECT INSERT UPDATE DELETE")));
        for part in 0..self.rng.random_range(0..4) {
            let partition = self.new_target();
            let bound = match by {
                "RANGE" => format!("FOR VALUES FROM ({}) TO ({})", part * 10, part * 10 + 10),
                "LIST" if part == 0 => "DEFAULT".to_owned(),
                "LIST" => format!("FOR VALUES IN ({part}, {})", part + 100),
                _ => format!("FOR VALUES WITH (MODULUS 4, REMAINDER {part})"),
            };
            let below = if self.chance(2) { format!(" PARTITION BY LIST ({})", columns[0].name) } else { String::new() };
            let kind = if below.is_empty() { Kind::Table } else { Kind::Partitioned };
            let sql = if self.chance(3) && below.is_empty() {
                // Attached later, with its columns in another order and one dropped.
                let mut reversed: Vec<String> = definitions.iter().rev().cloned().collect();
                reversed.insert(0, "gone integer".to_owned());
                format!(
                    "CREATE TABLE {partition} ({}); ALTER TABLE {partition} DROP COLUMN gone; ALTER TABLE {target} ATTACH PARTITION {partition} {bound}",
                    reversed.join(", ")
                )
            } else {
                format!("CREATE TABLE {partition} PARTITION OF {target} {bound}{below}")
            };
            if self.run(&sql).await? {
                self.relations.push(Relation { name: partition.clone(), kind, columns: columns.clone(), key: None });
                self.thing("TABLE", &partition, true, Some(("TABLE", "SELECT INSERT")));
            }
        }
        Ok(())
    }

    async fn child(&mut self) -> Result<()> {
        let Some(parent) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let target = self.new_target();
        let (definition, column) = self.new_column(&parent.columns);
        let over = if self.chance(4) { format!(", {} integer DEFAULT 4", parent.columns[0].name) } else { String::new() };
        let sql = format!("CREATE TABLE {target} ({definition}{over}) INHERITS ({})", parent.name);
        if self.run(&sql).await? {
            let mut columns = parent.columns.clone();
            columns.push(Column { family: Family::Other, ..column });
            self.relations.push(Relation { name: target.clone(), kind: Kind::Table, columns, key: None });
            self.thing("TABLE", &target, true, Some(("TABLE", "SELECT UPDATE")));
        }
        Ok(())
    }

    async fn view(&mut self) -> Result<()> {
        let all = [Kind::Table, Kind::Partitioned, Kind::View, Kind::MaterializedView];
        let (Some(one), Some(two)) = (self.relation(&all), self.relation(&all)) else { return Ok(()) };
        let target = self.new_target();
        let columns: Vec<Column> = one.columns.iter().filter(|_| self.rng.random_bool(0.8)).cloned().collect();
        let Some(filter) = self.pick(&one.columns) else { return Ok(()) };
        let list: Vec<String> = columns.iter().map(|column| format!("a.{}", column.name)).collect();
        let condition = self.condition(&Column { name: format!("a.{}", filter.name), ..filter });
        let number = self.column(&two, &[Family::Number]);
        let grouped = one.key.as_ref().filter(|_| one.kind == Kind::Table && self.rng.random_bool(0.4));
        let query = match (self.rng.random_range(0..4), number, grouped) {
            (_, _, Some(key)) => format!("SELECT {} FROM {} a GROUP BY a.{key}", list.join(", "), one.name),
            (0, Some(number), _) => {
                format!(
                    "SELECT {} FROM {} a LEFT JOIN {} b ON b.{} = 1 WHERE {condition}",
                    list.join(", "),
                    one.name,
                    two.name,
                    number.name
                )
            }
            (1, Some(number), _) => format!(
                "WITH w AS (SELECT max({}) AS m FROM {}) SELECT {} FROM {} a, w WHERE {condition} ORDER BY w.m LIMIT 5",
                number.name,
                two.name,
                list.join(", "),
                one.name
            ),
            _ => format!("SELECT {} FROM {} a WHERE {condition}", list.join(", "), one.name),
        };
        let kind = if self.chance(2) { Kind::MaterializedView } else { Kind::View };
        let sql = match kind {
            Kind::MaterializedView if self.chance(3) => format!("CREATE MATERIALIZED VIEW {target} AS {query} WITH NO DATA"),
            Kind::MaterializedView => format!("CREATE MATERIALIZED VIEW {target} AS {query}"),
            _ if self.chance(2) => format!("CREATE VIEW {target} WITH (security_barrier, security_invoker = false) AS {query}"),
            _ => format!("CREATE VIEW {target} AS {query}"),
        };
        if self.run(&sql).await? {
            // What reads it when it is filled must be allowed to: its owner stays.
            self.relations.push(Relation { name: target.clone(), kind, columns, key: None });
            self.thing(kind.keyword(), &target, false, Some(("TABLE", "SELECT")));
        }
        Ok(())
    }

    async fn function(&mut self) -> Result<()> {
        let target = self.new_target();
        let kept = "IMMUTABLE SET search_path = pg_catalog";
        let relation = self.relation(&[Kind::Table, Kind::View]);
        let (data_type, _) = self.pick(&self.types.clone()).unwrap_or(("text".to_owned(), Family::Text));
        let argument = self.new_name();
        let (signature, sql) = match (self.rng.random_range(0..6), relation) {
            (0, Some(relation)) => {
                let column = relation.columns.first().map_or("1".to_owned(), |column| column.name.clone());
                (
                    format!("{target}({data_type})"),
                    format!(
                        "CREATE FUNCTION {target}({argument} {data_type}) RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count({column}) FROM {}; END",
                        relation.name
                    ),
                )
            }
            (1, Some(relation)) => (
                format!("{target}({})", relation.name),
                format!(
                    "CREATE FUNCTION {target}({argument} {}) RETURNS SETOF {} LANGUAGE plpgsql ROWS 7 COST 3 AS $f$BEGIN RETURN; END$f$",
                    relation.name, relation.name
                ),
            ),
            (2, _) => (
                format!("{target}(integer, {data_type}[])"),
                format!(
                    "CREATE PROCEDURE {target}(integer, VARIADIC {argument} {data_type}[]) LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '1MB' AS {}",
                    literal("BEGIN -- it's\nEND")
                ),
            ),
            _ => (
                format!("{target}(integer)"),
                format!(
                    "CREATE FUNCTION {target}({argument} integer DEFAULT 3) RETURNS integer LANGUAGE sql {kept} AS 'SELECT $1 + 1'"
                ),
            ),
        };
        if self.run(&sql).await? {
            if sql.contains(kept) {
                self.functions.push(target);
            }
            let keyword = if sql.starts_with("CREATE PROCEDURE") { "PROCEDURE" } else { "FUNCTION" };
            self.thing(keyword, &signature, true, Some((keyword, "EXECUTE")));
        }
        Ok(())
    }

    async fn sequence(&mut self) -> Result<()> {
        let target = self.new_target();
        let options = ["", " AS smallint", " START -5 MINVALUE -10 MAXVALUE 7 INCREMENT 3 CYCLE", " CACHE 20", " INCREMENT -1"];
        let options = options[self.rng.random_range(0..options.len())];
        if self.run(&format!("CREATE SEQUENCE {target}{options}")).await? {
            let owner = self.relation(&[Kind::Table]);
            if let (Some(table), true) = (owner, self.chance(3)) {
                let sql = format!("ALTER SEQUENCE {target} OWNED BY {}.{}", table.name, table.columns[0].name);
                self.run(&sql).await?;
                return Ok(());
            }
            self.sequences.push(target.clone());
            self.thing("SEQUENCE", &target, true, Some(("SEQUENCE", "USAGE SELECT UPDATE")));
        }
        Ok(())
    }

    async fn index(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table, Kind::Partitioned, Kind::MaterializedView]) else { return Ok(()) };
        let Some(column) = self.column(&relation, &[Family::Number, Family::Text]) else { return Ok(()) };
        let name = self.new_name();
        let function = self.pick(&self.functions.clone()).unwrap_or_default();
        let expression = match self.rng.random_range(0..4) {
            0 if column.family == Family::Number => format!("({function}(({})::integer))", column.name),
            1 if column.family == Family::Text => format!("(lower(({})::text)) COLLATE \"C\"", column.name),
            2 => format!("{} DESC NULLS LAST", column.name),
            _ => column.name.clone(),
        };
        let filter = if self.chance(3) { format!(" WHERE {}", self.condition(&column)) } else { String::new() };
        let options = if self.chance(2) { " WITH (fillfactor = 60)" } else { "" };
        let sql = format!("CREATE INDEX {name} ON {} ({expression}){options}{filter}", relation.name);
        if self.run(&sql).await? {
            let schema = relation.name.split("\".\"").next().map(|schema| format!("{schema}\"")).unwrap_or_default();
            let target = format!("{schema}.{name}");
            self.thing("INDEX", &target, false, None);
            if self.chance(2) && relation.kind == Kind::Table {
                self.run(&format!("ALTER TABLE {} CLUSTER ON {name}", relation.name)).await?;
            }
        }
        Ok(())
    }

    async fn foreign_key(&mut self) -> Result<()> {
        let keyed: Vec<Relation> = self.relations.iter().filter(|relation| relation.key.is_some()).cloned().collect();
        let (Some(to), Some(from)) = (self.pick(&keyed), self.relation(&[Kind::Table, Kind::Partitioned])) else { return Ok(()) };
        let name = self.new_name();
        let actions =
            ["", " ON DELETE CASCADE", " ON UPDATE SET NULL", " ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED", " MATCH FULL"];
        let action = actions[self.rng.random_range(0..actions.len())];
        let valid = if from.kind == Kind::Table && self.chance(2) { " NOT VALID" } else { "" };
        let sql = format!(
            "ALTER TABLE {} ADD CONSTRAINT {name} FOREIGN KEY ({}) REFERENCES {} ({}){action}{valid}",
            from.name,
            from.columns[0].name,
            to.name,
            to.key.clone().unwrap_or_default()
        );
        if self.run(&sql).await? {
            self.thing("CONSTRAINT", &format!("{name} ON {}", from.name), false, None);
        }
        Ok(())
    }

    async fn constraint(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let Some(column) = self.column(&relation, &[Family::Number, Family::Text]) else { return Ok(()) };
        let name = self.new_name();
        let clause = match self.rng.random_range(0..4) {
            0 => format!("CHECK ({}) NOT VALID", self.condition(&column)),
            1 => format!("CHECK ({})", self.condition(&column)),
            2 => format!("UNIQUE NULLS NOT DISTINCT ({}) INCLUDE ({})", column.name, relation.columns[0].name),
            _ => format!("EXCLUDE USING btree ({} WITH =) WHERE ({})", column.name, self.condition(&column)),
        };
        if self.run(&format!("ALTER TABLE {} ADD CONSTRAINT {name} {clause}", relation.name)).await? {
            self.thing("CONSTRAINT", &format!("{name} ON {}", relation.name), false, None);
        }
        Ok(())
    }

    async fn trigger(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table, Kind::Partitioned]) else { return Ok(()) };
        let (function, name) = (self.new_target(), self.new_name());
        if !self.run(&format!("CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")).await?
        {
            return Ok(());
        }
        let column = relation.columns[0].name.clone();
        let sql = match self.rng.random_range(0..4) {
            0 => format!(
                "CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON {} DEFERRABLE FOR EACH ROW EXECUTE FUNCTION {function}()",
                relation.name
            ),
            1 => format!(
                "CREATE TRIGGER {name} AFTER UPDATE OF {column} ON {} FOR EACH ROW WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION {function}({})",
                relation.name,
                literal("it's \\")
            ),
            2 => format!(
                "CREATE TRIGGER {name} AFTER DELETE ON {} REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                relation.name
            ),
            _ => format!(
                "CREATE TRIGGER {name} BEFORE INSERT OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION {function}()",
                relation.name
            ),
        };
        if self.run(&sql).await? {
            self.thing("TRIGGER", &format!("{name} ON {}", relation.name), false, None);
            if self.chance(4) {
                let state = ["DISABLE TRIGGER", "ENABLE REPLICA TRIGGER", "ENABLE ALWAYS TRIGGER"][self.rng.random_range(0..3)];
                self.run(&format!("ALTER TABLE {} {state} {name}", relation.name)).await?;
            }
        }
        Ok(())
    }

    async fn rule_or_policy(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let name = self.new_name();
        let Some(column) = self.pick(&relation.columns) else { return Ok(()) };
        if self.chance(3) {
            let sql = format!(
                "CREATE RULE {name} AS ON DELETE TO {} WHERE OLD.{} IS NULL DO INSTEAD NOTHING",
                relation.name, column.name
            );
            if self.run(&sql).await? {
                self.thing("RULE", &format!("{name} ON {}", relation.name), false, None);
            }
            return Ok(());
        }
        let (condition, role) = (self.condition(&column), self.role());
        let kind = ["", " AS RESTRICTIVE"][self.rng.random_range(0..2)];
        let to = if self.chance(5) { role } else { "PUBLIC".to_owned() };
        let sql = format!("CREATE POLICY {name} ON {}{kind} FOR ALL TO {to} USING ({condition})", relation.name);
        if self.run(&sql).await? {
            self.thing("POLICY", &format!("{name} ON {}", relation.name), false, None);
            self.run(&format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", relation.name)).await?;
            if self.chance(3) {
                self.run(&format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", relation.name)).await?;
            }
        }
        Ok(())
    }

    async fn column_setting(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        let Some(column) = self.pick(&relation.columns[1..]) else { return Ok(()) };
        let action = match (self.rng.random_range(0..6), column.family) {
            (0, Family::Text) => format!("ALTER COLUMN {} SET STORAGE EXTERNAL", column.name),
            (1, Family::Text) => format!("ALTER COLUMN {} SET COMPRESSION pglz", column.name),
            (2, _) => format!("ALTER COLUMN {} SET (n_distinct = 5, n_distinct_inherited = -0.5)", column.name),
            (3, Family::Number) => format!("ALTER COLUMN {} SET DEFAULT 3", column.name),
            (4, _) => format!("ALTER COLUMN {} SET NOT NULL", column.name),
            _ => format!("ALTER COLUMN {} SET STATISTICS 17", column.name),
        };
        self.run(&format!("ALTER TABLE {} {action}", relation.name)).await?;
        Ok(())
    }

    async fn comment(&mut self) -> Result<()> {
        let Some(thing) = self.pick(&self.things.clone()) else { return Ok(()) };
        self.number += 1;
        let text = literal(&format!("{}\n'); DROP TABLE x; --", hostile(&mut self.rng, self.number)));
        self.run(&format!("COMMENT ON {} {} IS {text}", thing.keyword, thing.target)).await?;
        if let Some(relation) = self.relation(&[Kind::Table, Kind::View])
            && let Some(column) = self.pick(&relation.columns)
        {
            self.run(&format!("COMMENT ON COLUMN {}.{} IS {text}", relation.name, column.name)).await?;
        }
        Ok(())
    }

    async fn owner(&mut self) -> Result<()> {
        let ownable: Vec<Thing> = self.things.iter().filter(|thing| thing.ownable).cloned().collect();
        let (Some(thing), role) = (self.pick(&ownable), self.role()) else { return Ok(()) };
        self.run(&format!("ALTER {} {} OWNER TO {role}", thing.keyword, thing.target)).await?;
        Ok(())
    }

    async fn grant(&mut self) -> Result<()> {
        let Some(thing) = self.pick(&self.things.clone()) else { return Ok(()) };
        let Some((keyword, privileges)) = thing.privileges else { return Ok(()) };
        let privileges: Vec<&str> = privileges.split(' ').collect();
        let privilege = self.pick(&privileges).unwrap_or("ALL");
        let privilege = if self.chance(2) { "ALL" } else { privilege };
        let (role, next) = (self.role(), self.role());
        let public = self.chance(2);
        let on = format!("{keyword} {}", thing.target);
        match self.rng.random_range(0..4) {
            0 => {
                let from = if public { "PUBLIC" } else { role.as_str() };
                self.run(&format!("REVOKE {privilege} ON {on} FROM {from}")).await?;
            }
            1 => {
                // Passed on by another role.
                let sql = format!(
                    "GRANT {privilege} ON {on} TO {role} WITH GRANT OPTION; SET SESSION AUTHORIZATION {role}; GRANT {privilege} ON {on} TO {next}"
                );
                self.run(&sql).await?;
                self.run("RESET SESSION AUTHORIZATION").await?;
            }
            _ => {
                let to = if public { "PUBLIC" } else { role.as_str() };
                self.run(&format!("GRANT {privilege} ON {on} TO {to}")).await?;
            }
        }
        Ok(())
    }

    async fn column_grant(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table, Kind::View, Kind::Partitioned]) else { return Ok(()) };
        let (Some(column), role) = (self.pick(&relation.columns), self.role()) else { return Ok(()) };
        self.run(&format!("GRANT SELECT ({0}), UPDATE ({0}) ON {1} TO {role}", column.name, relation.name)).await?;
        Ok(())
    }

    async fn default_privileges(&mut self) -> Result<()> {
        let (role, to) = (self.role(), self.role());
        let kind = ["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES"][self.rng.random_range(0..4)];
        let schema = if self.chance(6) { format!(" IN SCHEMA {}", self.schema) } else { String::new() };
        self.run(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role}{schema} GRANT ALL ON {kind} TO {to}")).await?;
        Ok(())
    }

    async fn statistics_or_state(&mut self) -> Result<()> {
        let Some(relation) = self.relation(&[Kind::Table]) else { return Ok(()) };
        if self.chance(5) && relation.columns.len() > 2 {
            let target = self.new_target();
            let columns = format!("{}, {}", relation.columns[0].name, relation.columns[1].name);
            if self.run(&format!("CREATE STATISTICS {target} (ndistinct, mcv) ON {columns} FROM {}", relation.name)).await? {
                self.thing("STATISTICS", &target, true, None);
            }
            return Ok(());
        }
        let state = ["REPLICA IDENTITY FULL", "REPLICA IDENTITY NOTHING", "SET (autovacuum_enabled = false)"];
        let state = state[self.rng.random_range(0..state.len())];
        self.run(&format!("ALTER TABLE {} {state}", relation.name)).await?;
        Ok(())
    }

    async fn foreign(&mut self) -> Result<()> {
        let (wrapper, server, role) = (self.new_name(), self.new_name(), self.role());
        let option = literal("it's=\\ \"x\"");
        let sql = format!(
            "CREATE FOREIGN DATA WRAPPER {wrapper} OPTIONS (\"o p\" {option}); \
             CREATE SERVER {server} VERSION {option} FOREIGN DATA WRAPPER {wrapper} OPTIONS (host {option}); \
             CREATE USER MAPPING FOR {role} SERVER {server} OPTIONS (user {option}, password {option})"
        );
        if !self.run(&sql).await? {
            return Ok(());
        }
        self.thing("FOREIGN DATA WRAPPER", &wrapper, false, Some(("FOREIGN DATA WRAPPER", "USAGE")));
        self.thing("SERVER", &server, true, Some(("FOREIGN SERVER", "USAGE")));
        let target = self.new_target();
        let (mut definitions, columns) = self.new_columns();
        definitions.retain(|definition| !definition.contains(" IDENTITY"));
        let sql = format!("CREATE FOREIGN TABLE {target} ({}) SERVER {server} OPTIONS (a {option})", definitions.join(", "));
        if self.run(&sql).await? {
            self.relations.push(Relation { name: target.clone(), kind: Kind::ForeignTable, columns, key: None });
            self.thing("FOREIGN TABLE", &target, true, Some(("TABLE", "SELECT")));
        }
        Ok(())
    }

    async fn rare(&mut self) -> Result<()> {
        let (target, name) = (self.new_target(), self.new_name());
        match self.rng.random_range(0..6) {
            0 => {
                let sql = format!(
                    "CREATE AGGREGATE {target}(integer) (SFUNC = int4larger, STYPE = integer, SORTOP = OPERATOR(pg_catalog.>))"
                );
                if self.run(&sql).await? {
                    self.thing("AGGREGATE", &format!("{target}(integer)"), true, None);
                }
            }
            1 => {
                let sql = format!("CREATE TEXT SEARCH CONFIGURATION {target} (COPY = pg_catalog.simple)");
                if self.run(&sql).await? {
                    self.thing("TEXT SEARCH CONFIGURATION", &target, true, None);
                }
            }
            2 => {
                let sql = format!(
                    "CREATE TEXT SEARCH DICTIONARY {target} (TEMPLATE = pg_catalog.simple, STOPWORDS = english, Accept = false)"
                );
                if self.run(&sql).await? {
                    self.thing("TEXT SEARCH DICTIONARY", &target, true, None);
                }
            }
            3 => {
                let Some(relation) = self.relation(&[Kind::Table, Kind::Partitioned]) else { return Ok(()) };
                let sql = format!("CREATE PUBLICATION {name} FOR TABLE {} WITH (publish = 'insert, truncate')", relation.name);
                if self.run(&sql).await? {
                    self.thing("PUBLICATION", &name, false, None);
                }
            }
            4 => {
                let sql = format!("CREATE COLLATION {target} (provider = libc, locale = 'C')");
                if self.run(&sql).await? {
                    self.thing("COLLATION", &target, true, None);
                }
            }
            _ => {
                let schema = self.schema.clone();
                let sql = format!(
                    "CREATE OPERATOR {schema}.=== (FUNCTION = int4eq, LEFTARG = integer, RIGHTARG = integer, COMMUTATOR = OPERATOR({schema}.===))"
                );
                if self.run(&sql).await? {
                    self.thing("OPERATOR", &format!("{schema}.=== (integer, integer)"), true, None);
                }
            }
        }
        Ok(())
    }
}
