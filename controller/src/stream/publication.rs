//! The publication on the source, and the replica identities of the tables in it.
//!
//! A published table without a replica identity makes the source refuse its updates and deletes. So a table's identity
//! is put right, and written down in the ledger, before the table is published; never FOR ALL TABLES, which would catch
//! tables that are created later.
//!
//! With `replica_identity = "insert_only"` a stream has a second publication, with `publish = 'insert'`, for tables without a
//! usable key: nothing about them is changed, and the source does not refuse their updates and deletes, which do not arrive.
//! It is made before the slot, empty or not: a publication made later is not there for a stream that is further back.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use tokio_postgres::Client;

use super::entering::{Entering, add, is_locked, set_identity};
use super::slot::{self, Slot};
use super::{Names, STREAMS, balance, resync};
use crate::config::ReplicaIdentityPolicy;
use crate::copy::{ReplicaIdentity, Table};
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::postgres::{quote, retry};

/// Publishing failed as a whole; single tables that can't be published are findings instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source refused.
    #[error("the publication {publication} can't be {doing}: {}", retry::message(.source))]
    Statement {
        /// Its name.
        publication: String,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Somebody else's.
    #[error(
        "the source has a publication {publication} that was not made by this mapping: give the mapping another name, or \
         drop the publication if nobody needs it"
    )]
    Foreign {
        /// Its name.
        publication: String,
    },
    /// Locked by others for a while.
    #[error("tables that are in use on the source can't be given a replica identity, or be published, yet: {}", .tables.join(", "))]
    Locked {
        /// Which tables.
        tables: Vec<String>,
    },
    /// The ledger could not be written, so nothing was done.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

/// How the ledger names the replica identity that a table had before us.
pub fn identity_detail(table: &Table) -> serde_json::Value {
    let (kind, index) = match &table.replica_identity {
        ReplicaIdentity::Default => ("default", None),
        ReplicaIdentity::Index(index) => ("index", Some(index)),
        ReplicaIdentity::Full => ("full", None),
        ReplicaIdentity::Nothing => ("nothing", None),
    };
    json!({ "schema": table.schema, "table": table.name, "oid": table.oid, "original": kind, "index": index })
}

/// Reads back what [`identity_detail`] wrote.
pub fn original_identity(effect: &SideEffect) -> Option<ReplicaIdentity> {
    match effect.detail.get("original")?.as_str()? {
        "default" => Some(ReplicaIdentity::Default),
        "index" => Some(ReplicaIdentity::Index(effect.detail.get("index")?.as_str()?.to_owned())),
        "full" => Some(ReplicaIdentity::Full),
        "nothing" => Some(ReplicaIdentity::Nothing),
        _ => None,
    }
}

/// Why a table is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoIdentity {
    /// It has no key, and the policy refuses such tables.
    Policy,
    /// It has no key, the policy is to carry inserts alone, and the database was begun under another.
    Begun,
    /// It has no key, and columns whose type has no equality: the apply worker could not find a row by its old values,
    /// and would stop at the first update or delete, for the whole database.
    Incomparable(Vec<String>),
    /// Its only key has generated columns, which the source does not send: the apply worker would look for rows by that key all the
    /// same, whatever the source says identifies them.
    Generated(Vec<String>),
}

/// How a table is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carriage {
    /// Every change, by the identity that the table has while it streams.
    Whole(ReplicaIdentity),
    /// What is inserted; its identity stays as it is.
    Inserts,
}

/// How a table should be carried; `inserts` says whether the database's streams have publications for inserts alone.
pub fn carriage(table: &Table, policy: ReplicaIdentityPolicy, inserts: bool) -> Result<Carriage, NoIdentity> {
    let full = table.replica_identity == ReplicaIdentity::Full;
    if table.has_usable_identity && (!full || table.incomparable_columns.is_empty()) {
        return Ok(Carriage::Whole(table.replica_identity.clone()));
    }
    if let Some(index) = &table.candidate_index {
        return Ok(Carriage::Whole(ReplicaIdentity::Index(index.clone())));
    }
    match policy {
        ReplicaIdentityPolicy::InsertOnly if inserts => Ok(Carriage::Inserts),
        ReplicaIdentityPolicy::InsertOnly => Err(NoIdentity::Begun),
        _ if !table.generated_in_key.is_empty() => Err(NoIdentity::Generated(table.generated_in_key.clone())),
        _ if !table.incomparable_columns.is_empty() => Err(NoIdentity::Incomparable(table.incomparable_columns.clone())),
        ReplicaIdentityPolicy::Full => Ok(Carriage::Whole(ReplicaIdentity::Full)),
        ReplicaIdentityPolicy::Refuse => Err(NoIdentity::Policy),
    }
}

