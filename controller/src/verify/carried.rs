//! What the tables were when they were copied, and what has happened to them since of which a stream tells nothing.
//!
//! A stream goes by names, and carries what the publication says. So changes may be missing although it is in step: where another table got
//! the name, where a table was out of the publication for a while, where a new column's values were made by each side for itself, where
//! TRUNCATE is not published (before version 11). All that leaves traces in the source's catalogs. What they were is written down before the
//! pass begins, in `migrator.carried_table`; what they are is compared with it whenever the catalogs have changed. A difference makes the
//! table one that is in doubt, until it is copied anew, or is proved equal by a comparison that began later.

use std::collections::HashMap;

use tokio_postgres::{Client, Row};

use crate::copy::Table;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{Session, quote};
use crate::stream::{self, Names, resync};

/// What has happened to a table since it was copied, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Incident {
    /// Its columns were changed.
    Columns,
    /// Nothing is written down of it: it was attached by somebody else, or the control database is older than the copy.
    Unknown,
    /// It was not in the publication for a while, or that did not publish all of it.
    Republished,
    /// Another table has its name.
    Replaced,
    /// Source or destination has lost the end of its history, see [`history`](super::history).
    Forked,
}

impl Incident {
    const ALL: [Self; 5] = [Self::Columns, Self::Unknown, Self::Republished, Self::Replaced, Self::Forked];

    /// The word in the control database.
    fn as_str(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Unknown => "unknown",
            Self::Republished => "republished",
            Self::Replaced => "replaced",
            Self::Forked => "forked",
        }
    }

    /// A word of a later version is taken for the gravest.
    fn parse(word: &str) -> Self {
        Self::ALL.into_iter().find(|incident| incident.as_str() == word).unwrap_or(Self::Forked)
    }

    /// In words, as the reason why a table may not be equal.
    pub fn words(self) -> &'static str {
        match self {
            Self::Columns => {
                "its columns were changed since it was copied, and what such a change itself writes (a default, a converted value) does not \
                 travel with the stream"
            }
            Self::Unknown => "nothing is written down of what it was when it was copied",
            Self::Republished => {
                "it was out of our publication on the source for a while, or what that publishes was changed: changes may not have been sent"
            }
            Self::Replaced => {
                "another table has its name on the source than when it was copied, and a stream goes by names: the rows may be those of both"
            }
            Self::Forked => {
                "the source or the destination was restored or has failed over, and may have lost the end of its history: changes may not have \
                 been carried (migrator.events says what was seen)"
            }
        }
    }

    /// Whether it may be left to the block of a cutover to find out: it is what ordinary work on a schema leads to.
    fn can_wait(self) -> bool {
        self == Self::Columns
    }
}

/// Whether the source's version makes it necessary to look at files: TRUNCATE, which it does not publish, gives a table another one.
pub fn files_matter(source: &Session) -> bool {
    !source.version().at_least(11)
}

/// What a table is, as far as that can be seen in the source's catalogs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    file: u32,
    published: String,
    columns: String,
    attributes: String,
}

impl Facts {
    fn of(row: &Row) -> Self {
        Self {
            file: row.get("file"),
            published: row.get("published"),
            columns: row.get("columns"),
            attributes: row.get("attributes"),
        }
    }
}

/// A published table of the source as it is now.
struct Now {
    oid: u32,
    schema: String,
    name: String,
    facts: Facts,
}

/// What is written down of a table.
#[derive(Debug)]
struct Known {
    schema: String,
    name: String,
    /// OID of the table on the destination that it was copied into.
    destination: u32,
    facts: Facts,
    doubt: Option<Incident>,
}

/// What has happened to a table, if it is now like this and belongs to the destination's table of this OID.
fn incident(known: Option<&Known>, now: &Facts, destination: u32) -> Option<Incident> {
    let Some(known) = known else { return Some(Incident::Unknown) };
    let then = &known.facts;
    if known.destination != destination {
        Some(Incident::Replaced)
    } else if then.published != now.published {
        Some(Incident::Republished)
    } else if then.columns != now.columns || then.file != now.file && then.attributes != now.attributes {
        // A column may also be rewritten to its own type. A file alone says nothing: VACUUM FULL gives another one.
        Some(Incident::Columns)
    } else {
        None
    }
}

async fn now(source: &Client, streams: &[Names], tables: Option<&[u32]>) -> Result<Vec<Now>, tokio_postgres::Error> {
    let rows = source.query(include_str!("carried.sql"), &[&stream::publications(streams), &tables]).await?;
    let table = |row: &Row| Now { oid: row.get("oid"), schema: row.get("schema"), name: row.get("name"), facts: Facts::of(row) };
    Ok(rows.iter().map(table).collect())
}

