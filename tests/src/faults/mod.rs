//! The fault suite: rounds in which things go wrong at certain moments of a migration, while everything is written to.
//!
//! # Layout
//!
//! - [`fault`] lists what can go wrong, and in which phases it may strike; [`strike`] makes it happen and takes it back.
//! - [`plan`] says which of them strike in a round, and when.
//! - [`phase`] are the moments of a migration, and how a round waits for one.
//! - [`arena`] is a pair of servers with [`proxy`]s in front of them, used for many rounds, each with a database of its own; [`disk`] is one that gets full.
//! - [`ledger`] are the writers, who note what the source acknowledged to them: the oracle that trusts neither server.
//! - [`round`] is one round from empty to clean: migrate, strike, recover, cut over, compare, complete.
//! - [`report`] adds rounds up.
//!
//! A round ends exact, or in a refusal that has a name and is cured by what it says; anything else fails it. A round is repeated by its
//! seed: which phase, which victim, how long, how many bytes. The servers' own timing is not in the seed.

pub mod arena;
pub mod disk;
pub mod fault;
pub mod ledger;
pub mod phase;
pub mod plan;
pub mod proxy;
pub mod report;
pub mod round;
mod strike;

pub use arena::Arena;
pub use disk::SmallDisk;
pub use fault::{Fault, Measures};
pub use phase::Phase;
pub use plan::Strike;
pub use report::Report;
pub use round::{Outcome, Round, Score};
