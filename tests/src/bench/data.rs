//! The databases that are moved.

use crate::cluster::Cluster;
use crate::error::Result;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// What most databases are: a few large tables, many small ones, keys, foreign keys, partitions, some long values.
    Mixed,
    /// One large table with two indexes.
    Big,
    /// Five thousand small tables.
    Small,
    /// Long values.
    Toast,
}

impl Row {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mixed, Self::Big, Self::Small, Self::Toast];

    /// Its name: on the command line, and of the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Big => "big",
            Self::Small => "small",
            Self::Toast => "toast",
        }
    }

    /// Its size without another wish, in units of about 100 MB: 2 GB of the mixed database, a table of 4 GB, 1.5 GB of long values.
    pub fn scale(self) -> u32 {
        match self {
            Self::Mixed => 20,
            Self::Big => 55,
            Self::Small => 1,
            Self::Toast => 10,
        }
    }

    /// What it is, for the table of results.
    pub fn describes(self) -> &'static str {
        match self {
            Self::Mixed => "mixed database",
            Self::Big => "one table, two indexes",
            Self::Small => "5,000 small tables",
            Self::Toast => "long values (TOAST)",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Mixed => include_str!("mixed.sql"),
            Self::Big => include_str!("big.sql"),
            Self::Small => include_str!("small.sql"),
            Self::Toast => include_str!("toast.sql"),
        }
    }

    /// Makes the database. `scale` is its size in units of about 100 MB, where size is what it is about.
    pub async fn build(self, source: &Cluster, scale: u32) -> Result<u64> {
        let name = self.name();
        source.run("postgres", &format!("CREATE DATABASE {name}")).await?;
        for part in self.sql().split("\n\n") {
            source.run(name, &part.replace(":scale", &scale.to_string())).await?;
        }
        source.run(name, "VACUUM ANALYZE").await?;
        source.run(name, "CHECKPOINT").await?;
        let size = source.value(name, &format!("SELECT pg_database_size('{name}')")).await?;
        Ok(size.parse().unwrap_or(0))
    }
}

/// Indexes, valid constraints that need work, and tables: what must be there for a move to be over.
pub const OBJECTS: &str = "
    WITH s AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
    SELECT (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace IN (SELECT oid FROM s) AND indisvalid)
        || ' indexes, ' || (SELECT count(*) FROM pg_constraint c WHERE connamespace IN (SELECT oid FROM s) AND contype IN ('p', 'u', 'x', 'f') AND convalidated)
        || ' constraints'";

/// Tables that hold rows.
pub const TABLES: &str = "
    SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p'
       AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')";

/// Rows of all tables together.
pub async fn rows(cluster: &Cluster, database: &str) -> Result<String> {
    let client = cluster.connect(database).await?;
    let count = "
        CREATE FUNCTION pg_temp.rows() RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE total bigint := 0; one bigint; t regclass;
        BEGIN
            FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p'
                AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
            LOOP EXECUTE format('SELECT count(*) FROM ONLY %s', t) INTO one; total := total + one; END LOOP;
            RETURN total;
        END $$; SELECT pg_temp.rows()";
    let found = crate::cluster::rows(&client, count).await?;
    Ok(found.into_iter().flatten().next().unwrap_or_default())
}
