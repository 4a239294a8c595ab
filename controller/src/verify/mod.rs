//! Verification: that tables hold the same rows on both sides, as the servers themselves count and hash them.
//!
//! In: a database that streams. Out: for each table that is asked about whether it is equal, different, or could not be told. For now
//! it is asked about the tables of which a stream may not have carried everything ([`doubts`]), which must be proved before a switch.
//!
//! # Layout
//!
//! - [`digest`] is a table's rows in two numbers.
//! - [`lacking`] is which rows the destination does not have.
//! - [`history`] tells when a server does not go on from where it was.
//! - [`carried`] remembers what a table was when it was copied, and tells what has happened to it since of which the stream tells nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::copy::table;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::{self, Endpoint, Lsn, Session, quote, retry};
use crate::reconcile::watch::emit_marker;
use crate::stream::slot::{self, Slot};
use crate::stream::{self, Names, publication};

pub mod carried;
pub mod digest;
pub mod history;
pub mod lacking;

use carried::{Incident, Place};
use digest::{Digest, Hash};

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A server refused.
    #[error("comparing both sides: {doing}: {}", retry::message(.source))]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Somebody has locked a table.
    #[error("comparing both sides was given up for {by}")]
    Locked {
        /// The locks, and whose they are.
        by: String,
    },
}

impl Error {
    /// What was found could not be written down.
    pub fn noting(source: tokio_postgres::Error) -> Self {
        Self::Statement { doing: "writing down what was found", source }
    }
}

fn failed(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |source| Error::Statement { doing, source }
}

/// Why a table may not be equal although its stream is in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its updates, deletes and truncates are not carried.
    InsertsOnly,
    /// The stream met rows that the destination does not have.
    RowsMissing,
    /// It has got another file since it was copied, by TRUNCATE, which its source does not publish, or by being rewritten.
    Rewritten,
    /// Something has happened to it since it was copied.
    Incident(Incident),
}

/// A table that is to be proved equal.
#[derive(Debug, Clone)]
pub struct Doubt {
    /// OID on the source.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Why.
    pub why: Why,
    /// Where something has happened to it: the version of what is written down of that, to be told when it is proved equal.
    pub incident: Option<i32>,
}

