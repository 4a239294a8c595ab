//! Who else reads the source's log: replication slots that are not ours. Nothing is done to them; what reads them stays with the
//! source, and has to be brought to the destination by whoever runs it.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{Error, instance_finding};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;

struct Slot {
    name: String,
    /// The output plugin and database of a logical one.
    logical: Option<(String, String)>,
    active: bool,
}

pub(super) async fn check(client: &Client, databases: &BTreeSet<String>) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(include_str!("consumers.sql"), &[])
        .await
        .map_err(|source| Error { check: "other consumers of the source", source })?;
    let slots = rows.iter().map(|row| Slot {
        name: row.get("name"),
        logical: row.get::<_, Option<String>>("plugin").zip(row.get::<_, Option<String>>("database")),
        active: row.get("active"),
    });
    Ok(slots.map(|slot| judge(&slot, databases)).collect())
}

fn judge(slot: &Slot, databases: &BTreeSet<String>) -> Finding {
    let state = if slot.active { "in use" } else { "not in use at the moment" };
    let (severity, reason, fix) = match &slot.logical {
        Some((plugin, database)) if databases.contains(database) => (
            Severity::Warning,
            format!(
                "somebody reads the changes of database {} through it ({plugin}, {state}); they end with the cutover, since a slot \
                 can't be carried over",
                quote::ident(database)
            ),
            "when writes have stopped, let its consumer read to the end; make a slot on the destination before writes open there, \
             and point the consumer to it",
        ),
        Some((plugin, database)) => (
            Severity::Info,
            format!(
                "somebody reads the changes of database {} through it ({plugin}, {state}); the database is not migrated",
                quote::ident(database)
            ),
            "nothing, as long as the source goes on for that database",
        ),
        None => (
            Severity::Warning,
            format!(
                "a standby or an archive of the whole source streams through it ({state}); after the cutover it follows the old server"
            ),
            "make standbys and archives of the destination before the cutover; drop the slot when the source is given up",
        ),
    };
    instance_finding(severity, Code::OtherSlot, format!("source: slot {}", slot.name), reason, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slot_means_depends_on_what_it_reads() {
        let slot = |logical: Option<(&str, &str)>| Slot {
            name: "s".to_owned(),
            logical: logical.map(|(plugin, database)| (plugin.to_owned(), database.to_owned())),
            active: true,
        };
        let databases = BTreeSet::from(["shop".to_owned()]);
        assert_eq!(judge(&slot(Some(("wal2json", "shop"))), &databases).severity, Severity::Warning);
        assert_eq!(judge(&slot(Some(("wal2json", "other"))), &databases).severity, Severity::Info);
        assert!(judge(&slot(None), &databases).reason.contains("standby"));
    }
}