/// How the ledger's row of a publication for inserts alone is known.
const INSERTS: &str = "inserts";

/// Whether a database's streams have publications for inserts alone, or, where nothing is published yet, would get them.
pub fn has_inserts(effects: &[SideEffect], database: &str, policy: ReplicaIdentityPolicy) -> bool {
    let mut made = effects.iter().filter(|e| e.kind == Kind::Publication && e.database == database).peekable();
    if made.peek().is_none() {
        return policy == ReplicaIdentityPolicy::InsertOnly;
    }
    made.any(|e| e.detail.get(INSERTS).is_some())
}

/// What to tell about a table that is left out.
pub fn no_identity(database: &str, table: &Table, why: &NoIdentity) -> Finding {
    let (code, reason) = match why {
        NoIdentity::Policy => (
            Code::TableWithoutKey,
            "the table has neither a primary key nor a unique index over columns that are not null, and \
             replica_identity = \"refuse\": it is left out"
                .to_owned(),
        ),
        NoIdentity::Begun => (
            Code::TableWithoutKey,
            "the table has neither a primary key nor a unique index over columns that are not null, and the database was begun \
             with another replica_identity than \"insert_only\", so that its stream has no place for such tables: it is left out"
                .to_owned(),
        ),
        NoIdentity::Incomparable(columns) => (
            Code::TableNotComparable,
            format!(
                "the table has neither a primary key nor a unique index over columns that are not null, and its columns \
                 ({}) have types without equality, so that rows can't be found by their old values: it is left out",
                columns.join(", ")
            ),
        ),
        NoIdentity::Generated(columns) => (
            Code::TableKeyGenerated,
            format!(
                "the table's only key has generated columns ({}), which the source does not send, so that rows can't be found by it: it \
                 is left out",
                columns.join(", ")
            ),
        ),
    };
    Finding {
        severity: Severity::Error,
        database: database.to_owned(),
        code,
        object: table.label(),
        reason,
        fix: match why {
            NoIdentity::Incomparable(_) | NoIdentity::Generated(_) => {
                "add a primary key, or a unique index over columns that are not null and not generated, on the source; or, if rows are only \
                 inserted into it, set replica_identity = \"insert_only\" before the database is begun"
            }
            NoIdentity::Policy | NoIdentity::Begun => {
                "add a primary key, or a unique index over columns that are not null and not generated, on the source"
            }
        }
        .to_owned(),
        statement: None,
    }
}

/// So many tables are named at once.
const NAMED: usize = 20;

/// What to tell of tables whose inserts alone are carried; nothing if there are none.
pub fn inserts_only(database: &str, tables: &[&Table]) -> Option<Finding> {
    if tables.is_empty() {
        return None;
    }
    let mut named: Vec<String> = tables.iter().map(|t| t.label()).collect();
    named.sort();
    named.truncate(NAMED);
    if tables.len() > NAMED {
        named.push(format!("and {} more", tables.len() - NAMED));
    }
    Some(Finding {
        severity: Severity::Warning,
        database: database.to_owned(),
        code: Code::InsertsOnly,
        object: format!("{} tables without a key", tables.len()),
        reason: format!(
            "replica_identity = \"insert_only\": UPDATE, DELETE and TRUNCATE of these tables on the source do not arrive: {}",
            named.join(", ")
        ),
        fix: "insert into them only, until the switch; they are compared before it (proved_equal in migrator.cutover_checks), and one \
              that is not equal is to be copied anew with migrator.resync"
            .to_owned(),
        statement: None,
    })
}

/// What a source database's publication looks like now.
#[derive(Debug, Default)]
pub struct Published {
    /// Whether it exists.
    pub exists: bool,
    /// OIDs of the tables in it, or in the stream's publication for inserts alone.
    pub tables: HashSet<u32>,
    /// Whether the stream has a publication for inserts alone.
    pub has_inserts: bool,
}

