//! The loop: observe, decide, act; for every mapping, and in it for every database, side by side. Start reading here.
//!
//! # Layout
//!
//! - [`mapping`] holds one mapping: its lock, roles, the tasks of its databases, the operator's requests, the projection.
//! - [`admission`] asks what must hold before a mapping is begun; `ending` carries out cutover and completion.
//! - [`database`] holds one database and its loop: it lets [`observe`] look at both sides, [`decide`] name the next step, and
//!   [`act`] and `fill` carry it out.
//! - `beside` keeps what the stream does not carry; `prove` compares the tables of which it may not have carried everything; `missing`
//!   finds rows that it met and the destination lacks; `isolate` takes a table that a stream fails at out of it.
//! - `early` knows which streams may begin while tables of others are still being copied, and `begun` looks after those that have.
//! - [`mod@watch`] looks after a database that streams: lag, facts of readiness, sequences, drift.
//! - `keeper` keeps the source's load and its WAL within the limits that were set.
//! - [`request`] reads what operators asked for, and answers; [`lock`] tells whether another controller has taken a mapping over.
//!
//! Nothing here is remembered over a restart: what is done is read from the servers' catalogs and the ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::config;
use crate::copy::standby::Standby;
use crate::gentle::{self, hold::Holds};
use crate::monitor::board::Board;
use crate::postgres::{Endpoint, Session};
use lock::Lock;

pub mod act;
pub mod admission;
mod begun;
mod beside;
pub mod database;
pub mod decide;
mod early;
mod ending;
pub mod fill;
pub mod history;
mod isolate;
mod keeper;
pub mod lock;
pub mod mapping;
mod missing;
pub mod observe;
mod prove;
mod reconnect;
pub mod request;
mod resync;
pub(crate) mod stall;
pub mod watch;

/// What every task of a mapping shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// The mapping's name.
    pub mapping: String,
    /// Its settings.
    pub settings: config::Mapping,
    /// The source instance.
    pub source: Endpoint,
    /// The destination instance.
    pub destination: Endpoint,
    /// Name of the control database on the destination.
    pub control_database: String,
    /// How often to look.
    pub tick: Duration,
    /// What is shown.
    pub board: Board,
    /// Shared session on the control database, for the ledger.
    pub control: Arc<Session>,
    /// By which the mapping is ours.
    pub lock: Lock,
    /// `copy_workers`, over all databases.
    pub copy_permits: Arc<Semaphore>,
    /// `index_workers`, over all databases: held for a piece of work, not for a phase, see [`build`](crate::provision::schema::build).
    pub build_permits: Arc<Semaphore>,
    /// What the databases' tasks are ordered to do, by database.
    pub orders: Arc<Mutex<BTreeMap<String, Vec<Order>>>>,
    /// The limits of the source, shared with its other mappings.
    pub gentle: Arc<gentle::Source>,
    /// A standby of the source to read rows from.
    pub standby: Option<Standby>,
    /// Why no further table is to be copied for now.
    pub holds: tokio::sync::watch::Receiver<Holds>,
}

/// An order to copy a database, or one of its tables, anew.
#[derive(Debug)]
pub struct Order {
    /// The table, as `schema.table`; without it all of the database.
    pub table: Option<String>,
    /// Told how many tables it is, or what went wrong.
    pub answer: oneshot::Sender<Result<usize, String>>,
}

/// What a mapping's databases are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Go on.
    Run,
    /// Begin nothing; streams go on.
    Paused,
    /// Come to an end at the next safe point: a cutover or a completion takes over.
    Stop,
}
