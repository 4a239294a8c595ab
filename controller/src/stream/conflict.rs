//! What a stream can't apply: the transaction that its worker fails at is read from the source's log once more and tried
//! on the destination, change by change, in a transaction that is rolled back. The change that fails tells table, key and
//! reason, which the worker tells the server's log alone.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Names;
use super::pgoutput::{self, Message, Relation, Tuple, Value};
use super::subscription::{self, TableState};
use crate::copy::loader::{self, Loader};
use crate::postgres::{self, Endpoint, Lsn, quote, refusal, retry};

/// Why there is no telling.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server refused, or went away.
    #[error("looking for what the stream fails at: {}", retry::message(.0))]
    Statement(#[source] tokio_postgres::Error),
    /// The source can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// No session to try in.
    #[error(transparent)]
    Loader(#[from] loader::Error),
    /// The log's messages.
    #[error(transparent)]
    Malformed(#[from] pgoutput::Malformed),
}

/// Whether a stream could go on without the table that it fails at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The change itself: the stream would skip those of this table.
    Change,
    /// The destination's table does not have these columns.
    NoColumns(Vec<String>),
    /// The destination does not have the table. The apply worker opens a table before it asks whether to skip its changes: so it
    /// can't go on without the table, as little as without a column of it.
    NoTable,
}

/// A change that can't be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What is to be done about it.
    pub cause: Cause,
    /// Schema of its table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The row's key, as `(id) = (7)`; empty where the change is not of one row.
    pub key: String,
    /// What the destination said.
    pub reason: String,
    /// Where the transaction committed on the source.
    pub commit: Lsn,
    /// Its id there.
    pub xid: u32,
}

/// So much of a value is shown.
const SHOWN: usize = 100;
/// The slot is let go by its walsender a moment after the subscription was disabled.
const TRIES: u32 = 40;
/// The source gathers in files what it is asked for, before it sends any of it: so it is asked for no more than this many changes, beside the
/// transaction that the last of them is in …
const CHANGES: i32 = 100_000;
/// … and works on it for no longer than this, all in all.
const LIMIT: Duration = Duration::from_mins(5);

/// What a search came to.
#[derive(Debug)]
pub enum Verdict {
    /// This change can't be applied.
    Fails(Conflict),
    /// Every change of the transaction that the stream is at could be applied by now.
    Applies,
    /// The transaction was not found within what is looked through; how much that is, in words.
    NotFound(String),
}

