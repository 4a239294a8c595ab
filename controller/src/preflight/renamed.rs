//! Databases that were renamed on the source since they were begun. A stream finds its database by the name, and what was carried over is in
//! one of the former name: so it is not begun anew beside that.

use super::database_finding;
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{Kind, SideEffect};
use crate::postgres::quote;
use crate::stream::Names;

/// The name under which a database was begun, where that is another one: by the ledger's slots, whose names tell which database of the
/// source it is.
pub fn begun_as<'e>(effects: &'e [SideEffect], database: &str, names: &[Names]) -> Option<&'e str> {
    let is_slot =
        |e: &&SideEffect| e.kind == Kind::Slot && e.database != database && names.iter().any(|names| names.slot == e.object);
    effects.iter().find(is_slot).map(|e| e.database.as_str())
}

/// What is told of it.
pub fn finding(database: &str, former: &str) -> Finding {
    let (now, before) = (quote::ident(database), quote::ident(former));
    database_finding(
        Severity::Error,
        database,
        Code::DatabaseRenamed,
        format!("source: database {now}"),
        format!(
            "it was begun as {before} and has been renamed on the source since; its stream does not find it, and it is not begun anew"
        ),
        format!(
            "to go on, on the source: ALTER DATABASE {now} RENAME TO {before}; or leave it out: databases.exclude of the mapping"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::Side;

    fn slot(database: &str, oid: u32) -> SideEffect {
        SideEffect {
            id: 1,
            side: Side::Source,
            database: database.into(),
            kind: Kind::Slot,
            object: Names::new("erp", oid, 0).slot,
            detail: serde_json::json!({}),
            age: Duration::ZERO,
        }
    }

    #[test]
    fn a_database_is_known_by_its_slot_whatever_it_is_called() {
        let names = [Names::new("erp", 16384, 0)];
        let effects = [slot("shop", 16384), slot("other", 16385)];
        assert_eq!(begun_as(&effects, "store", &names), Some("shop"));
        assert_eq!(begun_as(&effects, "shop", &names), None);
        assert_eq!(begun_as(&effects, "new", &[Names::new("erp", 16386, 0)]), None);
    }
}
