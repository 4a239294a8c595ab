//! Random schemas, made step by step on the source: what the server refuses did not happen.
//!
//! # Layout
//!
//! - here: what the database holds so far, and the choice of the next step
//! - `types`: types, and columns of them
//! - `relations`, `partitions`, `views`: what has columns
//! - `attached`: what hangs on a table: indexes, constraints, statistics
//! - `code`: functions, triggers, rules, policies
//! - `privileges`: owners, grants, default privileges, comments
//! - `rare`: what few schemas have

mod attached;
mod code;
mod partitions;
mod privileges;
mod rare;
mod relations;
mod types;
mod views;

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
    /// Quoted.
    schema: String,
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
    /// The source's version: what it does not have is not asked of it.
    major: u32,
    rng: StdRng,
    number: usize,
    made: usize,
    refused: usize,
    /// Quoted.
    schema: String,
    relations: Vec<Relation>,
    /// Partitions, behind their parents.
    partitions: Vec<(String, String)>,
    /// Domains, with the name of a check where they have one.
    domains: Vec<(String, Option<String>)>,
    /// Composite types with one of their fields.
    composites: Vec<(String, String)>,
    /// Types with what they are like.
    types: Vec<(String, Family)>,
    /// Functions of one integer that give one.
    functions: Vec<String>,
    sequences: Vec<String>,
    things: Vec<Thing>,
}

impl World {
    /// An empty database's.
    pub fn new(client: Client, major: u32, rng: StdRng) -> Self {
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
            major,
            rng,
            number: 0,
            made: 0,
            refused: 0,
            schema: String::new(),
            relations: Vec::new(),
            partitions: Vec::new(),
            domains: Vec::new(),
            composites: Vec::new(),
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
            privileges: Some(("SCHEMA", "CREATE USAGE")),
        });
        // Who passes a privilege on must find the object then, and at the copy too.
        for role in ROLES {
            self.run(&format!("GRANT USAGE ON SCHEMA {} TO {}", self.schema, ident(role))).await?;
        }
        // Every schema has something for the others to use.
        self.data_type().await?;
        self.table().await?;
        for _ in 0..self.rng.random_range(10..30) {
            match self.rng.random_range(0..35) {
                0..=1 => self.data_type().await?,
                2..=5 => self.table().await?,
                6 => self.partitioned().await?,
                7 => self.partition_setting().await?,
                8 => self.child().await?,
                9..=11 => self.view().await?,
                12 => self.view_setting().await?,
                13 => self.function().await?,
                14 => self.sequence().await?,
                15..=16 => self.index().await?,
                17 => self.foreign_key().await?,
                18..=19 => self.constraint().await?,
                20 => self.trigger().await?,
                21 => self.rule().await?,
                22 => self.policy().await?,
                23 => self.column_setting().await?,
                24..=25 => self.comment().await?,
                26 => self.owner().await?,
                27..=28 => self.grant().await?,
                29 => self.column_grant().await?,
                30..=31 => self.default_privileges().await?,
                32 => self.statistics_or_state().await?,
                33 => self.foreign().await?,
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

    /// Whether the source has what came with this version.
    fn has(&self, since: u32) -> bool {
        self.major >= since
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

    /// Notes a relation that was made in this schema.
    fn new_relation(&mut self, target: &str, kind: Kind, columns: Vec<Column>, key: Option<String>) {
        let (name, schema) = (target.to_owned(), self.schema.clone());
        self.relations.push(Relation { name, schema, kind, columns, key });
    }

    /// A function of one integer that gives one.
    fn a_function(&mut self) -> String {
        self.pick(&self.functions.clone()).unwrap_or_default()
    }

    fn thing(&mut self, keyword: &'static str, target: &str, ownable: bool, privileges: Option<(&'static str, &'static str)>) {
        self.things.push(Thing { keyword, target: target.to_owned(), ownable, privileges });
    }

    /// A condition on a column.
    fn condition(&mut self, column: &Column) -> String {
        let function = self.a_function();
        match column.family {
            Family::Number if self.chance(3) => format!("{function}(({})::integer) > 0", column.name),
            Family::Number => format!("{} > {}", column.name, self.rng.random_range(-5..5)),
            Family::Text => format!("{} <> {}", column.name, literal("it's; \\ --")),
            Family::Other => format!("{} IS NOT NULL", column.name),
        }
    }
}