/// Looks at the publications of all streams.
pub async fn observe_all(source: &Client, streams: &[Names]) -> Result<Vec<Published>, tokio_postgres::Error> {
    let mut all = Vec::with_capacity(streams.len());
    for names in streams {
        all.push(observe(source, names).await?);
    }
    Ok(all)
}

/// The tables that any of them has.
pub fn tables<'a>(published: impl IntoIterator<Item = &'a Published>) -> HashSet<u32> {
    published.into_iter().flat_map(|p| p.tables.iter().copied()).collect()
}

/// Looks at the publication of a stream.
pub async fn observe(source: &Client, names: &Names) -> Result<Published, tokio_postgres::Error> {
    let row = source.query_one(include_str!("publication.sql"), &[&names.publication, &names.inserts()]).await?;
    let tables: Vec<u32> = row.get("tables");
    Ok(Published { exists: row.get("whole"), tables: tables.into_iter().collect(), has_inserts: row.get("inserts") })
}

/// Tables that could be published, and findings for those that could not.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Tables left out, with the reason.
    pub refused: HashMap<u32, Finding>,
}

/// Makes the publications of a database's streams cover `tables`: each table in one of them, where it is if it is in one,
/// else where the least is to do.
pub async fn ensure(
    source: &Client,
    control: &Client,
    mapping: &str,
    database: &str,
    streams: &[Names],
    tables: &[Table],
    policy: ReplicaIdentityPolicy,
) -> Result<Outcome, Error> {
    let failed = |source| Error::Statement { publication: streams[0].publication.clone(), doing: "read", source };
    let published = observe_all(source, streams).await.map_err(failed)?;
    let writes = if streams.len() > 1 { balance::writes(source).await.map_err(failed)? } else { HashMap::new() };
    let stream_of = |oid| published.iter().position(|p| p.tables.contains(&oid));
    let chosen = balance::assign(tables, &writes, stream_of, streams.len());
    // How many there are must be known before the first is made: a restarted controller goes on with as many.
    let detail = if streams.len() > 1 { json!({ STREAMS: streams.len() }) } else { json!({}) };
    let mut outcome = Outcome::default();
    let mut locked = Vec::new();
    for (stream, names) in streams.iter().enumerate() {
        let members: Vec<Table> = tables.iter().zip(&chosen).filter(|(_, s)| **s == stream).map(|(t, _)| t.clone()).collect();
        match ensure_one(source, control, mapping, database, names, &members, policy, &detail).await {
            Ok(of_one) => outcome.refused.extend(of_one.refused),
            Err(Error::Locked { tables }) => locked.extend(tables),
            Err(error) => return Err(error),
        }
    }
    // The others are published; what was locked comes at the next try.
    if locked.is_empty() { Ok(outcome) } else { Err(Error::Locked { tables: locked }) }
}

