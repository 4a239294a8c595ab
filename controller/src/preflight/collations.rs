//! Collations that another library sorts on the destination: text may come in another order there.
//!
//! Indexes and materialized views are made anew on the destination, and so are sound there whatever the order. What was true of rows by
//! the old order may not be by the new one: to which range partition they belong, and what check constraints say of them.

use tokio_postgres::{Client, Row};

use super::{Error, database_finding, listed};
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;
use crate::provision::databases::{Definition, Provider};

/// One collation in use, with its versions; none where a server does not tell.
struct Collation {
    object: String,
    /// As the source's catalog has it: by this its indexes were made.
    recorded: Option<String>,
    /// As the source's library has it now.
    source: Option<String>,
    destination: Option<String>,
    indexes: i64,
    materialized_views: i64,
    /// Partition keys and checks.
    conditions: Vec<String>,
}

fn failed(source: tokio_postgres::Error) -> Error {
    Error { check: "collations", source }
}

pub(super) async fn check(source: &Client, destination: &Client, definition: &Definition) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for row in source.query(include_str!("collations.sql"), &[]).await.map_err(failed)? {
        let (object, provider, locale, recorded) = identity(&row, definition);
        if has_no_version(&provider, &locale) {
            continue;
        }
        let collation = Collation {
            object,
            recorded,
            source: version(source, &provider, &locale).await?,
            destination: version(destination, &provider, &locale).await?,
            indexes: row.get("indexes"),
            materialized_views: row.get("materialized_views"),
            conditions: row.get("conditions"),
        };
        findings.extend(judge(&collation, &definition.name));
    }
    Ok(findings)
}

/// What the collation is called, its provider (`c`, `i`, `b`), its locale and its recorded version.
fn identity(row: &Row, definition: &Definition) -> (String, String, String, Option<String>) {
    if let Some(name) = row.get::<_, Option<String>>("name") {
        let locale = row.get::<_, Option<String>>("locale").unwrap_or_default();
        return (format!("collation {name}"), row.get("provider"), locale, row.get("recorded"));
    }
    let (provider, locale) = match &definition.provider {
        Provider::Libc => ("c", &definition.collate),
        Provider::Icu { locale, .. } => ("i", locale),
        Provider::Builtin { locale } => ("b", locale),
    };
    let object = format!("the default collation of database {}", quote::ident(&definition.name));
    (object, provider.to_owned(), locale.clone(), definition.collation_version.clone())
}

/// Whether the order is the same everywhere: bytes, or the server's own.
fn has_no_version(provider: &str, locale: &str) -> bool {
    provider == "b" || (provider == "c" && (locale == "C" || locale == "POSIX" || locale.starts_with("C.")))
}

async fn version(client: &Client, provider: &str, locale: &str) -> Result<Option<String>, Error> {
    let row = client.query_one(include_str!("collation_versions.sql"), &[&provider, &locale]).await.map_err(failed)?;
    Ok(row.get("version"))
}

fn judge(collation: &Collation, database: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (Some(recorded), Some(now)) = (&collation.recorded, &collation.source)
        && recorded != now
        && collation.indexes > 0
    {
        findings.push(database_finding(
            Severity::Warning,
            database,
            Code::CollationOutdated,
            collation.object.clone(),
            format!(
                "the source's {} indexes by it were made with version {recorded}, and its machine sorts by {now}: they may miss rows, and \
                 unique ones may have let duplicates in, on which their build on the destination fails",
                collation.indexes
            ),
            "on the source: REINDEX what uses it, then ALTER COLLATION or ALTER DATABASE … REFRESH COLLATION VERSION",
        ));
    }
    let Some((before, after)) = collation.source.as_ref().zip(collation.destination.as_ref()) else { return findings };
    if before == after {
        return findings;
    }
    let made_anew = format!(
        "its {} indexes and {} materialized views are made anew and are sound",
        collation.indexes, collation.materialized_views
    );
    let (severity, consequence, fix) = if collation.conditions.is_empty() {
        (Severity::Info, made_anew, "nothing, unless an application relies on the order of text".to_owned())
    } else {
        let total = collation.conditions.len() as i64;
        let first = &collation.conditions[..collation.conditions.len().min(10)];
        (
            Severity::Warning,
            format!("{made_anew}; but rows may be against the conditions of {}", listed(first, total)),
            "look whether these conditions compare text beyond plain letters and digits; a row that is against one fails its table's \
             copy or stream, with a finding"
                .to_owned(),
        )
    };
    findings.push(database_finding(
        severity,
        database,
        Code::CollationVersion,
        collation.object.clone(),
        format!("text may sort differently: the source has version {before} of it, the destination {after}; {consequence}"),
        fix,
    ));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collation(recorded: &str, source: &str, destination: &str, conditions: &[&str]) -> Collation {
        let version = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Collation {
            object: "collation x".to_owned(),
            recorded: version(recorded),
            source: version(source),
            destination: version(destination),
            indexes: 2,
            materialized_views: 1,
            conditions: conditions.iter().map(|&c| c.to_owned()).collect(),
        }
    }

    fn told(collation: &Collation) -> Vec<(&'static str, Severity)> {
        judge(collation, "shop").iter().map(|f| (f.code.as_str(), f.severity)).collect()
    }

    #[test]
    fn only_what_a_version_may_change_is_told() {
        assert!(told(&collation("2.31", "2.31", "2.31", &["check a.c"])).is_empty());
        assert!(told(&collation("", "", "2.36", &["check a.c"])).is_empty(), "a server that does not tell");
        assert_eq!(told(&collation("2.31", "2.31", "2.36", &[])), [("collation_version", Severity::Info)]);
        assert_eq!(told(&collation("2.31", "2.31", "2.36", &["check a.c"])), [("collation_version", Severity::Warning)]);
        assert_eq!(told(&collation("2.28", "2.31", "2.31", &[])), [("collation_outdated", Severity::Warning)]);
    }

    #[test]
    fn bytes_are_the_same_everywhere() {
        for (provider, locale) in [("c", "C"), ("c", "POSIX"), ("c", "C.UTF-8"), ("b", "C.UTF-8")] {
            assert!(has_no_version(provider, locale));
        }
        assert!(!has_no_version("c", "en_US.utf8") && !has_no_version("i", "C"));
    }
}
