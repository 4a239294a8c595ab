//! What must be on the destination before any row: roles, databases, schema.
//!
//! In: the source's and the destination's shared catalogs, read by `read` functions into plain data. Out: statements and
//! findings, made by pure functions. [`carry`] executes those of roles and databases, [`before_data`] and [`schema`] those of a plan, the latter in the
//! order that [`queue`] says;
//! [`failure`] knows what failed and what is left out for it, and [`cause`] sees to it that one cause is told once; [`control`] makes the
//! control database; [`label_provider`] says whose security labels can't be set, [`system_collation`] what can't be sorted;
//! [`rehearsal`] tries a plan beforehand, and asks (`bodies`) what functions mean there;
//! [`statistics`] is what the planner knows of the rows; [`tablespaces`] says where things go.

pub mod before_data;
pub mod bodies;
pub mod carry;
pub mod cause;
pub mod control;
pub mod databases;
pub mod failure;
pub mod label_provider;
pub mod queue;
pub mod rehearsal;
pub mod roles;
pub mod schema;
pub mod setting;
pub mod statistics;
pub mod system_collation;
pub mod tablespaces;

pub use setting::Setting;