impl Doubt {
    /// For people: `schema.name`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// All tables that these streams carry.
async fn carried(source: &Session, streams: &[Names]) -> Result<Vec<Doubt>, Error> {
    let doing = "looking at the tables of a stream";
    let published = publication::observe_all(source, streams).await.map_err(failed(doing))?;
    let published = publication::tables(&published);
    let tables = table::read(source).await.map_err(failed(doing))?;
    let carried = tables.into_iter().filter(|table| published.contains(&table.oid));
    Ok(carried.map(|t| Doubt { oid: t.oid, schema: t.schema, name: t.name, why: Why::RowsMissing, incident: None }).collect())
}

/// Those of these tables that the streams still carry, by the names that they have now: they may have been dropped or renamed since.
pub async fn by_their_names(source: &Session, streams: &[Names], doubts: Vec<Doubt>) -> Result<Vec<Doubt>, Error> {
    if doubts.is_empty() {
        return Ok(doubts);
    }
    let now: HashMap<u32, Doubt> = carried(source, streams).await?.into_iter().map(|table| (table.oid, table)).collect();
    let named = |doubt: Doubt| {
        let Doubt { schema, name, .. } = now.get(&doubt.oid)?;
        Some(Doubt { schema: schema.clone(), name: name.clone(), ..doubt })
    };
    Ok(doubts.into_iter().filter_map(named).collect())
}

/// Adds tables that are not among the others.
pub fn add(doubts: &mut Vec<Doubt>, more: impl IntoIterator<Item = Doubt>) {
    let mut known: std::collections::HashSet<u32> = doubts.iter().map(|doubt| doubt.oid).collect();
    doubts.extend(more.into_iter().filter(|doubt| known.insert(doubt.oid)));
}

/// Whether a database may ever have such tables.
pub async fn may_doubt(source: &Session, streams: &[Names]) -> Result<bool, Error> {
    let published = publication::observe_all(source, streams).await.map_err(failed("looking at the publications"))?;
    Ok(carried::files_matter(source) || published.iter().any(|p| p.has_inserts))
}

/// The tables of a database that are to be proved equal before a switch.
pub async fn doubts(
    source: &Session,
    control: &Client,
    mapping: &str,
    database: &str,
    streams: &[Names],
) -> Result<Vec<Doubt>, Error> {
    let inserts: Vec<String> = streams.iter().map(Names::inserts).collect();
    let rows = source
        .query(include_str!("tables.sql"), &[&stream::publications(streams), &inserts])
        .await
        .map_err(failed("looking for tables whose changes are not all carried"))?;
    let place = Place { control, mapping, database };
    let looking = "looking at what has happened to tables since they were copied";
    let copied = if carried::files_matter(source) && !rows.is_empty() {
        place.files().await.map_err(failed(looking))?
    } else {
        HashMap::new()
    };
    let why = |oid, file: u32, inserts_only| {
        // One that nothing is known of is not taken for untouched.
        if inserts_only { Some(Why::InsertsOnly) } else { (copied.get(&oid) != Some(&file)).then_some(Why::Rewritten) }
    };
    let mut doubts: Vec<Doubt> = rows
        .iter()
        .filter_map(|row| {
            let oid = row.get("oid");
            let why = why(oid, row.get("file"), row.get("inserts_only"))?;
            Some(Doubt { oid, schema: row.get("schema"), name: row.get("name"), why, incident: None })
        })
        .collect();
    let at: HashMap<u32, usize> = doubts.iter().enumerate().map(|(at, doubt)| (doubt.oid, at)).collect();
    for table in place.in_doubt().await.map_err(failed(looking))? {
        let version = Some(table.version);
        if let Some(at) = at.get(&table.oid) {
            doubts[*at].incident = version;
        } else {
            let why = Why::Incident(table.incident);
            doubts.push(Doubt { oid: table.oid, schema: table.schema, name: table.name, why, incident: version });
        }
    }
    Ok(doubts)
}

/// A table that is not equal.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Which.
    pub doubt: Doubt,
    /// Rows on the source.
    pub ours: i64,
    /// Rows on the destination.
    pub theirs: i64,
}

impl Difference {
    /// In words, with the table's name.
    pub fn words(&self) -> String {
        let why = match self.doubt.why {
            Why::InsertsOnly => {
                "it was updated, deleted from or truncated on the source, of which replica_identity = \"insert_only\" carries nothing"
            }
            Why::RowsMissing => "the stream met rows that the destination does not have",
            Why::Rewritten => "it was truncated on the source, whose version does not publish that",
            Why::Incident(incident) => incident.words(),
        };
        let count = if self.ours == self.theirs {
            format!("{} rows on both sides, but not the same", self.ours)
        } else {
            format!("{} rows on the source, {} on the destination", self.ours, self.theirs)
        };
        format!("{} is not equal ({count}): {why}", self.doubt.label())
    }

    /// What cures it.
    pub fn fix(&self, mapping: &str, database: &str) -> String {
        let [mapping, database, table] =
            [mapping, database, &self.doubt.label()].map(|text| quote::literal(text).trim_start().to_owned());
        format!("copy it anew: SELECT migrator.resync({mapping}, {database}, {table})")
    }

