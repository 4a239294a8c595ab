//! The oddest objects of every class, a file a class.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::dump_diff;
use crate::error::{Error, Result};

/// Loads all that the server's version can hold into a database.
pub fn load(cluster: &Cluster, database: &str) -> Result<()> {
    for (path, sql) in files(cluster.major())? {
        // psql, as for everyone: a script may hold what can't run in one transaction.
        dump_diff::psql(cluster, database, &sql).map_err(|error| Error::Broken(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// The files of `fixtures/` that this version can load, the roles first: `-- needs: 17` in the first line asks for a newer one.
fn files(major: u32) -> Result<Vec<(PathBuf, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let unreadable = |error: std::io::Error| Error::Io { doing: format!("reading {}", folder.display()), source: error };
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let sql = fs::read_to_string(&path).map_err(unreadable)?;
        let needs = sql
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("-- needs: "))
            .and_then(|needs| needs.trim().parse::<u32>().ok());
        if needs.is_none_or(|needs| needs <= major) {
            fixtures.push((!path.ends_with("roles.sql"), path, sql));
        }
    }
    fixtures.sort();
    Ok(fixtures.into_iter().map(|(_, path, sql)| (path, sql)).collect())
}