/// Looks for the change that the stream of this subscription can't apply. Its worker must have stopped.
pub async fn find(
    source: &Endpoint,
    destination: &Endpoint,
    database: &str,
    names: &Names,
    subscription: u32,
) -> Result<Verdict, Error> {
    let mut loader = Loader::open(destination, database).await?;
    // A session of its own: before version 17 the plugin leaves something behind in a session at each use, until it is full.
    let source = source.connect(database).await?;
    let row = loader.query_one(include_str!("applied.sql"), &[&subscription]).await.map_err(Error::Statement)?;
    let publications = quote::ident_list(row.get::<_, Vec<&str>>("subpublications"));
    let applied: Lsn = row.get("applied");
    let attached = subscription::tables(&loader, subscription).await.map_err(Error::Statement)?;
    // The limit is looked at between transactions: more and more of them, until the one is among them.
    let began = Instant::now();
    for limit in [1_i32, 1_000, CHANGES] {
        let left = LIMIT.saturating_sub(began.elapsed()).as_millis().max(1);
        source.batch_execute(&format!("SET statement_timeout = {left}")).await.map_err(Error::Statement)?;
        let mut trial =
            Trial { loader: &mut loader, attached: &attached, relations: HashMap::new(), entered: None, present: HashMap::new() };
        trial.loader.batch_execute("BEGIN; SET LOCAL lock_timeout = '10s'").await.map_err(Error::Statement)?;
        let outcome = peek(&source, names, &publications, limit, applied, &mut trial).await;
        // After an error the transaction is aborted, and the rights are ours again with its end.
        loader.batch_execute("ROLLBACK").await.map_err(Error::Statement)?;
        match outcome {
            Ok(Outcome::Fails(conflict)) => return Ok(Verdict::Fails(conflict)),
            Ok(Outcome::Applies) => return Ok(Verdict::Applies),
            Ok(Outcome::NotReached) => {}
            Err(Error::Statement(error)) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(Verdict::NotFound(format!("the {} s that the source may take to read its log", LIMIT.as_secs())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Verdict::NotFound(format!("the next {CHANGES} changes of the source's log")))
}

enum Outcome {
    /// This change does.
    Fails(Conflict),
    /// The transaction can be applied.
    Applies,
    /// No transaction with a change to be applied was among those read.
    NotReached,
}

/// Reads transactions off the slot, without consuming them, up to the first with a change that is to be applied: the one
/// that the worker is at.
async fn peek(
    source: &Client,
    names: &Names,
    publications: &str,
    limit: i32,
    applied: Lsn,
    trial: &mut Trial<'_>,
) -> Result<Outcome, Error> {
    let mut tries = 0;
    let rows = loop {
        let query = "SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, NULL, $2, 'proto_version', '1',
                                                                                      'publication_names', $3)";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&names.slot, &limit, &publications];
        match source.query_raw(query, parameters).await {
            Ok(rows) => break rows,
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => return Err(Error::Statement(error)),
        }
    };
    pin_mut!(rows);
    let mut transaction = None;
    let mut concerned = false;
    while let Some(row) = rows.next().await {
        let row = row.map_err(Error::Statement)?;
        let message = pgoutput::parse(row.get("data"))?;
        match message {
            Message::Begin { commit, xid } => transaction = (commit >= applied).then_some((commit, xid)),
            Message::Relation(relation) => {
                trial.present.remove(&relation.oid);
                trial.relations.insert(relation.oid, relation);
            }
            Message::Commit if concerned => {
                let (commit, xid) = transaction.unwrap_or_default();
                return Ok(trial.deferred().await?.map_or(Outcome::Applies, |c| Outcome::Fails(Conflict { commit, xid, ..c })));
            }
            Message::Commit | Message::Other => {}
            change => {
                let Some((commit, xid)) = transaction else { continue };
                match trial.apply(&change, commit).await? {
                    Applied::No => {}
                    Applied::Yes => concerned = true,
                    Applied::Failed(conflict) => return Ok(Outcome::Fails(Conflict { commit, xid, ..conflict })),
                }
            }
        }
    }
    Ok(Outcome::NotReached)
}

enum Applied {
    /// The stream skips changes of this table.
    No,
    Yes,
    Failed(Conflict),
}

/// A transaction on the destination in which changes are tried.
struct Trial<'a> {
    loader: &'a mut Loader,
    attached: &'a HashMap<(String, String), TableState>,
    relations: HashMap<u32, Relation>,
    /// The relation whose owner the session is at the moment.
    entered: Option<u32>,
    /// Relations that the destination has with all their columns, and those of the columns that no SQL may set in an update:
    /// identities that are GENERATED ALWAYS.
    present: HashMap<u32, HashSet<String>>,
}

impl Trial<'_> {
    async fn apply(&mut self, change: &Message, commit: Lsn) -> Result<Applied, Error> {
        for relation in touched(change) {
            if let Some(conflict) = self.lacks(relation).await? {
                return Ok(Applied::Failed(conflict));
            }
        }
        let concerned = |oid: &u32| {
            let relation = self.relations.get(oid)?;
            match self.attached.get(&(relation.schema.clone(), relation.name.clone())) {
                Some(TableState::Ready) => Some(relation),
                Some(TableState::Attached(from)) if *from <= commit => Some(relation),
                _ => None,
            }
        };
        let (relation, key, sql) = match change {
            Message::Insert { relation, new } => {
                let Some(relation) = concerned(relation) else { return Ok(Applied::No) };
                (relation, key(relation, new), insert(relation, new))
            }
            Message::Update { relation, old, new } => {
                let Some(relation) = concerned(relation) else { return Ok(Applied::No) };
                let before = old.as_ref().unwrap_or(new);
                (relation, key(relation, before), update(relation, before, new, self.present.get(&relation.oid)))
            }
            Message::Delete { relation, old } => {
                let Some(relation) = concerned(relation) else { return Ok(Applied::No) };
                (relation, key(relation, old), delete(relation, old))
            }
            Message::Truncate { relations, restart } => {
                let tables: Vec<&Relation> = relations.iter().filter_map(concerned).collect();
                let Some(first) = tables.first() else { return Ok(Applied::No) };
                (*first, String::new(), truncate(&tables, *restart))
            }
            Message::Begin { .. } | Message::Commit | Message::Relation(_) | Message::Other => return Ok(Applied::No),
        };
        let relation = relation.clone();
        self.become_owner(&relation).await?;
        match self.loader.batch_execute(&sql).await {
            Ok(()) => Ok(Applied::Yes),
            Err(error) => Ok(Applied::Failed(failure(&relation, key, error)?)),
        }
    }

    /// What the destination's table lacks, if there is such a table: it stops the stream, attached or not.
    async fn lacks(&mut self, relation: &u32) -> Result<Option<Conflict>, Error> {
        let Some(relation) = self.relations.get(relation).cloned() else { return Ok(None) };
        if self.present.contains_key(&relation.oid) {
            return Ok(None);
        }
        if self.owner(&relation).await?.is_none() {
            let reason = "the destination does not have this table".to_owned();
            return Ok(Some(Conflict { cause: Cause::NoTable, ..conflict(&relation, String::new(), reason) }));
        }
        let columns: Vec<&str> = relation.columns.iter().map(|c| c.name.as_str()).collect();
        let row = self
            .loader
            .query_one(include_str!("missing_columns.sql"), &[&relation.schema, &relation.name, &columns])
            .await
            .map_err(Error::Statement)?;
        let missing: Vec<String> = row.get("missing");
        if missing.is_empty() {
            self.present.insert(relation.oid, row.get::<_, Vec<String>>("identities").into_iter().collect());
            return Ok(None);
        }
        let reason = format!("the destination's table does not have the columns {}", missing.join(", "));
        Ok(Some(Conflict { cause: Cause::NoColumns(missing), ..conflict(&relation, String::new(), reason) }))
    }

    /// As the apply worker does: with the rights of the table's owner, and no others.
    async fn become_owner(&mut self, relation: &Relation) -> Result<(), Error> {
        if self.entered == Some(relation.oid) {
            return Ok(());
        }
        self.leave().await?;
        let owner = self.owner(relation).await?.unwrap_or_default();
        let owner = self.loader.as_owner(&relation.schema, &owner).await.map_err(Error::Statement)?;
        self.loader.batch_execute(&owner.lend).await.map_err(Error::Statement)?;
        self.loader.enter(&owner).await.map_err(Error::Statement)?;
        self.entered = Some(relation.oid);
        Ok(())
    }

    /// The role that owns the destination's table, if there is such a table.
    async fn owner(&self, relation: &Relation) -> Result<Option<String>, Error> {
        let row = self
            .loader
            .query_opt(include_str!("table_owner.sql"), &[&relation.schema, &relation.name])
            .await
            .map_err(Error::Statement)?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn leave(&mut self) -> Result<(), Error> {
        if self.entered.take().is_some() {
            self.loader.leave().await.map_err(Error::Statement)?;
        }
        Ok(())
    }

    /// What is checked at the end of the transaction only.
    async fn deferred(&mut self) -> Result<Option<Conflict>, Error> {
        self.leave().await?;
        let Err(error) = self.loader.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await else { return Ok(None) };
        let named = error.as_db_error().and_then(|e| Some((e.schema()?.to_owned(), e.table()?.to_owned())));
        let Some((schema, name)) = named else { return Err(Error::Statement(error)) };
        let relation = Relation { oid: 0, schema, name, columns: Vec::new() };
        Ok(Some(failure(&relation, String::new(), error)?))
    }
}

/// A failure of the change itself; one that may pass is an error.
fn failure(relation: &Relation, key: String, error: tokio_postgres::Error) -> Result<Conflict, Error> {
    if retry::is_transient(&error) {
        return Err(Error::Statement(error));
    }
    Ok(conflict(relation, key, shortened(&refusal::with_key(&error), 5 * SHOWN)))
}

fn conflict(relation: &Relation, key: String, reason: String) -> Conflict {
    let (schema, table) = (relation.schema.clone(), relation.name.clone());
    Conflict { cause: Cause::Change, schema, table, key, reason, commit: Lsn(0), xid: 0 }
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The relations that a change opens, whether it is then skipped or not.
fn touched(change: &Message) -> &[u32] {
    match change {
        Message::Insert { relation, .. } | Message::Update { relation, .. } | Message::Delete { relation, .. } => {
            std::slice::from_ref(relation)
        }
        Message::Truncate { relations, .. } => relations,
        Message::Begin { .. } | Message::Commit | Message::Relation(_) | Message::Other => &[],
    }
}

fn table(relation: &Relation) -> String {
    quote::qualified(&relation.schema, &relation.name)
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => quote::literal(text),
        Value::Null | Value::Unchanged => "NULL".to_owned(),
    }
}

/// Columns and values, in step; the unchanged ones are not in the log.
fn pairs<'a>(relation: &'a Relation, tuple: &'a Tuple) -> impl Iterator<Item = (&'a pgoutput::Column, &'a Value)> {
    relation.columns.iter().zip(tuple).filter(|(_, value)| **value != Value::Unchanged)
}

