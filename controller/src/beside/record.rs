//! What is known of earlier copies: kept in the ledger with the database, so that a restarted controller goes on from there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::Client;

use crate::ledger::{self, Kind, SideEffect};

/// The copy of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Copied {
    /// Rows copied.
    pub rows: u64,
    /// COPY bytes.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What was copied of one database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Transactions of the source from this one on may have written to large objects since.
    pub since: Option<i64>,
    /// Transactions of the destination from this one on are not ours.
    pub left: Option<i64>,
    /// The tables, by `schema.name`.
    #[serde(default)]
    pub tables: BTreeMap<String, Copied>,
    /// Large objects there were.
    #[serde(default)]
    pub objects: u64,
    /// Bytes in them.
    #[serde(default)]
    pub object_bytes: u64,
    /// How long comparing them took.
    #[serde(default)]
    pub compare_seconds: f64,
    /// When it was brought up to date, by the destination's clock.
    #[serde(default)]
    pub at: String,
}

const KEY: &str = "beside";

fn of<'a>(effects: &'a [SideEffect], database: &str) -> Option<&'a SideEffect> {
    effects.iter().find(|e| e.kind == Kind::Database && e.object == database)
}

impl Record {
    /// Reads what is known; nothing if the database was never copied.
    pub async fn load(control: &Client, mapping: &str, database: &str) -> Result<Self, ledger::Error> {
        let effects = ledger::in_force_of(control, mapping, &[Kind::Database]).await?;
        let known = of(&effects, database).and_then(|e| e.detail.get(KEY).cloned());
        // What an earlier version wrote and we can't read is as good as nothing: everything is copied once more.
        Ok(known.and_then(|known| serde_json::from_value(known).ok()).unwrap_or_default())
    }

    /// Writes it down.
    pub async fn save(&self, control: &Client, mapping: &str, database: &str) -> Result<(), ledger::Error> {
        let effects = ledger::in_force_of(control, mapping, &[Kind::Database]).await?;
        match of(&effects, database) {
            Some(effect) => ledger::amend(control, effect.id, &json!({ KEY: self })).await,
            None => Ok(()),
        }
    }

    /// What of these tables, and of the large objects if there are any, has never been copied.
    pub fn lacking(&self, tables: impl Iterator<Item = String>, has_objects: bool) -> Vec<String> {
        // Large objects come over with every copy; the first one that came to its end is known by its time.
        let objects = (has_objects && self.at.is_empty()).then(|| "what there is of large objects".to_owned());
        tables.filter(|label| !self.tables.contains_key(label)).chain(objects).collect()
    }

    /// How long copying the tables and comparing the large objects again takes with so many hands, seconds: as long as last time.
    pub fn estimate(&self, hands: usize) -> f64 {
        let longest = self.tables.values().map(|t| t.seconds).fold(0.0, f64::max);
        let all: f64 = self.tables.values().map(|t| t.seconds).sum();
        longest.max(all / hands.max(1) as f64) + self.compare_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_the_longest_table_or_the_share_of_a_hand() {
        let copied = |seconds| Copied { seconds, ..Copied::default() };
        let mut record = Record { compare_seconds: 1.0, ..Record::default() };
        assert!((record.estimate(4) - 1.0).abs() < 1e-9);
        record.tables.insert("a".into(), copied(4.0));
        record.tables.insert("b".into(), copied(2.0));
        assert!((record.estimate(2) - 5.0).abs() < 1e-9);
        assert!((record.estimate(1) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn what_has_never_been_copied_is_named() {
        let mut record = Record::default();
        let tables = || ["a.b", "a.c"].map(str::to_owned).into_iter();
        assert_eq!(record.lacking(tables(), true), ["a.b", "a.c", "what there is of large objects"]);
        assert_eq!(record.lacking(tables(), false), ["a.b", "a.c"]);
        record.tables.insert("a.b".into(), Copied::default());
        record.at = "noon".into();
        assert_eq!(record.lacking(tables(), true), ["a.c"], "objects that were made since come over at the cutover");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let record = Record { since: Some(5), at: "now".into(), ..Record::default() };
        let text = serde_json::to_value(&record).expect("plain data");
        assert_eq!(serde_json::from_value::<Record>(text).expect("the same"), record);
    }
}