    /// As a finding.
    pub fn finding(&self, mapping: &str, database: &str) -> Finding {
        Finding {
            severity: Severity::Error,
            database: database.to_owned(),
            code: Code::NotEqual,
            object: self.doubt.label(),
            reason: self.words(),
            fix: self.fix(mapping, database),
            statement: None,
        }
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many tables were equal.
    pub equal: usize,
    /// Of those, the ones that something had happened to, by OID: what was written down of that is over with this.
    pub over: Vec<(u32, i32)>,
    /// Those that are not.
    pub different: Vec<Difference>,
    /// Those that were being written to: never to be taken for equal.
    pub undecided: Vec<String>,
    /// Whether something had happened to one of those, so that it stays in doubt until it is compared again.
    pub leaves_doubt: bool,
    /// Those that a server refused to read, and why: never to be taken for equal either.
    pub refused: Vec<(String, Error)>,
    /// How long reading all of them once took, on the slower side.
    pub seconds: f64,
}

/// Waiting for the destination to apply what was there takes no longer than this.
const MARKER_LIMIT: Duration = Duration::from_mins(1);

/// A session on each side that compares.
pub struct Pair {
    source: Arc<Session>,
    destination: Session,
    hash: Hash,
}

impl Pair {
    /// Opens both.
    pub async fn open(source: &Endpoint, destination: &Endpoint, database: &str) -> Result<Self, Error> {
        Self::over(Arc::new(source.connect(database).await?), destination, database).await
    }

    /// Opens the one on the destination; the other one is open.
    pub async fn over(source: Arc<Session>, destination: &Endpoint, database: &str) -> Result<Self, Error> {
        let destination = destination.connect(database).await?;
        let preparing = failed("preparing");
        let prepared = async {
            source.wait_for_no_lock().await?;
            let version = source.version();
            tokio::try_join!(digest::prepare(&source, version), digest::prepare(&destination, version))?;
            Hash::agree(&source, &destination).await
        };
        let hash = prepared.await.map_err(preparing)?;
        Ok(Self { source, destination, hash })
    }

    /// All tables that these streams carry.
    pub async fn carried(&self, streams: &[Names]) -> Result<Vec<Doubt>, Error> {
        carried(&self.source, streams).await
    }

    async fn statement(&self, doubt: &Doubt) -> Result<String, Error> {
        let columns = digest::columns(&self.source, doubt.oid).await.map_err(failed("looking at columns"))?;
        Ok(self.hash.statement(&doubt.schema, &doubt.name, &columns))
    }

    async fn source(&self, statement: &str) -> Result<Digest, Error> {
        digest::read(&self.source, statement).await.map_err(failed("reading the source"))
    }

    async fn destination(&self, statement: &str) -> Result<Digest, Error> {
        digest::read(&self.destination, statement).await.map_err(failed("reading the destination"))
    }

    /// Compares while nobody writes, and everything is applied.
    pub async fn compare_at_rest(&self, doubts: Vec<Doubt>) -> Result<Comparison, Error> {
        let began = Instant::now();
        let mut comparison = Comparison::default();
        for doubt in doubts {
            let statement = self.statement(&doubt).await?;
            let (ours, theirs) = tokio::try_join!(self.source(&statement), self.destination(&statement))?;
            comparison.note(doubt, &ours, &theirs);
        }
        comparison.seconds = began.elapsed().as_secs_f64();
        Ok(comparison)
    }

    /// Compares while everybody writes: the source's rows, then, when all that was committed before has been applied, the destination's;
    /// where they differ and the source's are still the same, the tables do. All must be readable.
    pub async fn compare(&self, streams: &[Names], doubts: Vec<Doubt>) -> Result<Comparison, Error> {
        let mut comparison = self.compare_what_can_be(streams, doubts).await?;
        if comparison.refused.is_empty() { Ok(comparison) } else { Err(comparison.refused.swap_remove(0).1) }
    }

