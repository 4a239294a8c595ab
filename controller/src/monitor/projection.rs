//! The projection: writes what the board shows into the control database, once a tick, and only rows that changed.
//! Nobody else writes these tables. Nothing is decided from them but whether a cutover or completion may begin, which the operator and the
//! loop ask by the same function.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::GenericClient;

use super::board::{Board, DatabaseView, Event, PaceView, Phase, Status, TableStage, View};
use crate::finding::{Finding, Severity};
use crate::postgres::{ServerVersion, Session};
use crate::provision::cause;

/// What is no longer there is looked for at every so manieth tick.
const PRUNE_TICKS: u64 = 30;

/// Static facts about a mapping.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub mapping: String,
    /// Name of the source instance.
    pub source: String,
    /// Name of the destination instance.
    pub destination: String,
    /// The source's version, once known.
    pub source_version: Option<ServerVersion>,
    /// The destination's version, once known.
    pub destination_version: Option<ServerVersion>,
}

/// Writes the board's changes.
#[derive(Debug)]
pub struct Projection {
    identity: Identity,
    board: Board,
    /// Rows as last written, by table and key, so that only changes are written. Tables and sequences are many: the board itself knows
    /// which of those have changed, and of the others no rows are made.
    written: HashMap<(&'static str, String), Value>,
    ticks: u64,
}

/// Everything one tick writes, taken off the board in one moment.
struct Picture {
    status: Status,
    phase: &'static str,
    databases: Vec<Value>,
    /// Those that look otherwise than before.
    tables: Vec<Value>,
    /// Names of all tables, where they are asked for.
    table_names: Vec<Value>,
    /// Those that have another value than before.
    sequences: Vec<Value>,
    roles: Vec<Value>,
    checks: Vec<Value>,
    lag: Vec<Value>,
    findings: Vec<Finding>,
    events: Vec<Event>,
    pace: PaceView,
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} seconds", duration.as_secs_f64())
}

impl Projection {
    /// A projection that has written nothing yet.
    pub fn new(identity: Identity, board: Board) -> Self {
        let mut projection = Self { identity, board, written: HashMap::new(), ticks: 0 };
        projection.forget();
        projection
    }

    /// Says that the last write was given up: all is written again at the next one.
    pub fn forget(&mut self) {
        self.written.clear();
        self.board.lock().epoch += 1;
    }

    /// Writes what has changed. On an error nothing counts as written, and the next tick writes it all again.
    pub async fn write(&mut self, control: &mut Session) -> Result<(), tokio_postgres::Error> {
        let picture = picture(&self.board, self.ticks.is_multiple_of(PRUNE_TICKS));
        let result = self.write_picture(control, &picture).await;
        match &result {
            // Nobody else takes them away: so those of a write that was given up are written by the next one.
            Ok(()) => drop(self.board.lock().events.drain(..picture.events.len())),
            Err(_) => self.forget(),
        }
        result
    }