/// Where what is written down belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The control database.
    pub control: &'a Client,
    /// The mapping.
    pub mapping: &'a str,
    /// The database.
    pub database: &'a str,
}

impl Place<'_> {
    /// Writes down what tables are, each with the OID of the destination's, and what has happened to them.
    async fn write(&self, tables: &[(Now, u32, Option<Incident>)]) -> Result<(), tokio_postgres::Error> {
        let oids: Vec<u32> = tables.iter().map(|(now, ..)| now.oid).collect();
        let schemas: Vec<&str> = tables.iter().map(|(now, ..)| now.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|(now, ..)| now.name.as_str()).collect();
        let destinations: Vec<u32> = tables.iter().map(|(_, destination, _)| *destination).collect();
        let files: Vec<u32> = tables.iter().map(|(now, ..)| now.facts.file).collect();
        let published: Vec<&str> = tables.iter().map(|(now, ..)| now.facts.published.as_str()).collect();
        let columns: Vec<&str> = tables.iter().map(|(now, ..)| now.facts.columns.as_str()).collect();
        let attributes: Vec<&str> = tables.iter().map(|(now, ..)| now.facts.attributes.as_str()).collect();
        let doubts: Vec<Option<&str>> = tables.iter().map(|(.., incident)| incident.map(Incident::as_str)).collect();
        self.control
            .execute(
                "INSERT INTO migrator.carried_table AS c
                     (mapping, database, table_oid, schema, name, destination_oid, file, published, columns, attributes, doubt)
                 SELECT $1, $2, u.* FROM unnest($3::oid[], $4::text[], $5::text[], $6::oid[], $7::oid[], $8::text[], $9::text[], $10::text[],
                                                $11::text[]) AS u
                 ON CONFLICT (mapping, database, table_oid) DO UPDATE
                 SET schema = excluded.schema, name = excluded.name, destination_oid = excluded.destination_oid, file = excluded.file,
                     published = excluded.published, columns = excluded.columns, attributes = excluded.attributes, doubt = excluded.doubt,
                     version = c.version + 1",
                &[
                    &self.mapping,
                    &self.database,
                    &oids,
                    &schemas,
                    &names,
                    &destinations,
                    &files,
                    &published,
                    &columns,
                    &attributes,
                    &doubts,
                ],
            )
            .await
            .map(drop)
    }

    /// Writes down what the tables are that are about to be copied. To be called before the snapshot is taken.
    pub async fn note(
        &self,
        source: &Client,
        destination: &Client,
        streams: &[Names],
        tables: &[Table],
    ) -> Result<(), tokio_postgres::Error> {
        let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        // By the name that they will be written to.
        let rows = destination
            .query(
                "SELECT t.oid AS source, c.oid AS destination FROM unnest($1::oid[], $2::text[], $3::text[]) AS t (oid, schema, name)
                 JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema
                 JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.name",
                &[&oids, &schemas, &names],
            )
            .await?;
        let there: HashMap<u32, u32> = rows.iter().map(|row| (row.get("source"), row.get("destination"))).collect();
        let now = now(source, streams, Some(&oids)).await?;
        let copied = now.into_iter().filter_map(|now| there.get(&now.oid).map(|destination| (now, *destination, None)));
        self.write(&copied.collect::<Vec<_>>()).await
    }

    /// By a table's OID: the file it was copied from.
    pub async fn files(&self) -> Result<HashMap<u32, u32>, tokio_postgres::Error> {
        let rows = self
            .control
            .query(
                "SELECT table_oid, file FROM migrator.carried_table WHERE mapping = $1 AND database = $2",
                &[&self.mapping, &self.database],
            )
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn known(&self) -> Result<HashMap<u32, Known>, tokio_postgres::Error> {
        let rows = self
            .control
            .query(
                "SELECT table_oid, schema, name, destination_oid, file, published, columns, attributes, doubt FROM migrator.carried_table
                 WHERE mapping = $1 AND database = $2",
                &[&self.mapping, &self.database],
            )
            .await?;
        let known = |row: &Row| Known {
            schema: row.get("schema"),
            name: row.get("name"),
            destination: row.get("destination_oid"),
            facts: Facts::of(row),
            doubt: row.get::<_, Option<&str>>("doubt").map(Incident::parse),
        };
        Ok(rows.iter().map(|row| (row.get("table_oid"), known(row))).collect())
    }

    /// Looks at what has become of the tables, and writes down what has happened to those that `is_attached` says are carried;
    /// `destination` has the destination's tables.
    pub async fn look(
        &self,
        source: &Client,
        streams: &[Names],
        destination: &[Table],
        is_attached: impl Fn(&str, &str) -> bool,
    ) -> Result<(), tokio_postgres::Error> {
        let there: HashMap<(&str, &str), u32> =
            destination.iter().map(|t| ((t.schema.as_str(), t.name.as_str()), t.oid)).collect();
        let (now, known) = (now(source, streams, None).await?, self.known().await?);
        // Of one that is not published any more the comparison of the schemas tells; and nothing is known of it then, should it come back.
        let left: Vec<u32> = now.iter().map(|table| table.oid).collect();
        self.control
            .execute(
                "DELETE FROM migrator.carried_table
                 WHERE mapping = $1 AND database = $2 AND doubt IS NOT NULL AND table_oid <> ALL ($3::oid[])",
                &[&self.mapping, &self.database, &left],
            )
            .await?;
        let (mut happened, mut renamed) = (Vec::new(), Vec::new());
        for table in now.into_iter().filter(|table| is_attached(&table.schema, &table.name)) {
            let Some(oid) = there.get(&(table.schema.as_str(), table.name.as_str())).copied() else { continue };
            let before = known.get(&table.oid);
            if let Some(incident) = incident(before, &table.facts, oid) {
                tracing::warn!(
                    database = self.database,
                    table = format!("{}.{}", table.schema, table.name),
                    "{}",
                    incident.words()
                );
                // What was worse before is so still.
                let worst = before.and_then(|known| known.doubt).map_or(incident, |doubt| doubt.max(incident));
                happened.push((table, oid, Some(worst)));
            } else if before.is_some_and(|known| (&known.schema, &known.name) != (&table.schema, &table.name)) {
                renamed.push(table);
            }
        }
        if !renamed.is_empty() {
            self.rename(&renamed).await?;
        }
        if happened.is_empty() { Ok(()) } else { self.write(&happened).await }
    }

    /// Writes down the names that tables have got on both sides: they are compared by them. A comparison that began by the old ones may have
    /// read other tables, and proves nothing.
    async fn rename(&self, tables: &[Now]) -> Result<(), tokio_postgres::Error> {
        let oids: Vec<u32> = tables.iter().map(|now| now.oid).collect();
        let schemas: Vec<&str> = tables.iter().map(|now| now.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|now| now.name.as_str()).collect();
        self.control
            .execute(
                "UPDATE migrator.carried_table c SET schema = u.schema, name = u.name, version = c.version + 1
                 FROM unnest($3::oid[], $4::text[], $5::text[]) AS u (table_oid, schema, name)
                 WHERE c.mapping = $1 AND c.database = $2 AND c.table_oid = u.table_oid",
                &[&self.mapping, &self.database, &oids, &schemas, &names],
            )
            .await
            .map(drop)
    }

    /// The tables that something has happened to.
    pub async fn in_doubt(&self) -> Result<Vec<InDoubt>, tokio_postgres::Error> {
        let rows = self
            .control
            .query(
                "SELECT table_oid, schema, name, doubt, version FROM migrator.carried_table
                 WHERE mapping = $1 AND database = $2 AND doubt IS NOT NULL ORDER BY schema, name",
                &[&self.mapping, &self.database],
            )
            .await?;
        let table = |row: &Row| InDoubt {
            oid: row.get("table_oid"),
            schema: row.get("schema"),
            name: row.get("name"),
            incident: Incident::parse(row.get("doubt")),
            version: row.get("version"),
        };
        Ok(rows.iter().map(table).collect())
    }

    /// Puts all tables of the database in doubt: a server has lost the end of its history.
    pub(super) async fn forked(&self) -> Result<(), tokio_postgres::Error> {
        self.control
            .execute(
                "UPDATE migrator.carried_table SET doubt = $3, version = version + 1 WHERE mapping = $1 AND database = $2",
                &[&self.mapping, &self.database, &Incident::Forked.as_str()],
            )
            .await
            .map(drop)
    }

    /// These have been proved equal since, each as it was written down in this version: what has happened to it is over, unless more has.
    pub async fn proved(&self, tables: &[(u32, i32)]) -> Result<(), tokio_postgres::Error> {
        let (oids, versions): (Vec<u32>, Vec<i32>) = tables.iter().copied().unzip();
        self.control
            .execute(
                "UPDATE migrator.carried_table c SET doubt = NULL FROM unnest($3::oid[], $4::integer[]) AS u (table_oid, version)
                 WHERE c.mapping = $1 AND c.database = $2 AND c.table_oid = u.table_oid AND c.version = u.version",
                &[&self.mapping, &self.database, &oids, &versions],
            )
            .await
            .map(drop)
    }
}

