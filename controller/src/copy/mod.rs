//! The copy. In: a database's tables that are not attached yet. Out: tables whose rows are on the destination exactly as
//! of one position in the source's log, and attached there to the subscription.
//!
//! [`pass`] takes a snapshot and starts workers; [`schedule`] says what they do next: a table, or a [`part`] of a large one;
//! [`worker`] copies it with a [`loader`], and [`pipe`] moves its rows; [`table`] says what a table is.

pub mod loader;
pub mod part;
pub mod pass;
pub mod pipe;
pub mod schedule;
pub mod standby;
pub mod table;
mod together;
mod worker;

pub use table::{ReplicaIdentity, Table};
