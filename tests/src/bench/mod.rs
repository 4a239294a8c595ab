//! `make bench`: pg-migrator against the other ways of moving the same database, on the same servers.
//!
//! A [`data::Row`] of the result is a kind of database; it is built once on the source, and then every [`contender::Contender`] moves it
//! in turn, round after round, so that what else the machine does falls on all of them alike. [`meter`] reads the processor
//! time from the kernel. What counts as done is asked of the servers' catalogs, the same for all.

pub mod contender;
pub mod data;
pub mod drain;
pub mod load;
pub mod meter;
pub mod report;

use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::Result;

/// So many jobs of each kind, for every contender.
pub const JOBS: usize = 2;
/// The older server that is moved from.
const SOURCE: u32 = 15;

/// The two servers that all contenders share.
#[derive(Debug)]
pub struct Servers {
    /// To be moved.
    pub source: Cluster,
    /// PostgreSQL 18.
    pub destination: Cluster,
}

impl Servers {
    /// Starts both, with memory as on a small server of one's own; fsync is off, so that it is not the disk that is measured.
    pub async fn start() -> Result<Self> {
        let more = std::env::var("BENCH_SET").unwrap_or_default();
        let of = |major| {
            let settings = more.split(';').filter_map(|setting| setting.split_once('='));
            settings
                .fold(Cluster::of(major), |cluster, (name, value)| cluster.set(name, value))
                .set("shared_buffers", "512MB")
                .set("maintenance_work_mem", "256MB")
                .set("max_wal_size", "16GB")
                .set("autovacuum", "off")
                .set("max_locks_per_transaction", "256")
        };
        let (source, destination) = tokio::try_join!(of(SOURCE).start(), of(18).set("wal_level", "replica").start())?;
        Ok(Self { source, destination })
    }

    /// Processor time that both have taken so far.
    pub async fn processor_time(&self) -> Result<Duration> {
        let (source, destination) = tokio::try_join!(meter::server(&self.source), meter::server(&self.destination))?;
        Ok(source + destination)
    }
}