/// A table that something has happened to since it was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDoubt {
    /// OID on the source.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it was.
    pub incident: Incident,
    /// The version of what is written down.
    pub version: i32,
}

/// More tables than this that the same has happened to are told together.
const TOLD_ONE_BY_ONE: usize = 20;

/// What to tell of tables that something has happened to.
pub fn findings(tables: &[InDoubt], mapping: &str, database: &str) -> Vec<Finding> {
    let of = |incident| tables.iter().filter(move |table| table.incident == incident);
    let literal = |text: &str| quote::literal(text).trim_start().to_owned();
    let call = |table: &InDoubt| {
        let word = resync::word(&table.schema, &table.name);
        format!("SELECT migrator.resync({}, {}, {})", literal(mapping), literal(database), literal(&word))
    };
    let mut findings = Vec::new();
    for incident in Incident::ALL {
        if of(incident).count() > TOLD_ONE_BY_ONE {
            let named: Vec<String> = of(incident).take(TOLD_ONE_BY_ONE).map(InDoubt::label).collect();
            let count = of(incident).count();
            let reason = format!("of each of {count} tables ({}, …): {}", named.join(", "), incident.words());
            let call = format!("SELECT migrator.resync({}, {})", literal(mapping), literal(database));
            // Without the number, which becomes smaller.
            findings.push(finding(incident, database, format!("tables of {database}: {}", incident.as_str()), reason, &call));
        } else {
            let tables = of(incident).map(|t| finding(incident, database, t.label(), incident.words().to_owned(), &call(t)));
            findings.extend(tables);
        }
    }
    findings
}

