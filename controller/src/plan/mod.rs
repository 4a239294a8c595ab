//! From catalog rows to an ordered list of statements. In: the objects that `object` read. Out: [`Plan`], pure data.
//!
//! # Layout
//!
//! - `draft`: a statement before it has its place
//! - `graph`: which draft needs which, from `pg_depend`
//! - `repair`: loops, and what depends on something that is made after the data
//! - `order`: the stable order and the sections
//! - `statement`: the result

pub mod draft;
mod graph;
mod order;
mod repair;
pub mod statement;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use statement::{ObjectName, Section, Statement};

use crate::finding::Finding;
use crate::object::Catalog;
use draft::{Context, Repairs};
use graph::Graph;

/// The whole DDL of one database, in the order of execution, and what could not be planned.
#[derive(Debug, Default)]
pub struct Plan {
    /// Sorted by section; within a section every statement comes after what it depends on.
    pub statements: Vec<Statement>,
    /// Objects that can't be carried over, or not as they are.
    pub findings: Vec<Finding>,
}

/// A table's replica identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// The primary key, if there is one.
    Default,
    /// None.
    Nothing,
    /// The whole row.
    Full,
    /// The unique index of this name, in the table's schema.
    Index(String),
}

/// A replica identity that differs while the table streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaIdentityChange {
    /// What the table had before the migration began, and has again after the cutover.
    pub original: ReplicaIdentity,
    /// What it has while it streams.
    pub streaming: ReplicaIdentity,
}

/// In what a plan differs from the source's catalogs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// By the table's OID on the source: replica identities that we changed or will change. A table that is not here keeps
    /// the one that the catalogs show.
    pub replica_identity: HashMap<u32, ReplicaIdentityChange>,
    /// By tablespace of the source: that of the destination. What is in one that is not here goes to the database's own.
    pub tablespaces: BTreeMap<String, String>,
}

/// Plans the DDL of a database. Pure: the same catalog and options give the same plan, byte for byte.
pub fn plan(catalog: &Catalog, options: &Options) -> Plan {
    let mut repairs = Repairs::default();
    loop {
        let drafts = draft::all(&Context { catalog, options, repairs: &repairs });
        let mut graph = Graph::new(catalog, drafts);
        let mut findings = Vec::new();
        let mut loops = graph.loops();
        let mut repaired = repair::loops(catalog, &graph, &loops, &mut repairs);
        if !repaired {
            // Nothing we know helps: cut the loop open, so that the rest goes on, and say so.
            while let Some(first) = loops.first() {
                findings.extend(repair::cut(&mut graph, first));
                loops = graph.loops();
            }
            graph.link_fills();
            graph.promote();
            repaired = repair::boundary(catalog, &graph, &mut repairs);
        }
        if !repaired {
            graph.link_default_privileges();
            graph.promote();
            findings.extend(catalog.findings.iter().cloned());
            findings.extend(repair::late(&graph));
            findings.sort();
            return Plan { statements: order::statements(graph), findings };
        }
    }
}
