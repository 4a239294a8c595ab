//! What operators asked for, through the extension's SQL functions.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

/// A request that is not finished.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// What is asked for.
    pub kind: Kind,
    /// Whether a controller has taken it up.
    pub started: bool,
    /// Whether a completion is to leave alone what is in use on the destination already.
    pub keep: bool,
    /// How long ago it was asked for, by the server's clock.
    pub age: Duration,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Switch over, within this time.
    Cutover(Duration),
    /// Clean up.
    Complete,
    /// Begin no further copy.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Copy anew: everything, one database, or one of its tables.
    Resync {
        /// The database; without it all of them.
        database: Option<String>,
        /// The table, as `schema.table`; without it all of the database.
        table: Option<String>,
    },
    /// Something that this version can't do yet, by name.
    Unsupported(String),
}

/// How far a mapping is, by its finished requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Being migrated.
    Migrating {
        /// Whether the last of pause and resume was a pause.
        paused: bool,
        /// The time limit of a cutover that was taken up and is not answered yet.
        cutover: Option<Duration>,
    },
    /// Switched over.
    CutOver,
    /// A cleanup has been begun, and not ended well: nothing else may go on.
    Completing,
    /// Done.
    Complete,
}

/// Reads how far the mapping is.
pub async fn stage(control: &Client, mapping: &str) -> Result<Stage, tokio_postgres::Error> {
    let row = control
        .query_one(
            "SELECT COALESCE(bool_or(kind = 'complete' AND succeeded), false) AS complete,
                    COALESCE(bool_or(kind = 'cutover' AND succeeded), false) AS cut_over,
                    COALESCE(bool_or(kind = 'complete' AND started_at IS NOT NULL), false) AS completing,
                    COALESCE((array_agg(kind ORDER BY id DESC) FILTER (WHERE kind IN ('pause', 'resume') AND succeeded))[1] = 'pause', false) AS paused,
                    (array_agg(arguments ORDER BY id) FILTER (WHERE kind = 'cutover' AND started_at IS NOT NULL AND finished_at IS NULL))[1] AS cutover
             FROM migrator.request WHERE mapping = $1",
            &[&mapping],
        )
        .await?;
    Ok(if row.get("complete") {
        Stage::Complete
    } else if row.get("cut_over") {
        Stage::CutOver
    } else if row.get("completing") {
        Stage::Completing
    } else {
        let cutover = row.get::<_, Option<Value>>("cutover").map(|arguments| time_limit(&arguments));
        Stage::Migrating { paused: row.get("paused"), cutover }
    })
}

/// How long a cutover may keep writers out.
fn time_limit(arguments: &Value) -> Duration {
    const DEFAULT: Duration = Duration::from_mins(5);
    let seconds = arguments["timeout_seconds"].as_f64();
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(DEFAULT)
}

/// Reads the unfinished requests, oldest first.
pub async fn open(control: &Client, mapping: &str) -> Result<Vec<Request>, tokio_postgres::Error> {
    let rows = control
        .query(
            "SELECT id, kind, arguments, started_at IS NOT NULL AS started,
                    extract(epoch FROM clock_timestamp() - requested_at)::float8 AS age FROM migrator.request
             WHERE mapping = $1 AND finished_at IS NULL ORDER BY id",
            &[&mapping],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let arguments: Value = row.get("arguments");
            let kind = match row.get::<_, &str>("kind") {
                "cutover" => Kind::Cutover(time_limit(&arguments)),
                "complete" => Kind::Complete,
                "pause" => Kind::Pause,
                "resume" => Kind::Resume,
                "resync" => {
                    let text = |key: &str| arguments[key].as_str().map(str::to_owned);
                    Kind::Resync { database: text("database"), table: text("table") }
                }
                other => Kind::Unsupported(other.to_owned()),
            };
            Request {
                id: row.get("id"),
                kind,
                started: row.get("started"),
                keep: arguments["keep_destination"].as_bool().unwrap_or(false),
                age: Duration::try_from_secs_f64(row.get("age")).unwrap_or_default(),
            }
        })
        .collect())
}

/// Notes that a request has been taken up; the first time counts.
pub async fn started(control: &Client, id: i64) -> Result<(), tokio_postgres::Error> {
    control
        .execute("UPDATE migrator.request SET started_at = clock_timestamp() WHERE id = $1 AND started_at IS NULL", &[&id])
        .await?;
    Ok(())
}

/// Answers a request with no, before it was taken up.
pub async fn refused(control: &Client, id: i64, report: &Value) -> Result<(), tokio_postgres::Error> {
    control
        .execute(
            "UPDATE migrator.request SET finished_at = clock_timestamp(), succeeded = false, report = $2 WHERE id = $1",
            &[&id, report],
        )
        .await?;
    Ok(())
}

/// Answers a request.
pub async fn finished(control: &Client, id: i64, succeeded: bool, report: &Value) -> Result<(), tokio_postgres::Error> {
    control
        .execute(
            "UPDATE migrator.request SET started_at = COALESCE(started_at, clock_timestamp()), finished_at = clock_timestamp(),
                    succeeded = $2, report = $3 WHERE id = $1",
            &[&id, &succeeded, report],
        )
        .await?;
    Ok(())
}
