//! The moments of a migration at which a fault may strike, told from the destination's own catalogs.

use std::fmt;

use crate::cluster::rows;
use crate::controller::literal;
use crate::error::{Error, Result};
use tokio_postgres::Client;

/// A moment of a migration. Ordered as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing has begun.
    Before,
    /// The database is there and is being filled with objects, publication and slot.
    Schema,
    /// Rows are being copied.
    Copy,
    /// Indexes are being built.
    Index,
    /// The stream has begun, and is not yet declared ready.
    CatchUp,
    /// Ready for cutover.
    Stream,
    /// A cutover has been asked for.
    Cutover,
    /// Completion has been asked for.
    Cleanup,
}

impl Phase {
    /// All in which a fault may strike.
    pub const ALL: [Self; 7] = [Self::Schema, Self::Copy, Self::Index, Self::CatchUp, Self::Stream, Self::Cutover, Self::Cleanup];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Schema => "schema",
            Self::Copy => "copy",
            Self::Index => "index build",
            Self::CatchUp => "catch-up",
            Self::Stream => "stream",
            Self::Cutover => "cutover",
            Self::Cleanup => "cleanup",
        }
    }
}

impl Phase {
    /// Whether a migration passes through it once. To the others it comes back after a fault, or stays.
    pub fn is_passed_once(self) -> bool {
        matches!(self, Self::Before | Self::Cutover | Self::Cleanup)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Looks where a database is between [`Phase::Before`] and [`Phase::CatchUp`]; `client` is connected to any database of the destination.
pub async fn look(client: &Client, database: &str) -> Result<Phase> {
    let name = literal(database);
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_database WHERE datname = {name}),
                EXISTS (SELECT FROM pg_stat_progress_copy WHERE datname = {name}),
                EXISTS (SELECT FROM pg_stat_progress_create_index WHERE datname = {name}),
                EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = {name} AND subenabled)"
    );
    let found = rows(client, &sql).await?;
    let [exists, copying, building, enabled] = found[0].as_slice() else {
        return Err(Error::Broken("no answer to where the database is".to_owned()));
    };
    Ok(match (enabled == "t", building == "t", copying == "t", exists == "t") {
        (true, ..) => Phase::CatchUp,
        (_, true, ..) => Phase::Index,
        (_, _, true, _) => Phase::Copy,
        (_, _, _, true) => Phase::Schema,
        _ => Phase::Before,
    })
}
