//! One statement of a plan, as data: `pg-migrator plan` prints it, `run` executes it.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::draft::Part;

/// When a statement is executed. The order of the variants is the order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Everything a table needs to take rows: schemas, types, functions, tables, sequences, views.
    BeforeData,
    /// Indexes, keys, check-like constraints, statistics, rules, ordinary triggers, policies, ACLs: per table, after its copy.
    AfterData,
    /// Foreign keys and the filling of materialized views: when every table streams.
    AfterStreaming,
    /// What would disturb the stream: replica-firing triggers, event triggers, forced row security.
    AtCutover,
}

impl Section {
    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::BeforeData => "before the data: everything that a table needs to take rows",
            Self::AfterData => "after the data: each table's statements when its rows are there",
            Self::AfterStreaming => "after streaming: when every table is in step",
            Self::AtCutover => "at the cutover: what would disturb the stream",
        }
    }
}

/// What kind of object a statement is about, and its name: stable over restarts, and equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectName {
    /// The object class: `table`, `index`, `constraint`, `trigger`, …, as in `CLASSES`.
    pub class: &'static str,
    /// The schema, or empty for objects without one.
    pub schema: String,
    /// The table (or domain, view) the object belongs to, or empty.
    pub parent: String,
    /// The object's own name; for functions with the identity arguments: `f(integer, text)`.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.class)?;
        if !self.schema.is_empty() {
            write!(f, "{}.", self.schema)?;
        }
        if !self.parent.is_empty() {
            write!(f, "{}.", self.parent)?;
        }
        f.write_str(&self.name)
    }
}

/// One DDL statement of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// The SQL, without a trailing semicolon, with every name qualified and quoted; fit to be shown and stored. Execute what
    /// [`executable`](Self::executable) gives.
    pub sql: String,
    /// The SQL with the passwords that `sql` hides, where there are any.
    #[serde(skip)]
    pub secret: Option<SecretString>,
    /// What it makes or alters.
    pub object: Arc<ObjectName>,
    /// Which part of the object it makes.
    #[serde(skip)]
    pub part: Part,
    /// When it is executed.
    pub section: Section,
    /// OID on the source of the table whose copy must be over first (after-data statements only).
    pub table: Option<u32>,
    /// Of a foreign key between tables that have rows of their own: OIDs on the source of both. It may be made and validated before its
    /// section, when everything else about them is done and they show one state of the source.
    #[serde(skip)]
    pub between: Option<[u32; 2]>,
    /// SQL that gives one boolean row: whether the statement's effect is already there on the destination. Statements of
    /// `AfterData` and later have one wherever running the statement a second time would fail; `None` means running again is harmless.
    pub done_when: Option<String>,
    /// SQL that takes the effect back (`AtCutover` only), for a cutover that is undone.
    pub undo: Option<String>,
    /// Indexes in the same plan of statements that this one needs: all of them smaller than its own.
    pub after: Box<[u32]>,
}

impl Statement {
    /// The SQL that is executed. It may hold passwords: never print, log or store it.
    pub fn executable(&self) -> &str {
        self.secret.as_ref().map_or(&self.sql, |secret| secret.expose_secret())
    }

    /// Whether it makes the object, or something that others may need of it: without it they can't be made either.
    pub fn makes(&self) -> bool {
        self.part == Part::Create
    }

    /// The indexes of what it needs.
    pub fn needs(&self) -> impl Iterator<Item = usize> + '_ {
        self.after.iter().map(|&before| before as usize)
    }
}
