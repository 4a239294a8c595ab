//! From catalog rows to an ordered list of statements. In: the objects that `object` read. Out: [`Plan`], pure data.

pub mod statement;

pub use statement::{ObjectName, Section, Statement};

use crate::finding::Finding;

/// The whole DDL of one database, in the order of execution, and what could not be planned.
#[derive(Debug, Default)]
pub struct Plan {
    /// Sorted by section; within a section every statement comes after what it depends on.
    pub statements: Vec<Statement>,
    /// Objects that can't be carried over, or not as they are.
    pub findings: Vec<Finding>,
}
