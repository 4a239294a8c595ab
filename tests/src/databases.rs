//! The databases that the scenarios move: schema, rows and writers as SQL files.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::controller::ident;
use crate::error::Result;
use crate::workload::{Workload, Writers};

/// A database's files.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Schema and rows.
    pub sql: &'static str,
    /// What its writers do.
    pub writes: &'static str,
}

/// A realistic shop; PostgreSQL 13 and later.
pub const SHOP: Sample = Sample { sql: include_str!("../demo/shop.sql"), writes: include_str!("../demo/shop_writes.sql") };
/// A small one that every version takes.
pub const SMALL: Sample =
    Sample { sql: include_str!("../databases/small.sql"), writes: include_str!("../databases/small_writes.sql") };
/// Names that need quotes; every version.
pub const WEIRD: Sample =
    Sample { sql: include_str!("../databases/weird.sql"), writes: include_str!("../databases/weird_writes.sql") };
/// Quotes, backslashes and non-ASCII in every name; PostgreSQL 11 and later.
pub const NAMES: Sample =
    Sample { sql: include_str!("../databases/names.sql"), writes: include_str!("../databases/names_writes.sql") };

/// Makes so many tables of about 1 MB each in a database.
pub async fn megabytes(cluster: &Cluster, database: &str, tables: u32) -> Result<()> {
    let sql = format!(
        "DO $$ BEGIN FOR n IN 1..{tables} LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, t text)', n);
             EXECUTE format('INSERT INTO t%s SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 1000) i', n);
         END LOOP; END $$"
    );
    cluster.run(database, &sql).await
}

impl Sample {
    /// Makes a database of it. `scale` multiplies the rows where the file knows `:scale`.
    pub async fn load(&self, cluster: &Cluster, database: &str, scale: u32) -> Result<()> {
        cluster.run("postgres", &format!("CREATE DATABASE {}", ident(database))).await?;
        cluster.run(database, &self.sql.replace(":scale", &scale.to_string())).await
    }

    /// Starts its writers, each with `pause` between transactions.
    pub async fn write(&self, cluster: &Cluster, database: &str, seed: u64, pause: Duration) -> Result<Workload> {
        let writers = Writers::parse(self.writes, cluster.major())?;
        Workload::start(cluster, database, &writers, seed, pause).await
    }
}
