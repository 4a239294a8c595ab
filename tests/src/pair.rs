//! A source and a destination, with the usual mapping between them.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::controller::{ConfigFile, Mapping};
use crate::error::{Error, Result};

/// How long a stream may take to carry what was written.
const DRAIN_LIMIT: Duration = Duration::from_mins(2);

/// How long a scenario waits for a mapping to become ready. It says "never", not "fast": the machine may be busy.
pub const READY_LIMIT: Duration = Duration::from_mins(3);

/// The mapping's name in [`Pair::config`].
pub const MAPPING: &str = "erp";

/// One source and one PostgreSQL 18 destination.
#[derive(Debug)]
pub struct Pair {
    /// The server to move.
    pub source: Cluster,
    /// The empty PostgreSQL 18 server.
    pub destination: Cluster,
}

impl Pair {
    /// A source of this major version and a destination.
    pub async fn start(major: u32) -> Result<Self> {
        let (source, destination) = tokio::try_join!(Cluster::start(major), Cluster::start(18))?;
        Ok(Self { source, destination })
    }

    /// The instances `erp_old` and `erp_new`, without a mapping.
    pub fn instances(&self) -> ConfigFile {
        ConfigFile::new().instance("erp_old", &self.source).instance("erp_new", &self.destination)
    }

    /// The mapping `erp` of all databases.
    pub fn config(&self) -> ConfigFile {
        self.instances().mapping(&Mapping::new(MAPPING, "erp_old", "erp_new"))
    }
}

/// Waits until everything that was written to a source so far is applied, as the source's own slots of pg-migrator say.
/// Nobody may be writing.
pub async fn drained(source: &Cluster) -> Result<()> {
    // Commits may be on their way into the log still (synchronous_commit is off): what is asked for now comes behind them.
    let written = source.value("postgres", "SELECT pg_logical_emit_message(false, 'scenario', 'drained')").await?;
    let slots = format!(
        "SELECT slot_name, confirmed_flush_lsn, active, confirmed_flush_lsn >= '{written}' FROM pg_replication_slots
         WHERE slot_name LIKE 'pg\\_migrator\\_%' AND NOT temporary"
    );
    let begun = Instant::now();
    loop {
        let found = source.rows("postgres", &slots).await?;
        if !found.is_empty() && found.iter().all(|slot| slot[3] == "t") {
            return Ok(());
        }
        if begun.elapsed() > DRAIN_LIMIT {
            let what = format!("the slots of pg-migrator to be confirmed up to {written}");
            return Err(Error::Timeout { what, waited: begun.elapsed(), state: format!("they were {found:?}") });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
