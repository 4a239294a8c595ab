//! The head of a mapping: where it stands, in one look, and what to do next.

use askama::Template;

use super::lag;
use crate::format;
use crate::read::{Mapping, Request, Status};

#[derive(Template)]
#[template(path = "banner.html")]
pub struct Banner<'a> {
    mapping: &'a Mapping,
    source_version: Option<String>,
    destination_version: Option<String>,
    elapsed: String,
    /// How long ago the controller looked, in seconds.
    age: u64,
    eta: Option<String>,
    next: NextAction,
    tiles: Vec<Tile>,
    requests: Vec<RequestLine<'a>>,
}

/// One figure with its name.
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    progress: Option<u16>,
    trouble: bool,
}

impl Tile {
    fn thousandths(&self) -> u16 {
        self.progress.unwrap_or_default()
    }
}

/// What the operator does next, in words and, where there is one, as the statement to run.
#[derive(Debug, PartialEq, Eq)]
struct NextAction {
    words: String,
    sql: Option<String>,
}

struct RequestLine<'a> {
    request: &'a Request,
    state: &'static str,
    report: Option<String>,
}

impl<'a> Banner<'a> {
    /// The banner of a mapping that was read `read_ago` seconds ago.
    pub fn of(mapping: &'a Mapping, read_ago: f64) -> Self {
        let eta = mapping.databases.iter().filter_map(|database| database.eta_seconds).fold(0.0, f64::max);
        Self {
            source_version: mapping.source_version.map(format::version),
            destination_version: mapping.destination_version.map(format::version),
            elapsed: format::duration(mapping.elapsed_seconds),
            eta: (eta > 0.0 && !mapping.status.is_copied()).then(|| format::duration(eta)),
            next: next_action(mapping),
            tiles: tiles(mapping),
            requests: mapping.requests.iter().map(request_line).collect(),
            age: (mapping.age_seconds + read_ago).max(0.0) as u64,
            mapping,
        }
    }

    fn updated(&self) -> String {
        format::duration(self.age as f64)
    }

    /// A controller that is gone matters until the work is done.
    fn controller_missing(&self) -> bool {
        !self.mapping.controller_running && self.mapping.status != Status::Complete
    }
}

fn request_line(request: &Request) -> RequestLine<'_> {
    let state = match (request.succeeded, request.started) {
        (Some(true), _) => "done",
        (Some(false), _) => "failed",
        (None, true) => "running",
        (None, false) => "waiting for the controller",
    };
    let report = request.report.as_ref().map(|report| format!("{report:#}"));
    RequestLine { request, state, report }
}