    async fn write_picture(&mut self, control: &mut Session, picture: &Picture) -> Result<(), tokio_postgres::Error> {
        let mapping = self.identity.mapping.clone();
        let transaction = control.transaction().await?;
        transaction
            .execute(
                "INSERT INTO migrator.mapping AS m (mapping, source, destination, source_version, destination_version, status, phase)
                 VALUES ($1, $2, $3, $4, $5, $6::text::migrator.status, $7)
                 ON CONFLICT (mapping) DO UPDATE SET source = excluded.source, destination = excluded.destination,
                     source_version = COALESCE(excluded.source_version, m.source_version),
                     destination_version = COALESCE(excluded.destination_version, m.destination_version),
                     status = excluded.status, phase = excluded.phase, updated_at = clock_timestamp()",
                &[
                    &mapping,
                    &self.identity.source,
                    &self.identity.destination,
                    &self.identity.source_version.map(|v| v.0),
                    &self.identity.destination_version.map(|v| v.0),
                    &picture.status.as_str(),
                    &picture.phase,
                ],
            )
            .await?;
        transaction
            .execute(
                "UPDATE migrator.mapping SET copy_limit_bytes_per_second = $2, slowed_down_by = $3 WHERE mapping = $1
                 AND (copy_limit_bytes_per_second, slowed_down_by) IS DISTINCT FROM ($2, $3)",
                &[&mapping, &picture.pace.limit.map(|limit| limit as i64), &picture.pace.slowed_down_by],
            )
            .await?;
        // Databases are written at every tick, changed or not: their updated_at says that somebody looked.
        transaction.execute(DATABASES, &[&mapping, &json!(picture.databases)]).await?;
        for chunk in picture.tables.chunks(5000) {
            transaction.execute(TABLES, &[&mapping, &json!(chunk)]).await?;
        }
        for chunk in picture.sequences.chunks(5000) {
            transaction.execute(SEQUENCES, &[&mapping, &json!(chunk)]).await?;
        }
        for (table, key, statement, rows) in [
            ("role_state", &["role"][..], ROLES, &picture.roles),
            ("cutover_check", &["database", "name"], CHECKS, &picture.checks),
        ] {
            let changed = self.changed(table, key, rows);
            for chunk in changed.chunks(5000) {
                transaction.execute(statement, &[&mapping, &json!(chunk)]).await?;
            }
        }
        // Tables, checks and databases that are no longer there.
        if self.ticks.is_multiple_of(PRUNE_TICKS) {
            prune(&transaction, &mapping, picture).await?;
        }
        write_findings(&transaction, &mapping, &picture.findings).await?;
        for event in &picture.events {
            transaction
                .execute(
                    "INSERT INTO migrator.event (mapping, database, level, message) VALUES ($1, $2, $3, $4)",
                    &[&mapping, &event.database, &event.level, &event.message],
                )
                .await?;
        }
        if !picture.lag.is_empty() {
            transaction.execute(LAG, &[&mapping, &json!(picture.lag)]).await?;
        }
        if self.ticks.is_multiple_of(600) {
            transaction
                .execute(
                    "DELETE FROM migrator.lag_sample WHERE mapping = $1 AND at < clock_timestamp() - interval '1 day'",
                    &[&mapping],
                )
                .await?;
        }
        transaction.commit().await?;
        self.ticks += 1;
        Ok(())
    }

    fn changed(&mut self, table: &'static str, key: &[&str], rows: &[Value]) -> Vec<Value> {
        rows.iter()
            .filter(|row| {
                let key: Vec<&Value> = key.iter().map(|column| &row[*column]).collect();
                let slot = self.written.entry((table, json!(key).to_string()));
                match slot {
                    std::collections::hash_map::Entry::Occupied(mut old) if old.get() != *row => {
                        old.insert((*row).clone());
                        true
                    }
                    std::collections::hash_map::Entry::Occupied(_) => false,
                    std::collections::hash_map::Entry::Vacant(new) => {
                        new.insert((*row).clone());
                        true
                    }
                }
            })
            .cloned()
            .collect()
    }
}

