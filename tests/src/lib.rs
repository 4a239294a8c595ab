//! Real clusters for the scenarios in `tests/` and for the demo.
//!
//! # Layout
//!
//! - [`cluster`] boots one PostgreSQL server of a given major version and takes it away again, whatever happens.
//! - [`pair`] is a source and a PostgreSQL 18 destination; [`databases`] and [`fixtures`] are what is loaded into
//!   the source.
//! - [`controller`] runs the `pg-migrator` binary between them: starts it, kills it, asks it things, waits for facts.
//! - [`findings`] is what `pg-migrator check` found.
//! - [`workload`] keeps changing every table while that happens.
//! - [`compare`] and [`dump_diff`] are the oracles. They are independent of pg-migrator's code: the servers count and
//!   hash their own rows, and `pg_dump` describes the schemas.
//! - [`extension`] makes an extension with configuration tables; [`label_provider`] has servers take security labels.
//! - [`faults`] has rounds in which something goes wrong on purpose.
//! - [`schema`] carries a schema with our plan and nothing else of us.
//! - [`bench`] measures it beside the other ways of moving a database.
//! - [`browser`] and [`http`] look at the dashboard.

pub mod bench;
pub mod browser;
pub mod cluster;
pub mod compare;
pub mod controller;
pub mod databases;
pub mod dump_diff;
pub mod error;
pub mod extension;
pub mod faults;
pub mod findings;
pub mod fixtures;
pub mod http;
pub mod label_provider;
pub mod pair;
pub mod schema;
pub mod workload;

pub use cluster::Cluster;
pub use controller::{ConfigFile, Controller, Mapping};
pub use error::{Error, Result};
pub use pair::Pair;
pub use workload::{Workload, Writers};
