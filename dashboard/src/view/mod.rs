//! Rows turned into pages.
//!
//! A page is made of fragments. The page and the event stream render them through the same code, so that what arrives later
//! looks as if the page had been loaded anew.

mod banner;
mod page;
mod tables;

use askama::Template;

use crate::feed::News;
use crate::format;
use crate::read::{Check, Database, Event, Finding, FindingCounts, Mapping, Status};

#[cfg(test)]
pub use page::{Fragment, Section};
pub use page::{Page, home};
pub use tables::{TablesAddress, TablesQuery, tables};

/// So many failing checks and findings are laid open; the rest is folded away, lest they hide what comes below.
const OPEN: usize = 10;

/// Old news: which control database has been silent, since when, and why.
#[derive(Template)]
#[template(path = "notices.html")]
struct Notices<'a> {
    notices: Vec<Notice<'a>>,
    nothing_configured: bool,
}

struct Notice<'a> {
    control: &'a str,
    age: String,
    has_news: bool,
    problem: Option<&'a str>,
}

fn notices(news: &[News]) -> Result<String, askama::Error> {
    let notices = news
        .iter()
        // A moment of grace right after the start: connecting takes a little.
        .filter(|news| !news.is_fresh() && (news.problem.is_some() || news.age().as_secs() >= 2))
        .map(|news| Notice {
            control: &news.name,
            age: format::duration(news.age().as_secs_f64().floor().max(1.0)),
            has_news: news.mappings.is_some(),
            problem: news.problem.as_deref(),
        })
        .collect();
    Notices { notices, nothing_configured: news.is_empty() }.render()
}

#[derive(Template)]
#[template(path = "databases.html")]
struct Databases<'a> {
    mapping: &'a str,
    databases: &'a [Database],
}

#[derive(Template)]
#[template(path = "checks.html")]
struct Checks<'a> {
    failing: Vec<&'a Check>,
    holding: Vec<&'a Check>,
}

impl<'a> Checks<'a> {
    fn of(mapping: &'a Mapping) -> Self {
        let (holding, failing) = mapping.checks.iter().partition(|check| check.ok);
        Self { failing, holding }
    }
}

#[derive(Template)]
#[template(path = "findings.html")]
struct Findings<'a> {
    findings: &'a [Finding],
    counts: FindingCounts,
}

impl Findings<'_> {
    /// How many are open beyond those shown.
    fn more(&self) -> i64 {
        self.counts.all() - self.findings.len() as i64
    }
}

#[derive(Template)]
#[template(path = "events.html")]
struct Events<'a> {
    events: &'a [Event],
}

/// A name as one segment of an address.
fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    text
}

/// The time of day of an ISO 8601 time in UTC.
fn clock(at: &str) -> &str {
    at.get(11..19).unwrap_or(at)
}

impl Database {
    /// How much is copied, in thousandths.
    pub fn progress(&self) -> u16 {
        let everything_attached = self.tables_total > 0 && self.tables_synced >= self.tables_total;
        // While tables are being copied, the bytes of COPY may pass the size of the files before the end.
        let everything_copied = self.bytes_total > 0 && self.bytes_copied >= self.bytes_total && self.phase != "copying";
        format::progress(self.bytes_copied, self.bytes_total, self.status.is_copied() || everything_attached || everything_copied)
    }

    /// Some statements would disturb the stream, and so come last.
    fn waits_for_cutover(&self) -> bool {
        matches!(self.status, Status::Synced | Status::CutoverReady) && self.statements_done < self.statements_total
    }

    fn lag(&self) -> String {
        lag(self.lag_bytes, self.lag_seconds)
    }

    fn eta(&self) -> String {
        match self.eta_seconds {
            Some(seconds) if !self.status.is_copied() => format::duration(seconds),
            _ => "–".into(),
        }
    }

    fn copied(&self) -> String {
        format!("{} of about {}", format::bytes(self.bytes_copied), format::bytes(self.bytes_total))
    }
}

/// A lag in bytes and, where it is known, in time.
fn lag(bytes: Option<i64>, seconds: Option<f64>) -> String {
    match (bytes, seconds) {
        (None, _) => "–".into(),
        (Some(bytes), None) => format::bytes(bytes),
        (Some(bytes), Some(seconds)) => {
            format!("{} · {}", format::bytes(bytes), format::duration(seconds))
        }
    }
}

/// A phase as people read it.
fn words(phase: &str) -> String {
    phase.replace('_', " ")
}

/// Thousandths as a percentage.
fn percent(progress: u16) -> String {
    format!("{} %", progress / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_in_addresses() {
        assert_eq!(segment("We ird-DB"), "We%20ird-DB");
        assert_eq!(segment("a/b?c#d\"é"), "a%2Fb%3Fc%23d%22%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn markup_in_names_is_shown_as_text() {
        let event = Event {
            at: "2026-01-02T03:04:05Z".into(),
            database: "<img src=x onerror=alert(1)>".into(),
            level: "info".into(),
            message: "</li><script>alert(2)</script>".into(),
        };
        let html = Events { events: &[event] }.render().expect("the template renders");
        assert!(!html.contains("<img") && !html.contains("<script"), "{html}");
        assert!(html.contains("03:04:05"), "{html}");
    }
}