const DATABASES: &str = "
    INSERT INTO migrator.database AS d (mapping, database, status, phase, waiting_for, tables_total, tables_synced, tables_in_catchup,
        tables_problematic, statements_total, statements_done, bytes_total, bytes_copied, bytes_per_second, source_lsn, applied_lsn,
        lag_bytes, lag, wal_retained_bytes, eta, wal_limit_bytes, wal_limit_in)
    SELECT $1, r.database, r.status, r.phase, r.waiting_for, r.tables_total, r.tables_synced, r.tables_in_catchup,
        r.tables_problematic, r.statements_total, r.statements_done, r.bytes_total, r.bytes_copied, r.bytes_per_second, r.source_lsn,
        r.applied_lsn, r.lag_bytes, r.lag, r.wal_retained_bytes, r.eta,
        r.wal_limit_bytes, r.wal_limit_in
    FROM jsonb_populate_recordset(NULL::migrator.database, $2) r
    ON CONFLICT (mapping, database) DO UPDATE SET status = excluded.status, phase = excluded.phase, waiting_for = excluded.waiting_for,
        tables_total = excluded.tables_total, tables_synced = excluded.tables_synced, tables_in_catchup = excluded.tables_in_catchup,
        tables_problematic = excluded.tables_problematic, statements_total = excluded.statements_total,
        statements_done = excluded.statements_done, bytes_total = excluded.bytes_total, bytes_copied = excluded.bytes_copied,
        bytes_per_second = excluded.bytes_per_second, source_lsn = excluded.source_lsn, applied_lsn = excluded.applied_lsn,
        lag_bytes = excluded.lag_bytes, lag = excluded.lag, wal_retained_bytes = excluded.wal_retained_bytes, eta = excluded.eta,
        wal_limit_bytes = excluded.wal_limit_bytes, wal_limit_in = excluded.wal_limit_in,
        updated_at = clock_timestamp()";

const TABLES: &str = "
    INSERT INTO migrator.table_state AS t (mapping, database, schema, name, status, state, bytes_total, bytes_copied, rows_copied,
        copied_lsn, replica_identity, problem)
    SELECT $1, r.database, r.schema, r.name, r.status, r.state, r.bytes_total, r.bytes_copied, r.rows_copied, r.copied_lsn,
        r.replica_identity, r.problem
    FROM jsonb_populate_recordset(NULL::migrator.table_state, $2) r
    ON CONFLICT (mapping, database, schema, name) DO UPDATE SET status = excluded.status, state = excluded.state,
        bytes_total = excluded.bytes_total, bytes_copied = excluded.bytes_copied,
        rows_copied = GREATEST(excluded.rows_copied, t.rows_copied), copied_lsn = COALESCE(excluded.copied_lsn, t.copied_lsn),
        replica_identity = excluded.replica_identity, problem = excluded.problem, updated_at = clock_timestamp()";

const SEQUENCES: &str = "
    INSERT INTO migrator.sequence_state (mapping, database, schema, name, last_value, is_called)
    SELECT $1, r.database, r.schema, r.name, r.last_value, r.is_called FROM jsonb_populate_recordset(NULL::migrator.sequence_state, $2) r
    ON CONFLICT (mapping, database, schema, name) DO UPDATE SET last_value = excluded.last_value, is_called = excluded.is_called,
        updated_at = clock_timestamp()";

const ROLES: &str = "
    INSERT INTO migrator.role_state (mapping, role, state, problem)
    SELECT $1, r.role, r.state, r.problem FROM jsonb_populate_recordset(NULL::migrator.role_state, $2) r
    ON CONFLICT (mapping, role) DO UPDATE SET state = excluded.state, problem = excluded.problem, updated_at = clock_timestamp()";

const CHECKS: &str = "
    INSERT INTO migrator.cutover_check (mapping, database, name, ok, detail, fix)
    SELECT $1, r.database, r.name, r.ok, r.detail, r.fix FROM jsonb_populate_recordset(NULL::migrator.cutover_check, $2) r
    ON CONFLICT (mapping, database, name) DO UPDATE SET ok = excluded.ok, detail = excluded.detail, fix = excluded.fix,
        updated_at = clock_timestamp()";

const LAG: &str = "
    INSERT INTO migrator.lag_sample (mapping, database, lag_bytes, lag)
    SELECT $1, r.database, r.lag_bytes, r.lag FROM jsonb_populate_recordset(NULL::migrator.lag_sample, $2) r
    ON CONFLICT DO NOTHING";

