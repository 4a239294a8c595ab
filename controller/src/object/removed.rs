//! What version 18 does no longer have: told with a remedy before anything is written, instead of when a statement fails.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::{Catalog, Error, each_row};
use crate::finding::{Code, Finding, Severity};

const QUERY: &str = include_str!("removed.sql");

/// One kind of difference.
struct Kind {
    /// As the query calls it.
    name: &'static str,
    severity: Severity,
    /// The finding's code.
    code: Code,
    /// What is the matter with it.
    reason: &'static str,
    fix: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "type",
        severity: Severity::Error,
        code: Code::RemovedType,
        reason: "the types abstime, reltime and tinterval are gone since version 12",
        fix: "on the source, change the column or argument to timestamptz, interval or tstzrange",
    },
    Kind {
        name: "opaque",
        severity: Severity::Error,
        code: Code::RemovedType,
        reason: "the pseudo-type opaque is gone since version 13",
        fix: "on the source, make the function anew with trigger, language_handler, cstring or internal instead, whichever it means",
    },
    Kind {
        name: "polymorphic",
        severity: Severity::Error,
        code: Code::PolymorphicFunction,
        reason: "since version 14 that function takes anycompatiblearray and anycompatible, so what is made of it for anyarray and anyelement fails",
        fix: "drop it on the source and make it on the destination with anycompatiblearray and anycompatible, and what depends on it",
    },
    Kind {
        name: "postfix",
        severity: Severity::Error,
        code: Code::PostfixOperator,
        reason: "operators behind their operand are gone since version 14",
        fix: "on the source, call the operator's function instead wherever it is used, and drop the operator",
    },
    Kind {
        name: "operator",
        severity: Severity::Error,
        code: Code::RemovedOperator,
        reason: "the definition fails",
        fix: "on the source, use what took its place: factorial(n), <@ for @ and @> for ~ of geometric types, or the two in the other order",
    },
    Kind {
        name: "oid_column",
        severity: Severity::Error,
        code: Code::OidColumn,
        reason: "tables have no such column since version 12",
        fix: "on the source, copy the hidden column to an ordinary one, and use that",
    },
    Kind {
        name: "conversion",
        severity: Severity::Error,
        code: Code::ConversionFunction,
        reason: "since version 14 such a function has a sixth argument, and gives the bytes it has converted",
        fix: "build the function's library for version 18, change the function's declaration, and make both on the destination by hand",
    },
    Kind {
        name: "setting",
        severity: Severity::Error,
        code: Code::RemovedSetting,
        reason: "version 18 does not know this setting or does not let it be set",
        fix: "on the source: ALTER FUNCTION … RESET of this setting",
    },
    Kind {
        name: "name",
        severity: Severity::Warning,
        code: Code::RemovedName,
        reason: "if that is the catalogs' column or the server's function of this name, the definition fails",
        fix: "on the source, change the definition to what both versions have, or drop it and make it on the destination by hand",
    },
    Kind {
        name: "name_in_body",
        severity: Severity::Warning,
        code: Code::RemovedName,
        reason: "if that is the catalogs' column or the server's function or setting of this name, calls fail from the cutover on",
        fix: "change the function's body for version 18 before or at the cutover",
    },
    Kind {
        name: "word_in_body",
        severity: Severity::Warning,
        code: Code::ReservedWord,
        reason: "since version 16 that is the function SYSTEM_USER, which gives who logged in; a column of this name is not read any more",
        fix: "on the source, write the column in double quotes, or with its table's name before it",
    },
    Kind {
        name: "generated_child",
        severity: Severity::Error,
        code: Code::GeneratedColumn,
        reason: "since version 16 both must be generated or neither",
        fix: "on the source, take the table from its parent (NO INHERIT, or DETACH PARTITION), ALTER COLUMN … DROP EXPRESSION (13 and later; before, drop the column and add it anew), and put it back",
    },
    Kind {
        name: "generated_parent",
        severity: Severity::Error,
        code: Code::GeneratedColumn,
        reason: "its column would become generated, and lose its own values",
        fix: "on the source, ALTER TABLE the parent ALTER COLUMN … DROP EXPRESSION IF EXISTS (13 and later), which holds for all its children, or take this table from it (NO INHERIT)",
    },
    Kind {
        name: "nullable_child",
        severity: Severity::Error,
        code: Code::NullableChild,
        reason: "since version 18 a parent's NOT NULL holds for its children: rows with a null there could not be copied, and none could be written any more",
        fix: "on the source, give the column a value where it has none and ALTER TABLE … ALTER COLUMN … SET NOT NULL; or take this table from its parent (NO INHERIT)",
    },
    Kind {
        name: "hash",
        severity: Severity::Error,
        code: Code::PartitionHash,
        reason: "that is hashed by its OID, which is another on the destination: its rows belong to other partitions there, and neither a copy nor a stream brings them into the ones they are in on the source",
        fix: "on the source, partition the table by LIST, or by the hash of another column",
    },
    Kind {
        name: "search_path",
        severity: Severity::Info,
        code: Code::MaintenanceSearchPath,
        reason: "since version 17 indexes are built and materialized views are filled with the search_path pg_catalog, pg_temp: that fails if the function finds anything through another",
        fix: "on the source: ALTER FUNCTION … SET search_path to what the function needs",
    },
    Kind {
        name: "search_path_names",
        severity: Severity::Warning,
        code: Code::MaintenanceSearchPath,
        reason: "since version 17 indexes are built and materialized views are filled with the search_path pg_catalog, pg_temp, through which the function will hardly find that",
        fix: "on the source: ALTER FUNCTION … SET search_path to what the function needs",
    },
];

/// Adds a finding for each object that has or uses something that is gone.
pub(super) async fn read(client: &Client, catalog: &mut Catalog) -> Result<(), Error> {
    // By kind and object: all that is the matter with it is one finding.
    let mut found: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    each_row(client, catalog.session(), "removed", QUERY, |row| {
        let (name, object): (&str, String) = (row.try_get("kind")?, row.try_get("object")?);
        if let Some(kind) = KINDS.iter().position(|kind| kind.name == name) {
            found.entry((kind, object)).or_default().push(row.try_get("detail")?);
        }
        Ok(())
    })
    .await?;
    let findings = found.into_iter().map(|((kind, object), details)| Finding {
        severity: KINDS[kind].severity,
        database: String::new(),
        code: KINDS[kind].code,
        object,
        reason: format!("{}; {}", details.join(", "), KINDS[kind].reason),
        fix: KINDS[kind].fix.to_owned(),
        statement: None,
    });
    catalog.findings.extend(findings);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_query_has_words() {
        for kind in KINDS {
            assert!(QUERY.contains(&format!("'{}'", kind.name)), "{} is not in the query", kind.name);
        }
        assert!(!KINDS.iter().any(|kind| kind.fix.is_empty() || kind.reason.is_empty()));
    }
}
