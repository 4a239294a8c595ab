//! A pass that reads from a physical standby of the source instead of the source.
//!
//! On a standby, what is visible follows the log: a transaction is seen by a new snapshot once its commit record has been
//! replayed. While replay is paused, a snapshot taken there holds exactly the transactions whose commit records end at or
//! before `pg_last_wal_replay_lsn()`, and attaching a table as of that position skips exactly those
//! (`recoveryPausesHere` in PostgreSQL's xlogrecovery.c pauses between two records, never within one).
//!
//! The position has to be past everything that the stream has applied already, or changes in between would be lost: a
//! marker is written into the source's log when the stream stands still, and the standby must have replayed it. That also
//! shows that it is a standby of this source, together with the system's identifier and the timeline.
//!
//! Replay is paused for moments. The pause is in the ledger before it is made; and the session that makes it ends it by
//! itself after [`LONGEST_PAUSE`], whether anybody asks it to or not, so that a controller that is killed leaves no standby behind
//! that stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Client;

use crate::ledger::{self, Kind, Side};
use crate::postgres::{self, Endpoint, Lsn, Session, retry};
use crate::reconcile::watch::emit_marker;

/// Before 14 a server does not say when replay has really come to rest.
pub const SINCE: i32 = 14;
/// Replay goes on after this long, whatever happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the standby may need to replay what the source has written.
const REPLAY_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A standby to read from.
#[derive(Debug, Clone)]
pub struct Standby {
    /// How to reach it.
    pub endpoint: Endpoint,
    /// Session on the control database, for the ledger.
    pub control: Arc<Session>,
    /// The mapping.
    pub mapping: String,
    /// One pass at a time pauses it.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why a standby is not read from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It or the source can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A server refused.
    #[error("{}", retry::message(.0))]
    Statement(#[from] tokio_postgres::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// It is not what it should be, in words.
    #[error("{0}")]
    Unfit(String),
}

/// A snapshot on a standby. It can be imported there as long as this lives.
pub struct Snapshot {
    /// What committed before this position is in the snapshot, and nothing else.
    pub lsn: Lsn,
    /// Its name for `SET TRANSACTION SNAPSHOT`.
    pub name: String,
    _holder: Session,
}

const IDENTITY: &str = "
    SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system, pg_catalog.pg_is_in_recovery() AS recovery";
const SOURCE_TIMELINE: &str = "
    SELECT ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int4 AS timeline";
const STANDBY: &str = "
    SELECT (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver) AS timeline,
           pg_catalog.has_function_privilege('pg_catalog.pg_wal_replay_pause()', 'EXECUTE')
           AND pg_catalog.has_function_privilege('pg_catalog.pg_wal_replay_resume()', 'EXECUTE') AS may_pause";

/// Whether `standby` is a standby of `source` that we can use.
pub async fn fit(source: &Client, standby: &Session) -> Result<(), Error> {
    let unfit = |words: &str| Err(Error::Unfit(words.to_owned()));
    if !standby.version().at_least(SINCE) {
        return unfit("copying from a standby needs PostgreSQL 14 or later");
    }
    let (ours, theirs) = (source.query_one(IDENTITY, &[]).await?, standby.query_one(IDENTITY, &[]).await?);
    if !theirs.get::<_, bool>("recovery") {
        return unfit("it is not a standby: it is not in recovery");
    }
    if ours.get::<_, i64>("system") != theirs.get::<_, i64>("system") {
        return unfit("it is a standby of another server: the system identifiers differ");
    }
    let (timeline, standby) = (source.query_one(SOURCE_TIMELINE, &[]).await?, standby.query_one(STANDBY, &[]).await?);
    match standby.get::<_, Option<i32>>("timeline") {
        Some(received) if received == timeline.get::<_, i32>("timeline") => {}
        Some(_) => return unfit("it follows another timeline than the source's"),
        None => return unfit("it does not stream from anywhere (or our role may not see it: grant it pg_monitor)"),
    }
    if !standby.get::<_, bool>("may_pause") {
        return unfit("our role may not execute pg_wal_replay_pause() and pg_wal_replay_resume() there");
    }
    Ok(())
}

async fn replayed(standby: &Client) -> Result<(Lsn, String), tokio_postgres::Error> {
    let sql = "SELECT pg_catalog.pg_last_wal_replay_lsn(), pg_catalog.pg_get_wal_replay_pause_state()";
    let row = standby.query_one(sql, &[]).await?;
    Ok((row.get::<_, Option<Lsn>>(0).unwrap_or_default(), row.get(1)))
}

/// Ends the pause of an earlier controller that the ledger knows of.
pub async fn resume(standby: &Standby, effect: i64) -> Result<(), Error> {
    let session = standby.endpoint.connect(&standby.endpoint.instance.database).await?;
    let sql = "SELECT pg_catalog.pg_wal_replay_resume() WHERE pg_catalog.pg_is_in_recovery()";
    session.execute(sql, &[]).await?;
    Ok(ledger::undone(&standby.control, effect, "resumed").await?)
}

impl Snapshot {
    /// Takes one in a database. The streams of the tables to be copied stand still; `source` is connected to that database.
    pub async fn take(standby: &Standby, source: &Client, database: &str) -> Result<Self, Error> {
        let _turn = standby.turn.lock().await;
        let holder = standby.endpoint.connect(database).await?;
        fit(source, &holder).await?;
        // Past whatever a stream of ours has applied, and flushed at the source.
        let marker = emit_marker(source, "standby").await?;
        let began = Instant::now();
        let (mut lsn, mut state) = replayed(&holder).await?;
        while lsn < marker {
            let behind = marker.bytes_since(lsn);
            if state != "not paused" {
                return Err(Error::Unfit(format!("its replay is paused, {behind} bytes behind the source")));
            }
            if began.elapsed() > REPLAY_LIMIT {
                let limit = REPLAY_LIMIT.as_secs();
                return Err(Error::Unfit(format!("it is {behind} bytes behind the source, and was for {limit} s")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            (lsn, state) = replayed(&holder).await?;
        }
        if state == "paused" {
            // By somebody else, who will also let it go on.
            return Self::export(holder).await;
        }
        let (control, mapping, name) = (&standby.control, &standby.mapping, &standby.endpoint.name);
        let effect = ledger::record(control, mapping, Side::Source, "", Kind::ReplayPause, name, &json!({})).await?;
        let pause = Pause::begin(standby, database).await?;
        let snapshot = async {
            pause.in_force(&holder).await?;
            Self::export(holder).await
        };
        let snapshot = snapshot.await;
        // Whatever came of it: replay goes on, and the ledger says so only if it does.
        pause.end().await?;
        ledger::undone(control, effect, "resumed").await?;
        snapshot
    }

    /// Exports a snapshot while replay stands still, and makes sure that it did all the time.
    async fn export(holder: Session) -> Result<Self, Error> {
        let before = replayed(&holder).await?;
        holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let name = holder.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await?.get(0);
        let after = replayed(&holder).await?;
        if before != after || after.1 != "paused" {
            return Err(Error::Unfit("its replay went on while the snapshot was taken".to_owned()));
        }
        Ok(Self { lsn: after.0, name, _holder: holder })
    }
}

/// A pause of replay, which ends by itself.
struct Pause {
    /// Resumes.
    session: Session,
    /// The statement that pauses, waits and resumes; its server process.
    pauser: tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>,
    process: i32,
}

impl Pause {
    async fn begin(standby: &Standby, database: &str) -> Result<Self, Error> {
        let session = standby.endpoint.connect(database).await?;
        let pausing = standby.endpoint.connect(database).await?;
        // It is to reach its end above all when its client is gone.
        pausing.batch_execute("SET client_connection_check_interval = 0").await?;
        let process = pausing.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await?.get(0);
        let statement = format!(
            "DO $$ BEGIN PERFORM pg_catalog.pg_wal_replay_pause(); PERFORM pg_catalog.pg_sleep({}); \
             PERFORM pg_catalog.pg_wal_replay_resume(); END $$",
            LONGEST_PAUSE.as_secs()
        );
        let pauser = tokio::spawn(async move { pausing.batch_execute(&statement).await });
        Ok(Self { session, pauser, process })
    }

    /// Waits until replay has come to rest.
    async fn in_force(&self, standby: &Client) -> Result<(), Error> {
        let began = Instant::now();
        while replayed(standby).await?.1 != "paused" {
            if self.pauser.is_finished() || began.elapsed() > LONGEST_PAUSE {
                return Err(Error::Unfit("its replay could not be paused".to_owned()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Lets replay go on at once, and ends the statement that would do so later: somebody else may pause it by then.
    async fn end(self) -> Result<(), Error> {
        let resume = "SELECT pg_catalog.pg_wal_replay_resume(), pg_catalog.pg_cancel_backend($1)";
        self.session.query_one(resume, &[&self.process]).await?;
        // It was cancelled, which is an error to it.
        let _ = self.pauser.await;
        Ok(())
    }
}