async fn prune(control: &impl GenericClient, mapping: &str, picture: &Picture) -> Result<(), tokio_postgres::Error> {
    let databases: Vec<&str> = picture.databases.iter().filter_map(|d| d["database"].as_str()).collect();
    if databases.is_empty() {
        // Nothing has been looked at yet; what an earlier controller wrote still stands.
        return Ok(());
    }
    control.execute("DELETE FROM migrator.database WHERE mapping = $1 AND database <> ALL ($2)", &[&mapping, &databases]).await?;
    control
        .execute(
            "DELETE FROM migrator.cutover_check WHERE mapping = $1 AND database <> '' AND database <> ALL ($2)",
            &[&mapping, &databases],
        )
        .await?;
    let with_tables: HashSet<&str> = picture.table_names.iter().filter_map(|t| t["database"].as_str()).collect();
    let with_tables: Vec<&str> = with_tables.into_iter().collect();
    control
        .execute(
            "DELETE FROM migrator.table_state t WHERE mapping = $1 AND database = ANY ($2)
             AND NOT EXISTS (SELECT FROM jsonb_to_recordset($3) AS r (database text, schema text, name text)
                             WHERE (r.database, r.schema, r.name) = (t.database, t.schema, t.name))",
            &[&mapping, &with_tables, &json!(picture.table_names)],
        )
        .await?;
    Ok(())
}

/// Opens findings that are new, brings those that stay up to date, and resolves those that no longer hold.
async fn write_findings(control: &impl GenericClient, mapping: &str, findings: &[Finding]) -> Result<(), tokio_postgres::Error> {
    let rows: Vec<Value> = findings
        .iter()
        .map(|f| {
            json!({"database": f.database, "severity": f.severity.as_str(), "code": f.code, "object": f.object,
                   "reason": f.reason, "fix": f.fix, "statement": f.statement})
        })
        .collect();
    control
        .execute(
            "WITH now AS (SELECT DISTINCT ON (database, code, object) * FROM jsonb_to_recordset($2)
                              AS r (database text, severity text, code text, object text, reason text, fix text, statement text)),
                  gone AS (UPDATE migrator.finding f SET resolved_at = clock_timestamp()
                           WHERE f.mapping = $1 AND f.resolved_at IS NULL
                             AND NOT EXISTS (SELECT FROM now WHERE (now.database, now.code, now.object) = (f.database, f.code, f.object)))
             INSERT INTO migrator.finding AS f (mapping, database, severity, code, object, reason, fix, statement)
             SELECT $1, database, severity, code, object, reason, fix, statement FROM now
             ON CONFLICT (mapping, database, code, object) WHERE resolved_at IS NULL
             DO UPDATE SET severity = excluded.severity, reason = excluded.reason, fix = excluded.fix, statement = excluded.statement
             WHERE (f.severity, f.reason, f.fix) IS DISTINCT FROM (excluded.severity, excluded.reason, excluded.fix)",
            &[&mapping, &json!(rows)],
        )
        .await?;
    Ok(())
}

fn table_row(database: &str, schema: &str, name: &str, view: &super::board::TableView, complete: bool) -> Value {
    let (status, state, lsn, problem, rows) = match &view.stage {
        _ if complete => (Status::Complete, "streaming", None, None, view.rows),
        TableStage::Pending => (Status::Pending, "pending", None, None, 0),
        TableStage::Copying(progress) => (Status::InCatchup, "copying", None, None, progress.rows.load(Ordering::Relaxed) as i64),
        TableStage::Attached(lsn) => (Status::InCatchup, "catchup", Some(lsn.to_string()), None, view.rows),
        TableStage::Streaming => (Status::Synced, "streaming", None, None, view.rows),
        TableStage::Failed(reason) => (Status::Problematic, "failed", None, Some(reason.clone()), 0),
    };
    json!({"database": database, "schema": schema, "name": name, "status": status.as_str(), "state": state,
           "bytes_total": view.bytes, "bytes_copied": view.bytes_copied(), "rows_copied": rows, "copied_lsn": lsn,
           "replica_identity": view.replica_identity, "problem": problem})
}