fn tiles(mapping: &Mapping) -> Vec<Tile> {
    let databases = &mapping.databases;
    let sum = |value: fn(&crate::read::Database) -> i64| databases.iter().map(value).sum::<i64>();
    let total = sum(|database| database.bytes_total);
    let copied = sum(|database| database.bytes_copied);
    let tables = sum(|database| database.tables_total);
    let synced = sum(|database| database.tables_synced);
    let catching_up = sum(|database| database.tables_in_catchup);
    let problematic = sum(|database| database.tables_problematic);
    let rate: f64 = databases.iter().filter_map(|database| database.bytes_per_second).sum();
    let worst_lag = databases.iter().filter_map(|database| database.lag_bytes).max();
    let oldest = databases.iter().filter_map(|database| database.lag_seconds).reduce(f64::max);
    let everything_copied =
        mapping.status.is_copied() || (!databases.is_empty() && databases.iter().all(|database| database.progress() == 1000));
    let findings = mapping.finding_counts;

    vec![
        Tile {
            label: "Copied",
            value: format::bytes(copied),
            note: if rate >= 1.0 && !everything_copied {
                let limit = mapping.copy_limit_bytes_per_second.map(|limit| format!(", at most {}", format::bytes(limit)));
                let slowed = mapping.slowed_down_by.as_ref().map(|why| format!("; slowed down: {why}"));
                let (limit, slowed) = (limit.unwrap_or_default(), slowed.unwrap_or_default());
                format!("of about {} · {}/s{limit}{slowed}", format::bytes(total), format::bytes(rate as i64))
            } else {
                format!("of about {}", format::bytes(total))
            },
            progress: Some(format::progress(copied, total, everything_copied)),
            trouble: false,
        },
        Tile {
            label: "Tables in step",
            value: format!("{} of {}", format::count(synced), format::count(tables)),
            note: match (catching_up, problematic) {
                (0, 0) => String::new(),
                (_, 0) => format!("{} catching up", format::count(catching_up)),
                (0, _) => format!("{} in trouble", format::count(problematic)),
                _ => format!("{} catching up, {} in trouble", format::count(catching_up), format::count(problematic)),
            },
            progress: Some(format::progress(synced, tables, tables > 0 && synced == tables)),
            trouble: problematic > 0,
        },
        Tile {
            label: "Lag",
            value: lag(worst_lag, oldest),
            note: if databases.len() > 1 { "of the database furthest behind".into() } else { String::new() },
            progress: None,
            trouble: false,
        },
        wal_tile(databases),
        Tile {
            label: "Open findings",
            value: format::count(findings.all()),
            note: match (findings.error, findings.warning) {
                (0, 0) => String::new(),
                (errors, 0) => counted(errors, "error"),
                (0, warnings) => counted(warnings, "warning"),
                (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
            },
            progress: None,
            trouble: findings.error > 0,
        },
    ]
}

/// Of the database that is nearest to its limit; where there is no limit, of the one that keeps most.
fn wal_tile(databases: &[crate::read::Database]) -> Tile {
    let share = |database: &crate::read::Database| {
        let limit = database.wal_limit_bytes.map_or(f64::MAX, |limit| limit.max(1) as f64);
        database.wal_retained_bytes.unwrap_or_default() as f64 / limit
    };
    let worst = databases.iter().filter(|d| d.wal_retained_bytes.is_some()).max_by(|a, b| share(a).total_cmp(&share(b)));
    let (kept, limit) = (worst.and_then(|d| d.wal_retained_bytes), worst.and_then(|d| d.wal_limit_bytes));
    let soon = worst.and_then(|d| d.wal_limit_in_seconds).map(|left| format!(" · all in {}", format::duration(left)));
    Tile {
        label: "WAL kept on the source",
        value: kept.map_or_else(|| "–".into(), format::bytes),
        note: match limit {
            Some(limit) => format!("of at most {}{}", format::bytes(limit), soon.unwrap_or_default()),
            None => "for our slots, without a limit".into(),
        },
        progress: kept.zip(limit).map(|(kept, limit)| format::progress(kept, limit, kept >= limit)),
        trouble: kept.zip(limit).is_some_and(|(kept, limit)| kept >= limit / 10 * 6),
    }
}

fn counted(number: i64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", format::count(number)) }
}

fn next_action(mapping: &Mapping) -> NextAction {
    let words = |words: String| NextAction { words, sql: None };
    let call = |words: &str, function: &str| NextAction {
        words: words.to_owned(),
        sql: Some(format!("SELECT migrator.{function}({});", literal(&mapping.mapping))),
    };
    if mapping.status == Status::Complete {
        return words("Everything is done and cleaned up. The report below stays.".into());
    }
    if !mapping.controller_running {
        return words(
            "Start pg-migrator run: no controller looks after this mapping. What PostgreSQL replicates goes on without it."
                .into(),
        );
    }
    if let Some(request) = mapping.requests.iter().find(|request| request.succeeded.is_none()) {
        return words(format!("Wait: {} asked for {} and it has not ended yet.", request.requested_by, request.kind));
    }
    // Only the latest requests are known here; the phase knows it for good.
    let cut_over = mapping.phase == "cut_over"
        || mapping.requests.iter().any(|request| request.kind == "cutover" && request.succeeded == Some(true));
    if cut_over {
        return call("The mapping is cut over. When the applications run well on the destination, clean up:", "mark_complete");
    }
    if mapping.ready {
        return call("Every check holds. Switch over when it suits you:", "cutover");
    }
    if mapping.finding_counts.error > 0 {
        return words(format!(
            "Look at the findings below: {}, each with its fix.",
            counted(mapping.finding_counts.error, "error")
        ));
    }
    let failing = mapping.checks.iter().filter(|check| !check.ok).count();
    if mapping.status == Status::Synced && failing > 0 {
        return words(format!(
            "{} not hold yet; each is listed below with its fix.",
            if failing == 1 { "1 check does".into() } else { format!("{failing} checks do") }
        ));
    }
    words("Nothing to do for now.".into())
}

/// A string as the server reads it under `standard_conforming_strings`.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::FindingCounts;

    fn mapping() -> Mapping {
        Mapping {
            mapping: "it's".into(),
            source: "old".into(),
            destination: "new".into(),
            source_version: Some(150_012),
            destination_version: Some(180_000),
            status: Status::InCatchup,
            phase: "copying".into(),
            elapsed_seconds: 10.0,
            updated_at_seconds: 0.0,
            age_seconds: 0.0,
            controller_running: true,
            ready: false,
            blockers: Vec::new(),
            copy_limit_bytes_per_second: None,
            slowed_down_by: None,
            databases: Vec::new(),
            checks: Vec::new(),
            findings: Vec::new(),
            finding_counts: FindingCounts::default(),
            events: Vec::new(),
            requests: Vec::new(),
        }
    }

    fn request(kind: &str, succeeded: Option<bool>) -> Request {
        Request {
            kind: kind.into(),
            requested_by: "dba".into(),
            requested_at: String::new(),
            started: true,
            succeeded,
            report: None,
        }
    }

    #[test]
    fn the_next_action_follows_the_migration() {
        let mut mapping = mapping();
        assert_eq!(next_action(&mapping).words, "Nothing to do for now.");
        mapping.ready = true;
        assert_eq!(next_action(&mapping).sql.as_deref(), Some("SELECT migrator.cutover('it''s');"));
        mapping.requests = vec![request("cutover", None)];
        assert_eq!(next_action(&mapping).words, "Wait: dba asked for cutover and it has not ended yet.");
        mapping.requests = vec![request("cutover", Some(false))];
        assert_eq!(next_action(&mapping).sql.as_deref(), Some("SELECT migrator.cutover('it''s');"));
        mapping.requests = vec![request("cutover", Some(true))];
        assert_eq!(next_action(&mapping).sql.as_deref(), Some("SELECT migrator.mark_complete('it''s');"));
        mapping.controller_running = false;
        assert!(next_action(&mapping).words.starts_with("Start pg-migrator run"));
        mapping.status = Status::Complete;
        assert!(next_action(&mapping).words.starts_with("Everything is done"));
    }

    #[test]
    fn errors_come_before_waiting() {
        let mut mapping = mapping();
        mapping.finding_counts.error = 2;
        assert_eq!(next_action(&mapping).words, "Look at the findings below: 2 errors, each with its fix.");
    }
}