/// Makes one publication cover `tables`: identities first, then the publication, then its members. Safe to repeat.
#[allow(clippy::too_many_arguments)] // what it works on, not how
async fn ensure_one(
    source: &Client,
    control: &Client,
    mapping: &str,
    database: &str,
    names: &Names,
    tables: &[Table],
    policy: ReplicaIdentityPolicy,
    detail: &serde_json::Value,
) -> Result<Outcome, Error> {
    let failed = |doing| {
        let publication = names.publication.clone();
        move |source| Error::Statement { publication, doing, source }
    };
    let mut outcome = Outcome::default();
    let published = observe(source, names).await.map_err(failed("read"))?;
    let known = ledger::in_force(control, mapping).await?;
    let inserts = names.inserts();
    for (there, publication) in [(published.exists, &names.publication), (published.has_inserts, &inserts)] {
        let ours = known.iter().any(|e| e.kind == Kind::Publication && e.database == database && e.object == *publication);
        if there && !ours {
            return Err(Error::Foreign { publication: publication.clone() });
        }
    }
    // First, so that a stream without it is one that was begun without it.
    let with_inserts = published.has_inserts || !published.exists && policy == ReplicaIdentityPolicy::InsertOnly;
    if with_inserts {
        let detail = json!({ INSERTS: true });
        ledger::record(control, mapping, Side::Source, database, Kind::Publication, &inserts, &detail).await?;
        if !published.has_inserts {
            let create = format!("CREATE PUBLICATION {} WITH (publish = 'insert')", quote::ident(&inserts));
            source.batch_execute(&create).await.map_err(failed("created"))?;
        }
    }
    ledger::record(control, mapping, Side::Source, database, Kind::Publication, &names.publication, detail).await?;
    if !published.exists {
        source
            .batch_execute(&format!("CREATE PUBLICATION {}", quote::ident(&names.publication)))
            .await
            .map_err(failed("created"))?;
    }
    let mut to_add = Vec::new();
    let mut to_add_inserts = Vec::new();
    let mut locked = Vec::new();
    for table in tables.iter().filter(|t| !published.tables.contains(&t.oid)) {
        let wanted = match carriage(table, policy, with_inserts) {
            Ok(Carriage::Whole(wanted)) => wanted,
            Ok(Carriage::Inserts) => {
                to_add_inserts.push(table);
                continue;
            }
            Err(why) => {
                outcome.refused.insert(table.oid, no_identity(database, table, &why));
                continue;
            }
        };
        match put_identity_right(source, control, mapping, database, table, wanted).await? {
            Ok(Identity::Right) => to_add.push(table),
            Ok(Identity::Locked) => locked.push(table.label()),
            Err(finding) => {
                outcome.refused.insert(table.oid, finding);
            }
        }
    }
    let slot = slot::observe(source, names).await.map_err(failed("read"))?;
    let entering = if slot == Slot::Missing { Entering::AtOnce } else { Entering::WhenNobodyWrites };
    for (publication, tables) in [(&names.publication, to_add), (&inserts, to_add_inserts)] {
        let added = add(source, publication, &tables, entering).await.map_err(failed("extended"))?;
        for (table, error) in added.refused {
            outcome.refused.insert(table.oid, refused(mapping, database, table, &retry::message(&error)));
        }
        locked.extend(added.locked.iter().map(|table| table.label()));
    }
    if locked.is_empty() { Ok(outcome) } else { Err(Error::Locked { tables: locked }) }
}

/// What became of a table's replica identity.
enum Identity {
    /// Updates and deletes can be replicated.
    Right,
    /// Somebody uses the table.
    Locked,
}

fn refused(mapping: &str, database: &str, table: &Table, reason: &str) -> Finding {
    let label = table.label();
    let word = resync::word(&table.schema, &table.name);
    let [mapping, name, quoted] = [mapping, database, &word].map(|text| quote::literal(text).trim_start().to_owned());
    Finding {
        severity: Severity::Error,
        database: database.to_owned(),
        code: Code::TableNotPublished,
        object: label,
        reason: format!("the table can't be published: {reason}"),
        fix: format!(
            "mend what the source's message names, then copy the table: SELECT migrator.resync({mapping}, {name}, {quoted})"
        ),
        statement: None,
    }
}