/// A row's key, for people: `(id) = (7)`.
fn key(relation: &Relation, tuple: &Tuple) -> String {
    let parts: Vec<_> = pairs(relation, tuple).filter(|(column, _)| column.is_key).collect();
    if parts.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = parts.iter().map(|(column, _)| column.name.as_str()).collect();
    let shown = |value: &Value| match value {
        Value::Text(text) => shortened(text, SHOWN),
        Value::Null | Value::Unchanged => "null".to_owned(),
    };
    let values: Vec<String> = parts.iter().map(|(_, value)| shown(value)).collect();
    format!("({}) = ({})", names.join(", "), values.join(", "))
}

fn insert(relation: &Relation, new: &Tuple) -> String {
    let columns = quote::ident_list(pairs(relation, new).map(|(column, _)| column.name.as_str()));
    let values: Vec<String> = pairs(relation, new).map(|(_, value)| literal(value)).collect();
    if values.is_empty() {
        return format!("INSERT INTO {} DEFAULT VALUES", table(relation));
    }
    format!("INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({})", table(relation), values.join(", "))
}

/// The one row that the old key, or the whole old row, names.
fn matching(relation: &Relation, old: &Tuple) -> String {
    let conditions: Vec<String> = pairs(relation, old)
        .filter(|(column, _)| column.is_key)
        .map(|(column, value)| match value {
            Value::Text(_) => format!("{} = {}", quote::ident(&column.name), literal(value)),
            Value::Null | Value::Unchanged => format!("{} IS NULL", quote::ident(&column.name)),
        })
        .collect();
    let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    format!("ctid = (SELECT ctid FROM ONLY {} WHERE {conditions} LIMIT 1)", table(relation))
}