fn finding(incident: Incident, database: &str, object: String, reason: String, call: &str) -> Finding {
    let (severity, otherwise) = if incident.can_wait() {
        (Severity::Warning, "or wait: where it is written to all the time, the cutover compares it within its block")
    } else {
        (Severity::Error, "or wait, if it is not written to all the time")
    };
    Finding {
        severity,
        database: database.to_owned(),
        code: Code::CarriedInDoubt,
        object,
        reason,
        fix: format!(
            "it is compared by itself, and this goes when both sides are equal; to be sure at once, copy anew: {call}; {otherwise}"
        ),
        statement: None,
    }
}

impl InDoubt {
    /// What changes when something more has happened to it.
    pub fn state(&self) -> (u32, Incident, i32) {
        (self.oid, self.incident, self.version)
    }

    fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { file: 10, published: "1/2/3".into(), columns: "7".into(), attributes: "70".into() }
    }

    fn known() -> Known {
        Known { schema: "s".into(), name: "t".into(), destination: 5, facts: facts(), doubt: None }
    }

    #[test]
    fn a_table_that_nothing_has_happened_to_is_not_in_doubt() {
        assert_eq!(incident(Some(&known()), &facts(), 5), None);
        assert_eq!(
            incident(Some(&known()), &Facts { file: 11, ..facts() }, 5),
            None,
            "VACUUM FULL, or a TRUNCATE that is published"
        );
        assert_eq!(incident(Some(&known()), &Facts { attributes: "71".into(), ..facts() }, 5), None, "a default");
    }

    #[test]
    fn what_a_stream_does_not_tell_of_is_told() {
        assert_eq!(incident(None, &facts(), 5), Some(Incident::Unknown));
        assert_eq!(incident(Some(&known()), &facts(), 6), Some(Incident::Replaced));
        assert_eq!(incident(Some(&known()), &Facts { published: "1/2/4".into(), ..facts() }, 5), Some(Incident::Republished));
        assert_eq!(incident(Some(&known()), &Facts { columns: "8".into(), ..facts() }, 5), Some(Incident::Columns));
        let converted = Facts { file: 11, attributes: "71".into(), ..facts() };
        assert_eq!(incident(Some(&known()), &converted, 5), Some(Incident::Columns), "converted to its own type");
    }

    #[test]
    fn every_incident_is_known_by_its_word_and_the_gravest_counts() {
        for incident in Incident::ALL {
            assert_eq!(Incident::parse(incident.as_str()), incident);
        }
        assert!(Incident::Replaced > Incident::Republished && Incident::Republished > Incident::Columns);
        let table = |incident, oid: u32| InDoubt { oid, schema: "s".into(), name: "a.b".into(), incident, version: 0 };
        let told = findings(&[table(Incident::Replaced, 1), table(Incident::Columns, 2)], "m", "d");
        let severities: Vec<Severity> = told.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Error]);
        assert!(told[1].fix.contains("migrator.resync('m', 'd', '\"s\".\"a.b\"')"), "{}", told[1].fix);
        let many: Vec<InDoubt> = (0..=TOLD_ONE_BY_ONE as u32).map(|oid| table(Incident::Forked, oid)).collect();
        let told = findings(&many, "m", "d");
        assert!(
            told.len() == 1 && told[0].reason.contains("21 tables") && told[0].fix.contains("migrator.resync('m', 'd')"),
            "{told:?}"
        );
    }
}
