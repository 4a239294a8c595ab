//! The stream: publication and slot on the source, subscription on the destination, sequences beside them.
//!
//! In: the tables of a database. Out: native logical replication that applies every change after each table's own position.
//! A database has one stream, or K of them (`streams = K`): each with a publication, a slot and a subscription of its own, so
//! that K apply workers share the load. Which stream a table belongs to is what the publications on the source say.

pub mod balance;
pub mod conflict;
pub mod entering;
pub mod money;
pub mod options;
pub mod pgoutput;
pub mod publication;
pub mod resync;
pub mod sequences;
pub mod slot;
pub mod subscription;

use crate::ledger::{Kind, SideEffect};

/// Names of what we make, all derived from the mapping and the source database's OID, so that a restarted controller
/// finds them. Only `a-z0-9_`, as slot names demand, and well below 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Publication in the source database.
    pub publication: String,
    /// Slot on the source; the subscription has the same name.
    pub slot: String,
}

impl Names {
    /// The names of one stream of a database; streams are counted from 0. The first has the names that a single one has.
    pub fn new(mapping: &str, source_database_oid: u32, stream: usize) -> Self {
        let suffix = if stream == 0 { String::new() } else { format!("_s{}", stream + 1) };
        Self {
            publication: format!("pg_migrator_{mapping}{suffix}"),
            slot: format!("pg_migrator_{mapping}_{source_database_oid}{suffix}"),
        }
    }

    /// The names of a database's streams: as many as there are since the first publication was made, else as many as
    /// the configuration wants.
    pub fn of_database(
        mapping: &str,
        database: &str,
        source_database_oid: u32,
        effects: &[SideEffect],
        configured: usize,
    ) -> Vec<Self> {
        let first = Self::new(mapping, source_database_oid, 0);
        let made = effects
            .iter()
            .find(|e| e.kind == Kind::Publication && e.database == database && e.object == first.publication)
            .map(|e| e.detail.get(STREAMS).and_then(serde_json::Value::as_u64).unwrap_or(1) as usize);
        (0..made.unwrap_or(configured).max(1)).map(|stream| Self::new(mapping, source_database_oid, stream)).collect()
    }

    /// The stream's other publication in the source database: of tables whose inserts alone are carried.
    pub fn inserts(&self) -> String {
        format!("{}_inserts", self.publication)
    }

    /// The names of both publications, whether they are there or not.
    pub fn publications(&self) -> [String; 2] {
        [self.publication.clone(), self.inserts()]
    }

    /// The OID of the source database that a slot (or subscription) of this mapping belongs to, by its name.
    pub fn source_oid(mapping: &str, slot: &str) -> Option<u32> {
        let rest = slot.strip_prefix("pg_migrator_")?.strip_prefix(mapping)?.strip_prefix('_')?;
        rest.split_once("_s").map_or(rest, |(oid, _)| oid).parse().ok()
    }

    /// The subscription's name.
    pub fn subscription(&self) -> &str {
        &self.slot
    }
}

/// The names of all publications that these streams may have.
pub fn publications(streams: &[Names]) -> Vec<String> {
    streams.iter().flat_map(Names::publications).collect()
}

/// How the ledger's row of a database's first publication names the number of streams, where there is more than one.
pub const STREAMS: &str = "streams";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::ledger::Side;

    fn publication(detail: serde_json::Value) -> SideEffect {
        SideEffect {
            id: 1,
            side: Side::Source,
            database: "shop".into(),
            kind: Kind::Publication,
            object: "pg_migrator_erp".into(),
            detail,
            age: Duration::ZERO,
        }
    }

    #[test]
    fn the_first_stream_has_the_names_of_a_single_one() {
        let names = Names::of_database("erp", "shop", 16384, &[], 3);
        let slots: Vec<&str> = names.iter().map(|n| n.slot.as_str()).collect();
        assert_eq!(slots, ["pg_migrator_erp_16384", "pg_migrator_erp_16384_s2", "pg_migrator_erp_16384_s3"]);
        assert_eq!(names[0], Names::of_database("erp", "shop", 16384, &[], 1)[0]);
        assert_eq!(names[2].publication, "pg_migrator_erp_s3");
    }

    #[test]
    fn a_slot_tells_its_source_database() {
        for stream in [0, 1, 12] {
            assert_eq!(Names::source_oid("erp", &Names::new("erp", 16384, stream).slot), Some(16384));
        }
        assert_eq!(Names::source_oid("erp", &Names::new("erp_2", 16384, 0).slot), None);
        assert_eq!(Names::source_oid("erp", &Names::new("crm", 16384, 0).slot), None);
    }

    #[test]
    fn what_was_made_counts_and_not_what_is_configured_since() {
        let count = |detail, configured| Names::of_database("erp", "shop", 1, &[publication(detail)], configured).len();
        assert_eq!(count(json!({ "streams": 4 }), 2), 4);
        assert_eq!(count(json!({}), 4), 1, "a row without a number is of a single stream");
    }
}
