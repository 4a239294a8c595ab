//! The stream: publication and slot on the source, subscription on the destination, sequences beside them.
//!
//! In: the tables of a database. Out: native logical replication that applies every change after each table's own position.

pub mod publication;
pub mod resync;
pub mod sequences;
pub mod slot;
pub mod subscription;

/// Names of what we make, all derived from the mapping and the source database's OID, so that a restarted controller
/// finds them. Only `a-z0-9_`, as slot names demand, and well below 63 bytes.
#[derive(Debug, Clone)]
pub struct Names {
    /// Publication in the source database.
    pub publication: String,
    /// Slot on the source; the subscription has the same name.
    pub slot: String,
}

impl Names {
    /// The names for one database of a mapping.
    pub fn new(mapping: &str, source_database_oid: u32) -> Self {
        Self { publication: format!("pg_migrator_{mapping}"), slot: format!("pg_migrator_{mapping}_{source_database_oid}") }
    }

    /// The subscription's name.
    pub fn subscription(&self) -> &str {
        &self.slot
    }
}
