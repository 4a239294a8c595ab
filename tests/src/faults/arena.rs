//! Two servers with proxies in front of them, on which one round follows the other.

use std::path::Path;
use std::time::Duration;

use super::ledger;
use super::proxy::Proxy;
use crate::cluster::Cluster;
use crate::controller::{ConfigFile, Mapping};
use crate::error::Result;

/// The role that pg-migrator connects as, on both sides: what happens to it happens to nobody else.
pub const MOVER: &str = "mover";
/// Its password, on both sides.
pub const PASSWORD: &str = "mover's password";
/// The database that each round's is made from.
const TEMPLATE: &str = "fault_template";
/// Bytes a second from the source: a copy is to last long enough to be struck.
const RATE: u64 = 20 << 20;
/// Connections each server takes: few enough to be used up.
const CONNECTIONS: &str = "80";

/// What the rows of a round's database are besides the ledger's: enough for a copy of a second, indexes, foreign keys, large values,
/// partitions, a table without key.
const BULK: &str = "
    CREATE SCHEMA bulk;
    CREATE TABLE bulk.big (id bigint PRIMARY KEY, k integer NOT NULL, body text NOT NULL);
    CREATE INDEX big_k ON bulk.big (k);
    CREATE INDEX big_body ON bulk.big (md5(body), k);
    CREATE TABLE bulk.child (id bigserial PRIMARY KEY, big bigint NOT NULL REFERENCES bulk.big, note text);
    CREATE TABLE bulk.wide (id integer PRIMARY KEY, document text);
    CREATE TABLE bulk.part (day date NOT NULL, n integer NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE bulk.part_1 PARTITION OF bulk.part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE bulk.part_2 PARTITION OF bulk.part FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
    CREATE TABLE bulk.huge (id bigint PRIMARY KEY, body text);
    CREATE TABLE bulk.altered (id integer PRIMARY KEY, body text);
    CREATE TABLE bulk.dropped (id integer PRIMARY KEY, body text);
    CREATE TABLE bulk.emptied (id integer PRIMARY KEY, body text);
    CREATE TABLE bulk.renamed (id integer PRIMARY KEY, body text);
    CREATE VIEW bulk.days AS SELECT day, count(*) AS n FROM bulk.part GROUP BY day;
    INSERT INTO bulk.big SELECT i, i % 100, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i;
    INSERT INTO bulk.child (big, note) SELECT i, 'note ' || i FROM generate_series(1, 3000) i;
    INSERT INTO bulk.wide SELECT i, (SELECT string_agg(md5((i * j)::text), '') FROM generate_series(1, 300) j) FROM generate_series(1, 200) i;
    INSERT INTO bulk.part SELECT '2026-01-01'::date + i % 59, i FROM generate_series(1, 3000) i;
    INSERT INTO bulk.altered SELECT i, md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO bulk.dropped SELECT i, md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO bulk.emptied SELECT i, md5(i::text) FROM generate_series(1, 500) i;
    INSERT INTO bulk.renamed SELECT i, md5(i::text) FROM generate_series(1, 500) i;";

/// A source and a destination, and the three ways between them and pg-migrator.
#[derive(Debug)]
pub struct Arena {
    /// The server to move from.
    pub source: Cluster,
    /// The PostgreSQL 18 server to move to.
    pub destination: Cluster,
    /// Between controller and source.
    pub to_source: Proxy,
    /// Between controller and destination.
    pub to_destination: Proxy,
    /// Between the destination's server and the source.
    pub between: Proxy,
}

impl Arena {
    /// Boots both servers; the destination's files go into `folder`, if one is given.
    pub async fn start(major: u32, folder: Option<&Path>) -> Result<Self> {
        let builder = |major| {
            Cluster::of(major)
                // What the source has acknowledged must outlive a kill: otherwise it would lose rows by itself.
                .set("synchronous_commit", "on")
                .set("max_connections", CONNECTIONS)
                // Silence is noticed sooner than by default: a round is short.
                .set("wal_receiver_timeout", "10s")
                .set("wal_sender_timeout", "10s")
        };
        let mut destination = builder(18);
        if let Some(folder) = folder {
            destination = destination.inside(folder).set("max_wal_size", "64MB").set("min_wal_size", "32MB");
        }
        let (source, destination) = tokio::try_join!(builder(major).start(), destination.start())?;
        for server in [&source, &destination] {
            server
                .run("postgres", &format!("CREATE ROLE {MOVER} SUPERUSER LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")))
                .await?;
        }
        source.run("postgres", &format!("CREATE DATABASE {TEMPLATE}")).await?;
        source.run(TEMPLATE, &format!("{BULK}{} ANALYZE;", ledger::schema())).await?;
        let (to_source, to_destination, between) = tokio::try_join!(
            Proxy::start(source.port(), RATE),
            Proxy::start(destination.port(), 20 * RATE),
            Proxy::start(source.port(), 20 * RATE)
        )?;
        Ok(Self { source, destination, to_source, to_destination, between })
    }

    /// From now on the servers give a stream up whose other end says nothing for so long.
    pub async fn give_up_after(&self, patience: Duration) -> Result<()> {
        for (server, name) in [(&self.source, "wal_sender_timeout"), (&self.destination, "wal_receiver_timeout")] {
            server.run("postgres", &format!("ALTER SYSTEM SET {name} = '{}ms'", patience.as_millis())).await?;
            server.run("postgres", "SELECT pg_reload_conf()").await?;
        }
        Ok(())
    }

    /// All proxies.
    pub fn proxies(&self) -> [&Proxy; 3] {
        [&self.to_source, &self.to_destination, &self.between]
    }

    /// Makes a round's database on the source.
    pub async fn make(&self, database: &str) -> Result<()> {
        self.source.run("postgres", &format!("CREATE DATABASE {database} TEMPLATE {TEMPLATE}")).await
    }

    /// Takes a round's database away on both sides.
    pub async fn clear(&self, database: &str) -> Result<()> {
        for server in [&self.source, &self.destination] {
            let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'");
            server.run("postgres", &end).await?;
            let drop = format!("DROP DATABASE IF EXISTS {database}");
            // The sessions that were ended may need a moment.
            let mut tries = 0;
            while let Err(error) = server.run("postgres", &drop).await {
                tries += 1;
                if tries == 20 {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Lets everything through all proxies again.
    pub fn let_through(&self) {
        for proxy in self.proxies() {
            proxy.let_through();
        }
    }

    /// A configuration whose one mapping is of one database, through the proxies.
    pub fn config(&self, mapping: &str, database: &str) -> ConfigFile {
        ConfigFile::new()
            .tick("200ms")
            .instance_at("old", self.to_source.port(), MOVER, PASSWORD)
            .instance_line(&format!("from_destination = {{ host = \"127.0.0.1\", port = {} }}", self.between.port()))
            .instance_at("new", self.to_destination.port(), MOVER, PASSWORD)
            .mapping(&Mapping::new(mapping, "old", "new").databases(&[database]))
    }
}
