//! The ledger: what we changed on either side, written before the change. What it does not name is not ours.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

/// Which side of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The instance that is moved.
    Source,
    /// The PostgreSQL 18 instance it moves to.
    Destination,
}

impl Side {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// The kinds of change that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A role created on the destination. Stays after completion: it is what was asked for.
    Role,
    /// A membership granted on the destination. Stays after completion.
    Membership,
    /// A database created on the destination. Stays after completion.
    Database,
    /// Our publication in a source database.
    Publication,
    /// Our replication slot on the source.
    Slot,
    /// Our subscription in a destination database.
    Subscription,
    /// A table's replica identity on the source that we replaced; the detail has the original.
    ReplicaIdentity,
    /// The write block of a cutover on a source database, or on one role there; the detail has what was set before.
    WriteBlock,
    /// A table that was taken out of its stream, since the stream could not apply a change of it; the detail has the
    /// reason. Over when it is copied anew.
    Detached,
    /// The pause of a standby's replay, for as long as a snapshot is being taken there.
    ReplayPause,
    /// A variable that was set for a role in a destination database, as its stream needs it; the detail has what was set before.
    Setting,
    /// What a cutover switches on in a destination database; the detail has the statements that take it back. Stays after completion, for
    /// it is what the source has.
    SwitchedOn,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Role,
        Self::Membership,
        Self::Database,
        Self::Publication,
        Self::Slot,
        Self::Subscription,
        Self::ReplicaIdentity,
        Self::WriteBlock,
        Self::Detached,
        Self::ReplayPause,
        Self::Setting,
        Self::SwitchedOn,
    ];

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Membership => "membership",
            Self::Database => "database",
            Self::Publication => "publication",
            Self::Slot => "slot",
            Self::Subscription => "subscription",
            Self::ReplicaIdentity => "replica_identity",
            Self::WriteBlock => "write_block",
            Self::Detached => "detached",
            Self::ReplayPause => "replay_pause",
            Self::Setting => "setting",
            Self::SwitchedOn => "switched_on",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A row of the ledger that is still in force.
#[derive(Debug, Clone)]
pub struct SideEffect {
    /// Its number.
    pub id: i64,
    /// Where it was made.
    pub side: Side,
    /// The database it was made in; empty for the instance as a whole.
    pub database: String,
    /// What was made.
    pub kind: Kind,
    /// Its name, as the server knows it; for tables quoted and qualified.
    pub object: String,
    /// What is needed to undo it or to recognise it.
    pub detail: Value,
    /// How long ago it was written down.
    pub age: Duration,
}

/// The ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control database did not answer as it should.
    #[error("the ledger can't be {doing}: {}", crate::postgres::retry::message(.source))]
    Query {
        /// `read` or `written`.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A row of a kind this version does not know.
    #[error("ledger row {id} is of the unknown kind {kind:?}: it was written by a later version of pg-migrator")]
    UnknownKind {
        /// The row.
        id: i64,
        /// Its kind.
        kind: String,
    },
}

const READ: fn(tokio_postgres::Error) -> Error = |source| Error::Query { doing: "read", source };
const WRITE: fn(tokio_postgres::Error) -> Error = |source| Error::Query { doing: "written", source };

/// Reads what is in force for a mapping, oldest first.
pub async fn in_force(control: &Client, mapping: &str) -> Result<Vec<SideEffect>, Error> {
    in_force_of(control, mapping, &Kind::ALL).await
}

