//! A source and a destination, with the usual mapping between them.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::controller::{ConfigFile, Mapping};
use crate::error::Result;

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