/// Identities are left out: what the apply worker sets, SQL may not. They keep their value in all but an update to DEFAULT.
/// Empty if nothing else is set.
fn update(relation: &Relation, old: &Tuple, new: &Tuple, identities: Option<&HashSet<String>>) -> String {
    let values: Vec<String> = pairs(relation, new)
        .filter(|(column, _)| !identities.is_some_and(|identities| identities.contains(&column.name)))
        .map(|(column, value)| format!("{} = {}", quote::ident(&column.name), literal(value)))
        .collect();
    if values.is_empty() {
        return String::new();
    }
    format!("UPDATE ONLY {} SET {} WHERE {}", table(relation), values.join(", "), matching(relation, old))
}

fn delete(relation: &Relation, old: &Tuple) -> String {
    format!("DELETE FROM ONLY {} WHERE {}", table(relation), matching(relation, old))
}

fn truncate(relations: &[&Relation], restart: bool) -> String {
    let tables: Vec<String> = relations.iter().map(|r| format!("ONLY {}", table(r))).collect();
    format!("TRUNCATE {}{}", tables.join(", "), if restart { " RESTART IDENTITY" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::pgoutput::Column;

    fn people() -> Relation {
        let column = |name: &str, is_key| Column { name: name.to_owned(), is_key };
        Relation {
            oid: 1,
            schema: "app".into(),
            name: "Peo\"ple".into(),
            columns: vec![column("id", true), column("na\"me", false), column("long", false)],
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_change_becomes_the_statement_that_makes_it() {
        let row = vec![text("7"), text("O'Hara\\"), Value::Null];
        assert_eq!(
            insert(&people(), &row),
            "INSERT INTO \"app\".\"Peo\"\"ple\" (\"id\", \"na\"\"me\", \"long\") OVERRIDING SYSTEM VALUE \
             VALUES ('7',  E'O''Hara\\\\', NULL)"
        );
        let new = vec![text("8"), Value::Null, Value::Unchanged];
        assert_eq!(
            update(&people(), &row, &new, None),
            "UPDATE ONLY \"app\".\"Peo\"\"ple\" SET \"id\" = '8', \"na\"\"me\" = NULL WHERE \
             ctid = (SELECT ctid FROM ONLY \"app\".\"Peo\"\"ple\" WHERE \"id\" = '7' LIMIT 1)"
        );
        assert!(delete(&people(), &vec![text("7"), Value::Null, Value::Null]).starts_with("DELETE FROM ONLY"));
        assert_eq!(truncate(&[&people()], true), "TRUNCATE ONLY \"app\".\"Peo\"\"ple\" RESTART IDENTITY");
    }

    #[test]
    fn an_identity_that_sql_may_not_set_is_not_set_when_an_update_is_tried() {
        let row = vec![text("7"), text("Ada"), Value::Null];
        let identities = HashSet::from(["id".to_owned()]);
        let sql = update(&people(), &row, &row, Some(&identities));
        assert!(sql.contains("SET \"na\"\"me\" = 'Ada', \"long\" = NULL WHERE") && sql.contains("\"id\" = '7'"), "{sql}");
        let only = Relation { columns: vec![Column { name: "id".to_owned(), is_key: true }], ..people() };
        assert_eq!(update(&only, &vec![text("7")], &vec![text("7")], Some(&identities)), "", "there is nothing to be set");
    }

    #[test]
    fn a_key_is_told_without_the_rest_of_the_row() {
        assert_eq!(key(&people(), &vec![text("7"), text("secret"), Value::Null]), "(id) = (7)");
        let long = "x".repeat(500);
        assert!(key(&people(), &vec![text(&long), Value::Null, Value::Null]).len() < 200);
    }
}