/// The same of some kinds only: roles and replica identities are many, and what looks at every tick has no use for them.
pub async fn in_force_of(control: &Client, mapping: &str, kinds: &[Kind]) -> Result<Vec<SideEffect>, Error> {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    // What is of no kind that we know is read in any case, to be told.
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let rows = control
        .query(
            "SELECT id, side, database, kind, object, detail,
                    extract(epoch FROM clock_timestamp() - created_at)::float8 AS age FROM migrator.side_effect
             WHERE mapping = $1 AND undone_at IS NULL AND (kind = ANY ($2::text[]) OR kind <> ALL ($3::text[])) ORDER BY id",
            &[&mapping, &words, &known],
        )
        .await
        .map_err(READ)?;
    rows.iter()
        .map(|row| {
            let word: String = row.get("kind");
            let id = row.get("id");
            Ok(SideEffect {
                id,
                side: if row.get::<_, &str>("side") == "source" { Side::Source } else { Side::Destination },
                database: row.get("database"),
                kind: Kind::parse(&word).ok_or(Error::UnknownKind { id, kind: word })?,
                object: row.get("object"),
                detail: row.get("detail"),
                age: Duration::try_from_secs_f64(row.get("age")).unwrap_or_default(),
            })
        })
        .collect()
}

/// Writes down a change that is about to be made. One that is there already keeps its number and its detail: the first
/// account of what was before us is the true one.
pub async fn record(
    control: &Client,
    mapping: &str,
    side: Side,
    database: &str,
    kind: Kind,
    object: &str,
    detail: &Value,
) -> Result<i64, Error> {
    let row = control
        .query_one(
            "INSERT INTO migrator.side_effect AS e (mapping, side, database, kind, object, detail)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (mapping, side, database, kind, object) WHERE undone_at IS NULL
             DO UPDATE SET detail = e.detail
             RETURNING id",
            &[&mapping, &side.as_str(), &database, &kind.as_str(), &object, detail],
        )
        .await
        .map_err(WRITE)?;
    Ok(row.get(0))
}

/// Makes way for a table of the same name as one that is in the ledger already: the other one was renamed or dropped since, and keeps
/// its row, by which it is known through its OID.
pub async fn set_aside_namesakes(
    control: &Client,
    mapping: &str,
    database: &str,
    kind: Kind,
    object: &str,
    oid: u32,
) -> Result<(), Error> {
    control
        .execute(
            "UPDATE migrator.side_effect SET object = object || ' (formerly, OID ' || (detail ->> 'oid') || ')'
             WHERE mapping = $1 AND side = 'source' AND database = $2 AND kind = $3 AND object = $4 AND undone_at IS NULL
               AND (detail ->> 'oid')::bigint <> $5",
            &[&mapping, &database, &kind.as_str(), &object, &i64::from(oid)],
        )
        .await
        .map_err(WRITE)?;
    Ok(())
}

/// The slots that were ever made, or meant to be, for a database of this mapping, the latest first: their names tell which database of the
/// source it was, whatever it is called by now.
pub async fn slots(control: &Client, mapping: &str, database: &str) -> Result<Vec<String>, Error> {
    let rows = control
        .query(
            "SELECT object FROM migrator.side_effect WHERE mapping = $1 AND database = $2 AND kind = 'slot'
             GROUP BY object ORDER BY max(id) DESC",
            &[&mapping, &database],
        )
        .await
        .map_err(READ)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The subscriptions that were ever made for a database of this mapping: from then on its tables may hold rows that are
/// nowhere else, whatever has become of the subscriptions.
pub async fn subscriptions_made(control: &Client, mapping: &str, database: &str) -> Result<HashSet<String>, Error> {
    let rows = control
        .query(
            "SELECT DISTINCT object FROM migrator.side_effect
             WHERE mapping = $1 AND database = $2 AND kind = 'subscription' AND (detail ->> 'made')::boolean",
            &[&mapping, &database],
        )
        .await
        .map_err(READ)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Adds to what is known about a change.
pub async fn amend(control: &Client, id: i64, detail: &Value) -> Result<(), Error> {
    control
        .execute("UPDATE migrator.side_effect SET detail = detail || $2 WHERE id = $1", &[&id, detail])
        .await
        .map_err(WRITE)?;
    Ok(())
}

/// Writes down that a change has been taken back, or is given up as `outcome` says.
pub async fn undone(control: &Client, id: i64, outcome: &str) -> Result<(), Error> {
    control
        .execute("UPDATE migrator.side_effect SET undone_at = clock_timestamp(), outcome = $2 WHERE id = $1", &[&id, &outcome])
        .await
        .map_err(WRITE)?;
    Ok(())
}
