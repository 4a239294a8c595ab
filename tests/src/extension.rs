//! An extension of our own making, so that scenarios have one with configuration tables: the destination gets its files, the source, whose
//! folders are not ours to write to, gets it without files.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::cluster::{Cluster, ClusterBuilder};
use crate::controller::{ident, literal};
use crate::error::{Doing, Result};

/// An extension's files, in a folder of their own.
#[derive(Debug)]
pub struct ExtensionFiles {
    folder: TempDir,
}

impl ExtensionFiles {
    /// Writes version 1.0 of an extension that anybody's server may read.
    pub fn write(name: &str, script: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("pgm-extension-").doing(|| "creating a folder for an extension".to_owned())?;
        let inner = folder.path().join("extension");
        let written = fs::create_dir(&inner)
            .and_then(|()| fs::write(inner.join(format!("{name}.control")), "default_version = '1.0'\nrelocatable = false\n"))
            .and_then(|()| fs::write(inner.join(format!("{name}--1.0.sql")), script))
            .and_then(|()| fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)));
        written.doing(|| format!("writing the extension {name}"))?;
        Ok(Self { folder })
    }

    /// Lets a PostgreSQL 18 server find it.
    #[must_use]
    pub fn known_to(&self, server: ClusterBuilder) -> ClusterBuilder {
        server.set("extension_control_path", &format!("$system:{}", self.folder.path().display()))
    }
}

/// Makes an extension without files: its script's objects are there already; the relations with their conditions are what
/// `pg_extension_config_dump` would be given.
pub async fn without_files(cluster: &Cluster, database: &str, name: &str, configuration: &[(&str, &str)]) -> Result<()> {
    let oid = if cluster.major() < 12 { ("", "") } else { ("oid, ", "99999, ") };
    let relations: Vec<String> = configuration.iter().map(|(relation, _)| format!("{}::regclass", literal(relation))).collect();
    let conditions: Vec<String> = configuration.iter().map(|(_, condition)| literal(condition)).collect();
    let mut sql = format!(
        "INSERT INTO pg_extension ({}extname, extowner, extnamespace, extrelocatable, extversion, extconfig, extcondition)
         VALUES ({}{}, 10, 'public'::regnamespace, false, '1.0', ARRAY[{}]::oid[], ARRAY[{}]);",
        oid.0,
        oid.1,
        literal(name),
        relations.join(", "),
        conditions.join(", ")
    );
    for (relation, _) in configuration {
        let kind = if relation.ends_with("_seq") { "SEQUENCE" } else { "TABLE" };
        // Writing to a String can't fail.
        let _ = write!(sql, "ALTER EXTENSION {} ADD {kind} {relation};", ident(name));
    }
    cluster.run(database, &sql).await
}