/// Gives a table the identity that its updates and deletes can be replicated by. The lock it needs is awaited for two seconds
/// at a time, for whoever comes after us on that table waits behind us.
async fn put_identity_right(
    source: &Client,
    control: &Client,
    mapping: &str,
    database: &str,
    table: &Table,
    wanted: ReplicaIdentity,
) -> Result<Result<Identity, Finding>, Error> {
    if wanted == table.replica_identity {
        return Ok(Ok(Identity::Right));
    }
    let name = table.sql_name();
    ledger::set_aside_namesakes(control, mapping, database, Kind::ReplicaIdentity, &name, table.oid).await?;
    ledger::record(control, mapping, Side::Source, database, Kind::ReplicaIdentity, &name, &identity_detail(table)).await?;
    match set_identity(source, &name, &wanted).await {
        Ok(()) => Ok(Ok(Identity::Right)),
        Err(error) if is_locked(&error) => Ok(Ok(Identity::Locked)),
        Err(source) if retry::is_transient(&source) => {
            Err(Error::Statement { publication: table.label(), doing: "given a replica identity", source })
        }
        Err(error) => Ok(Err(refused(mapping, database, table, &retry::message(&error)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(identity: ReplicaIdentity, usable: bool, candidate: Option<&str>) -> Table {
        Table {
            oid: 1,
            schema: "s".into(),
            name: "t".into(),
            owner: "o".into(),
            bytes: 0,
            index_count: 0,
            replica_identity: identity,
            has_usable_identity: usable,
            candidate_index: candidate.map(str::to_owned),
            generated_in_key: vec![],
            incomparable_columns: vec![],
            columns: vec![],
            fingerprint: String::new(),
            ancestors: String::new(),
        }
    }

    fn whole(table: &Table, policy: ReplicaIdentityPolicy) -> Result<ReplicaIdentity, NoIdentity> {
        carriage(table, policy, true).map(|carriage| match carriage {
            Carriage::Whole(identity) => identity,
            Carriage::Inserts => panic!("not all of it would be carried"),
        })
    }

    #[test]
    fn a_usable_identity_is_left_alone() {
        let t = table(ReplicaIdentity::Default, true, Some("u"));
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Ok(ReplicaIdentity::Default));
        assert_eq!(whole(&t, ReplicaIdentityPolicy::InsertOnly), Ok(ReplicaIdentity::Default));
    }

    #[test]
    fn a_keyless_table_takes_its_unique_index_before_full() {
        let t = table(ReplicaIdentity::Default, false, Some("u"));
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Refuse), Ok(ReplicaIdentity::Index("u".into())));
        assert_eq!(whole(&t, ReplicaIdentityPolicy::InsertOnly), Ok(ReplicaIdentity::Index("u".into())));
        let t = table(ReplicaIdentity::Nothing, false, None);
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Ok(ReplicaIdentity::Full));
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Refuse), Err(NoIdentity::Policy));
    }

    #[test]
    fn a_keyless_table_of_values_without_equality_is_left_out() {
        let mut t = table(ReplicaIdentity::Default, false, None);
        t.incomparable_columns = vec!["doc".into()];
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Err(NoIdentity::Incomparable(vec!["doc".into()])));
        t.candidate_index = Some("u".into());
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Ok(ReplicaIdentity::Index("u".into())));
    }

    #[test]
    fn inserts_alone_need_nothing_of_a_table_but_a_stream_that_was_begun_for_it() {
        let mut t = table(ReplicaIdentity::Nothing, false, None);
        t.incomparable_columns = vec!["doc".into()];
        assert_eq!(carriage(&t, ReplicaIdentityPolicy::InsertOnly, true), Ok(Carriage::Inserts));
        assert_eq!(carriage(&t, ReplicaIdentityPolicy::InsertOnly, false), Err(NoIdentity::Begun));
    }

    #[test]
    fn what_a_database_was_begun_with_counts() {
        let of = |object: &str, detail| SideEffect {
            id: 1,
            side: Side::Source,
            database: "d".into(),
            kind: Kind::Publication,
            object: object.into(),
            detail,
            age: std::time::Duration::ZERO,
        };
        let policy = ReplicaIdentityPolicy::InsertOnly;
        assert!(has_inserts(&[], "d", policy) && !has_inserts(&[], "d", ReplicaIdentityPolicy::Full));
        let whole = of("p", json!({}));
        assert!(!has_inserts(std::slice::from_ref(&whole), "d", policy));
        assert!(has_inserts(std::slice::from_ref(&whole), "another", policy));
        let both = [of("p_inserts", json!({ INSERTS: true })), whole];
        assert!(has_inserts(&both, "d", ReplicaIdentityPolicy::Full));
    }

    #[test]
    fn a_table_whose_key_is_not_sent_needs_another_one() {
        let mut t = table(ReplicaIdentity::Full, false, None);
        t.generated_in_key = vec!["twice".into()];
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Err(NoIdentity::Generated(vec!["twice".into()])));
        assert_eq!(carriage(&t, ReplicaIdentityPolicy::InsertOnly, true), Ok(Carriage::Inserts), "nothing is looked for by it");
        t.candidate_index = Some("u".into());
        assert_eq!(whole(&t, ReplicaIdentityPolicy::Full), Ok(ReplicaIdentity::Index("u".into())));
    }

    #[test]
    fn the_ledger_gives_back_what_was_there() {
        for identity in
            [ReplicaIdentity::Default, ReplicaIdentity::Index("we\"ird".into()), ReplicaIdentity::Full, ReplicaIdentity::Nothing]
        {
            let effect = SideEffect {
                id: 1,
                side: Side::Source,
                database: "d".into(),
                kind: Kind::ReplicaIdentity,
                object: "t".into(),
                detail: identity_detail(&table(identity.clone(), false, None)),
                age: std::time::Duration::ZERO,
            };
            assert_eq!(original_identity(&effect), Some(identity));
        }
    }
}