fn database_row(name: &str, view: &DatabaseView) -> Value {
    let (total, copied) = view.bytes();
    let count = |wanted: fn(&TableStage) -> bool| view.tables.values().filter(|t| wanted(&t.stage)).count();
    let rate = view.copy_began.filter(|_| view.phase == Phase::Copying).and_then(|began| {
        let elapsed = began.elapsed().as_secs_f64();
        (elapsed > 1.0).then(|| (copied - view.bytes_at_start) as f64 / elapsed)
    });
    let eta = rate.filter(|r| *r > 0.0).map(|r| seconds(Duration::from_secs_f64((total - copied) as f64 / r)));
    json!({
        "database": name, "status": view.status().as_str(), "phase": view.phase.as_str(), "waiting_for": view.waiting_for,
        "tables_total": view.tables.len(),
        "tables_synced": count(|s| matches!(s, TableStage::Streaming)),
        "tables_in_catchup": count(|s| matches!(s, TableStage::Copying(_) | TableStage::Attached(_))),
        "tables_problematic": count(|s| matches!(s, TableStage::Failed(_))),
        "statements_total": view.statements_total, "statements_done": view.statements_done,
        "bytes_total": total, "bytes_copied": copied, "bytes_per_second": rate,
        "source_lsn": view.lag.map(|l| l.source.to_string()), "applied_lsn": view.lag.map(|l| l.applied.to_string()),
        "lag_bytes": view.lag.map(|l| l.bytes), "lag": view.lag.and_then(|l| l.age).map(seconds),
        "wal_retained_bytes": view.wal.map(|w| w.bytes).or(view.lag.map(|l| l.retained)), "eta": eta,
        "wal_limit_bytes": view.wal.and_then(|w| w.limit), "wal_limit_in": view.wal.and_then(|w| w.limit_in).map(seconds),
    })
}

/// The status of a mapping is the worst of its databases'.
fn mapping_status(view: &View) -> Status {
    let errors = view.findings.values().flatten().any(|f| f.severity == Severity::Error);
    let statuses: Vec<Status> = view.databases.values().map(DatabaseView::status).collect();
    if view.phase == Some(Phase::Complete) {
        Status::Complete
    } else if errors || statuses.contains(&Status::Problematic) {
        Status::Problematic
    } else {
        statuses.into_iter().min().unwrap_or(Status::Pending)
    }
}

fn picture(board: &Board, with_names: bool) -> Picture {
    let mut view = board.lock();
    let view = &mut *view;
    let epoch = view.epoch;
    let status = mapping_status(view);
    // The phase shown for a mapping is that of the database that is least far.
    let phase =
        view.phase.or_else(|| view.databases.values().map(|d| d.phase).min_by_key(|p| *p as u8)).unwrap_or_default().as_str();
    let complete = view.phase == Some(Phase::Complete);
    let mut picture = Picture {
        status,
        phase,
        databases: Vec::new(),
        tables: Vec::new(),
        table_names: Vec::new(),
        sequences: Vec::new(),
        roles: Vec::new(),
        checks: Vec::new(),
        lag: Vec::new(),
        findings: cause::told_once(view.findings.values().flatten().cloned().collect()),
        events: view.events.clone(),
        pace: view.pace.clone(),
    };
    picture.findings.sort();
    for (name, database) in &mut view.databases {
        picture.databases.push(database_row(name, database));
        for ((schema, table), view) in &mut database.tables {
            if with_names {
                picture.table_names.push(json!({"database": name, "schema": schema, "name": table}));
            }
            if view.looks_new(epoch, complete) {
                picture.tables.push(table_row(name, schema, table, view, complete));
            }
        }
        picture.sequences.extend(database.new_sequences(epoch).into_iter().map(|((schema, sequence), value)| {
            json!({"database": name, "schema": schema, "name": sequence, "last_value": value.last_value, "is_called": value.is_called})
        }));
        picture.findings.extend(cause::told_once(database.findings.values().flatten().cloned().collect()));
        picture.checks.extend(database_checks(name, database));
        if let Some(lag) = database.lag {
            picture.lag.push(json!({"database": name, "lag_bytes": lag.bytes, "lag": lag.age.map(seconds)}));
        }
    }
    let mapping_errors: BTreeMap<&str, &str> = view
        .findings
        .values()
        .flatten()
        .filter(|f| f.severity == Severity::Error)
        .map(|f| (f.object.as_str(), f.reason.as_str()))
        .collect();
    picture.checks.push(json!({"database": "", "name": "mapping_sound", "ok": mapping_errors.is_empty() && !view.databases.is_empty(),
        "detail": if view.databases.is_empty() { "no database has been looked at yet".to_owned() } else if mapping_errors.is_empty() {
            "no finding of severity error".to_owned() } else {
            mapping_errors.iter().map(|(o, r)| format!("{o}: {r}")).collect::<Vec<_>>().join("; ") },
        "fix": if mapping_errors.is_empty() { "" } else { "select * from migrator.findings where resolved_at is null" }}));
    picture.roles =
        view.roles.iter().map(|(role, (state, problem))| json!({"role": role, "state": state, "problem": problem})).collect();
    picture
}

