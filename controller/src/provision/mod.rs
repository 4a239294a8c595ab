//! What must be on the destination before any table: roles, then databases.
//!
//! In: the source's and the destination's shared catalogs, read by `read` functions into plain data. Out: statements and
//! findings, made by pure functions. Nothing here executes a statement on a destination or decides when.

pub mod control;
pub mod databases;
pub mod roles;
pub mod setting;

pub use setting::Setting;