    /// The same, where what a server refuses of one table is no reason to know nothing of the others.
    pub async fn compare_what_can_be(&self, streams: &[Names], doubts: Vec<Doubt>) -> Result<Comparison, Error> {
        let mut comparison = Comparison::default();
        let (mut reading, mut reading_there) = (Duration::ZERO, Duration::ZERO);
        let mut read = Vec::with_capacity(doubts.len());
        for doubt in doubts {
            let statement = match self.statement(&doubt).await {
                Ok(statement) => statement,
                Err(error) => {
                    comparison.refuse(&doubt, error)?;
                    continue;
                }
            };
            let began = Instant::now();
            let ours = self.source(&statement).await;
            reading += began.elapsed();
            match ours {
                Ok(ours) => read.push((doubt, statement, ours)),
                Err(error) => comparison.refuse(&doubt, error)?,
            }
        }
        if !self.has_caught_up(streams).await? {
            for (doubt, ..) in &read {
                comparison.leave(doubt);
            }
            return Ok(comparison);
        }
        for (doubt, statement, ours) in read {
            let began = Instant::now();
            let theirs = self.destination(&statement).await;
            reading_there += began.elapsed();
            let told = match theirs {
                Ok(theirs) if theirs == ours => Ok((theirs, true)),
                Ok(theirs) => self.source(&statement).await.map(|again| (theirs, again == ours)),
                Err(error) => Err(error),
            };
            match told {
                Ok((theirs, true)) => comparison.note(doubt, &ours, &theirs),
                Ok((_, false)) => comparison.leave(&doubt),
                Err(error) => comparison.refuse(&doubt, error)?,
            }
        }
        comparison.seconds = reading.max(reading_there).as_secs_f64();
        Ok(comparison)
    }

    /// Waits until all that is committed now has been applied; false if that takes too long.
    async fn has_caught_up(&self, streams: &[Names]) -> Result<bool, Error> {
        let waiting = "waiting for the destination";
        let marker: Lsn = emit_marker(&self.source, "compare").await.map_err(failed(waiting))?;
        let began = Instant::now();
        while began.elapsed() < MARKER_LIMIT {
            let slots = slot::observe_all(&self.source, streams).await.map_err(failed(waiting))?;
            if slots.iter().all(|slot| matches!(slot, Slot::Present { confirmed, .. } if *confirmed >= marker)) {
                return Ok(true);
            }
            // Nobody will ever confirm anything by such a one.
            if slots.iter().any(|slot| !matches!(slot, Slot::Present { .. })) {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(false)
    }
}

impl Comparison {
    fn leave(&mut self, doubt: &Doubt) {
        self.leaves_doubt |= doubt.incident.is_some();
        self.undecided.push(doubt.label());
    }

    /// A table that can't be read is left out, unless nothing can be read any more, or somebody has locked it: who is told then.
    fn refuse(&mut self, doubt: &Doubt, error: Error) -> Result<(), Error> {
        match error {
            Error::Statement { ref source, .. } if !retry::is_loss_of_session(source) => {
                self.refused.push((doubt.label(), error));
                Ok(())
            }
            error => Err(error),
        }
    }

    fn note(&mut self, doubt: Doubt, ours: &Digest, theirs: &Digest) {
        if ours == theirs {
            self.equal += 1;
            self.over.extend(doubt.incident.map(|version| (doubt.oid, version)));
        } else {
            self.different.push(Difference { doubt, ours: ours.rows, theirs: theirs.rows });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(ours: i64, theirs: i64) -> Difference {
        let doubt = Doubt { oid: 1, schema: "app".into(), name: "log".into(), why: Why::InsertsOnly, incident: None };
        Difference { doubt, ours, theirs }
    }

    #[test]
    fn what_differs_is_told_with_table_and_cure() {
        let told = difference(7, 8).words();
        assert!(told.contains("app.log") && told.contains("7 rows on the source, 8 on the destination"), "{told}");
        assert!(difference(7, 7).words().contains("7 rows on both sides, but not the same"));
        assert_eq!(difference(7, 8).fix("erp", "shop"), "copy it anew: SELECT migrator.resync('erp', 'shop', 'app.log')");
    }
}