/// A database that does not stream yet has one fact: that it does not.
fn database_checks(name: &str, view: &DatabaseView) -> Vec<Value> {
    let streaming =
        matches!(view.phase, Phase::Streaming | Phase::CuttingOver | Phase::CutOver | Phase::Completing | Phase::Complete);
    // Without facts nothing is known, whatever was known before.
    let over = matches!(view.phase, Phase::CuttingOver | Phase::CutOver | Phase::Completing | Phase::Complete);
    let known = streaming && (over || !view.believed_checks().is_empty());
    let mut rows = vec![json!({"database": name, "name": "streaming", "ok": known,
        "detail": format!("phase {}{}", view.phase.as_str(), if streaming && !known { ", which is being looked at anew" } else { "" }),
        "fix": if view.phase == Phase::Refused { "select * from migrator.findings where resolved_at is null" } else { "" }})];
    rows.extend(
        view.checks.iter().map(|c| json!({"database": name, "name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix})),
    );
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::table::sample;
    use crate::stream::sequences::Value as Position;

    fn projection(board: &Board) -> Projection {
        let identity = Identity {
            mapping: "erp".into(),
            source: "old".into(),
            destination: "new".into(),
            source_version: None,
            destination_version: None,
        };
        Projection::new(identity, board.clone())
    }

    #[test]
    fn what_a_projection_that_is_gone_or_a_write_that_was_given_up_may_not_have_shown_is_shown_again() {
        let board = Board::default();
        board.begin_database("shop");
        board.database("shop", |view| {
            view.set_tables(&[sample("a", 10)]);
            view.sequences.insert(("s".into(), "q".into()), Position { last_value: 7, is_called: true });
        });
        let rows = |board: &Board| {
            let picture = picture(board, false);
            (picture.tables.len(), picture.sequences.len())
        };
        let mut first = projection(&board);
        assert_eq!(rows(&board), (1, 1));
        assert_eq!(rows(&board), (0, 0), "nothing has changed");
        first.forget();
        assert_eq!(rows(&board), (1, 1));
        drop(first);
        let _second = projection(&board);
        assert_eq!(rows(&board), (1, 1), "the board outlives the projection");
        board.database("shop", |view| {
            view.sequences.insert(("s".into(), "q".into()), Position { last_value: 8, is_called: true });
        });
        assert_eq!(rows(&board), (0, 1));
    }

    #[test]
    fn an_event_is_on_the_board_until_it_is_written() {
        let board = Board::default();
        board.event("shop", "info", "one".to_owned());
        for _ in 0..2 {
            assert_eq!(picture(&board, false).events.len(), 1);
        }
    }
}
