//! The copy. In: a database's tables that are not attached yet. Out: tables whose rows are on the destination exactly as
//! of one position in the source's log, and attached there to the subscription.
//!
//! [`pass`] takes a snapshot and hands tables to workers; [`pipe`] moves one table's rows; [`table`] says what a table is.

pub mod pass;
pub mod pipe;
pub mod table;

pub use table::{ReplicaIdentity, Table};
