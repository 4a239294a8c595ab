//! `/metrics`: the Prometheus text format, in base units (bytes, seconds).
//!
//! Where a control database can't be read its series are left out and `pg_migrator_control_database_up` is 0: an alert must
//! not take an old lag for the present one.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::App;
use crate::feed::News;
use crate::read::{Database, Mapping, Status};

/// The answer.
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let news = app.feed.borrow().clone();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition(&news))
}

/// A figure of a database: its name, its help, and how to read it.
type Gauge = (&'static str, &'static str, fn(&Database) -> Option<f64>);

const GAUGES: [Gauge; 13] = [
    ("pg_migrator_tables", "Tables to migrate.", |database| Some(database.tables_total as f64)),
    ("pg_migrator_tables_synced", "Tables in step with the source.", |database| Some(database.tables_synced as f64)),
    ("pg_migrator_tables_in_catchup", "Tables being copied or catching up.", |database| Some(database.tables_in_catchup as f64)),
    ("pg_migrator_tables_problematic", "Tables that need attention.", |database| Some(database.tables_problematic as f64)),
    ("pg_migrator_source_bytes", "Size of the tables on the source, without indexes.", |database| {
        Some(database.bytes_total as f64)
    }),
    ("pg_migrator_copied_bytes", "COPY bytes moved so far.", |database| Some(database.bytes_copied as f64)),
    ("pg_migrator_copy_rate_bytes_per_second", "COPY bytes moved in a second.", |database| database.bytes_per_second),
    ("pg_migrator_lag_bytes", "WAL of the source that the destination has not confirmed.", |database| {
        database.lag_bytes.map(|bytes| bytes as f64)
    }),
    ("pg_migrator_lag_seconds", "Age of the oldest change that is not yet applied.", |database| database.lag_seconds),
    ("pg_migrator_wal_retained_bytes", "WAL that the source keeps for our slots.", |database| {
        database.wal_retained_bytes.map(|bytes| bytes as f64)
    }),
    ("pg_migrator_wal_limit_bytes", "How much WAL the source may keep for our slots.", |database| {
        database.wal_limit_bytes.map(|bytes| bytes as f64)
    }),
    ("pg_migrator_wal_limit_reached_in_seconds", "When that will be reached at the present pace.", |database| {
        database.wal_limit_in_seconds
    }),
    ("pg_migrator_eta_seconds", "Estimated time until the database is in step.", |database| database.eta_seconds),
];

fn exposition(news: &[News]) -> String {
    let mut text = Exposition::default();

    text.family("pg_migrator_control_database_up", "Whether the control database on this destination is being read.");
    for news in news {
        text.sample("pg_migrator_control_database_up", &[("control", &news.name)], flag(news.is_fresh()));
    }
    let mappings: Vec<&Mapping> = news
        .iter()
        .filter(|news| news.is_fresh())
        .filter_map(|news| news.mappings.as_ref())
        .flat_map(|mappings| mappings.iter())
        .collect();

    text.family("pg_migrator_mapping_status", "1 for the status that the mapping has, 0 for the others.");
    for mapping in &mappings {
        for status in Status::ALL {
            let labels = [("mapping", mapping.mapping.as_str()), ("status", status.slug())];
            text.sample("pg_migrator_mapping_status", &labels, flag(status == mapping.status));
        }
    }
    for (name, help, value) in [
        ("pg_migrator_mapping_cutover_ready", "Whether every fact needed for a cutover holds.", {
            (|mapping: &Mapping| flag(mapping.ready)) as fn(&Mapping) -> f64
        }),
        ("pg_migrator_mapping_controller_running", "Whether a controller has looked in the last 30 seconds.", |mapping| {
            flag(mapping.controller_running)
        }),
        ("pg_migrator_mapping_updated_timestamp_seconds", "When the controller last looked.", |mapping| {
            mapping.updated_at_seconds
        }),
    ] {
        text.family(name, help);
        for mapping in &mappings {
            text.sample(name, &[("mapping", &mapping.mapping)], value(mapping));
        }
    }

    text.family("pg_migrator_findings", "Open findings.");
    for mapping in &mappings {
        let counts = mapping.finding_counts;
        for (severity, open) in [("error", counts.error), ("warning", counts.warning), ("info", counts.info)] {
            text.sample("pg_migrator_findings", &[("mapping", &mapping.mapping), ("severity", severity)], open as f64);
        }
    }
    text.family("pg_migrator_cutover_check_ok", "Whether this fact needed for a cutover holds.");
    for mapping in &mappings {
        for check in &mapping.checks {
            let labels = [("mapping", mapping.mapping.as_str()), ("database", &check.database), ("check", &check.name)];
            text.sample("pg_migrator_cutover_check_ok", &labels, flag(check.ok));
        }
    }

    text.family("pg_migrator_database_status", "1 for the status that the database has, 0 for the others.");
    for (mapping, database) in databases(&mappings) {
        for status in Status::ALL {
            let labels = [("mapping", mapping), ("database", &database.database), ("status", status.slug())];
            text.sample("pg_migrator_database_status", &labels, flag(status == database.status));
        }
    }
    for (name, help, value) in GAUGES {
        text.family(name, help);
        for (mapping, database) in databases(&mappings) {
            if let Some(value) = value(database) {
                text.sample(name, &[("mapping", mapping), ("database", &database.database)], value);
            }
        }
    }
    text.0
}

fn databases<'a>(mappings: &'a [&Mapping]) -> impl Iterator<Item = (&'a str, &'a Database)> {
    mappings.iter().flat_map(|mapping| mapping.databases.iter().map(|database| (mapping.mapping.as_str(), database)))
}

fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// The text format, as it grows. Writing to a String can't fail.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")).ok();
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_within_their_label() {
        let mut text = Exposition::default();
        text.sample("x", &[("database", "a\"} 1\nx{\\")], 0.5);
        assert_eq!(text.0, "x{database=\"a\\\"} 1\\nx{\\\\\"} 0.5\n");
    }
}
