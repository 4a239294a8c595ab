//! Rows that a stream meets and the destination does not have: the server counts them, and names them to its log alone. Which they are is found
//! by comparing the tables of that stream.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::Context;
use super::database::Database;
use super::stall::naming_lockers;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote;
use crate::stream::Names;
use crate::verify::lacking::Lacking;
use crate::verify::{self, Comparison, Doubt};

/// After a search the next one begins no sooner than this.
const PAUSE: Duration = Duration::from_secs(10);
/// So many tables are looked into for keys.
const TABLES_LOOKED_INTO: usize = 10;

/// What a search found in a stream's tables.
#[derive(Debug, Clone, Default)]
struct Found {
    lacking: Vec<Lacking>,
    /// Tables that are written to, and are to be compared when nobody does.
    doubts: Vec<Doubt>,
}

/// What the loop knows of it.
#[derive(Debug, Default)]
pub(super) struct Searcher {
    task: JoinSet<Result<Vec<(usize, Found)>, verify::Error>>,
    /// What was counted when the last search began.
    searched: Vec<(usize, i64)>,
    again: Option<Instant>,
    found: Option<Result<Vec<(usize, Found)>, String>>,
    /// What was counted when the search began that found this.
    found_for: Vec<(usize, i64)>,
}

impl Searcher {
    /// A table of theirs is copied anew: what else there is has to be looked for again.
    pub fn look_again(&mut self) {
        *self = Self::default();
    }

    /// Whether another search may find something else: keys that were missing may have been put back by hand.
    fn is_unsettled(&self) -> bool {
        match &self.found {
            Some(Ok(found)) => found.iter().any(|(_, found)| !found.lacking.is_empty()),
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// What is known of so many missing rows of a stream. Of more than were counted when the search began it knows nothing.
    fn known(&self, counted: (usize, i64)) -> Result<Option<&Found>, &str> {
        match &self.found {
            Some(Ok(found)) if self.found_for.contains(&counted) => {
                Ok(found.iter().find(|(of, _)| *of == counted.0).map(|(_, found)| found))
            }
            Some(Err(error)) => Err(error.as_str()),
            _ => Ok(None),
        }
    }
}

impl Database {
    /// Tells of rows that the streams met and the destination lacks, and looks for them.
    pub(super) fn keep_searching(&mut self) {
        let searcher = &mut self.searcher;
        while let Some(ended) = searcher.task.try_join_next() {
            let found = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            searcher.found = Some(found.map_err(|error| error.to_string()));
            searcher.found_for.clone_from(&searcher.searched);
            searcher.again = Some(Instant::now() + PAUSE);
        }
        let counted = self.watcher.missing();
        if counted.is_empty() {
            *searcher = Searcher::default();
        } else if searcher.task.is_empty()
            && searcher.again.is_none_or(|at| at <= Instant::now())
            && (searcher.searched != counted || searcher.is_unsettled())
        {
            searcher.searched = counted.to_vec();
            let (context, name, names) = (self.context.clone(), self.name.clone(), self.names.clone());
            let streams: Vec<usize> = counted.iter().map(|(stream, _)| *stream).collect();
            // One that was taken out of its stream is told of already.
            let attached = self.watcher.attached();
            let searching = async move {
                let searching = search(&context, &name, &names, &streams, &attached);
                naming_lockers(&context, &name, |by| verify::Error::Locked { by }, Box::pin(searching)).await
            };
            searcher.task.spawn(searching.in_current_span());
        }
        let (context, name) = (&self.context, &self.name);
        let told = |counted: &(usize, i64)| {
            let (stream, count) = *counted;
            finding(&context.mapping, name, self.names[stream].subscription(), count, self.searcher.known(*counted))
        };
        let findings: Vec<Finding> = counted.iter().map(told).collect();
        let harmless = counted.iter().zip(&findings).filter(|(_, finding)| finding.severity != Severity::Error);
        let harmless = harmless.map(|(counted, _)| *counted).collect();
        let doubts = match &self.searcher.found {
            Some(Ok(found)) => found.iter().flat_map(|(_, found)| found.doubts.iter().cloned()).collect(),
            _ => Vec::new(),
        };
        context.board.database(name, |view| {
            view.missing_harmless = harmless;
            view.missing_doubts = doubts;
        });
        context.board.set_findings(name, "missing rows", findings);
    }
}

async fn search(
    context: &Context,
    database: &str,
    names: &[Names],
    streams: &[usize],
    attached: &HashSet<(String, String)>,
) -> Result<Vec<(usize, Found)>, verify::Error> {
    let _seats = context.gentle.room.seats(1).await;
    let pair = verify::Pair::open(&context.source, &context.destination, database).await?;
    let mut all = Vec::new();
    for stream in streams {
        let names = std::slice::from_ref(&names[*stream]);
        let mut tables = pair.carried(names).await?;
        tables.retain(|table| attached.contains(&(table.schema.clone(), table.name.clone())));
        let Comparison { different, undecided, .. } = pair.compare(names, tables.clone()).await?;
        let mut found = Found::default();
        for difference in different.iter().take(TABLES_LOOKED_INTO) {
            found.lacking.push(pair.lacking(names, &difference.doubt).await?);
        }
        // Keys can be looked for while the rows change. That no key is lacking does not mean that the rows are equal.
        for (n, table) in tables.into_iter().filter(|table| undecided.contains(&table.label())).enumerate() {
            let lacking = if n < TABLES_LOOKED_INTO { Some(pair.lacking(names, &table).await?) } else { None };
            match lacking {
                Some(lacking) if !lacking.keys.is_empty() => found.lacking.push(lacking),
                _ => found.doubts.push(table),
            }
        }
        all.push((*stream, found));
    }
    Ok(all)
}

fn finding(mapping: &str, database: &str, subscription: &str, count: i64, found: Result<Option<&Found>, &str>) -> Finding {
    let [mapping, quoted] = [mapping, database].map(|text| quote::literal(text).trim_start().to_owned());
    let resync = |table: &str| {
        let table = quote::literal(table);
        format!("SELECT migrator.resync({mapping}, {quoted}, {})", table.trim_start())
    };
    let whole = format!("SELECT migrator.resync({mapping}, {quoted})");
    let (severity, which, fix) = match found {
        Ok(None) => (
            Severity::Error,
            "looking for their tables".to_owned(),
            format!("wait until they are named, or copy all anew: {whole}"),
        ),
        Err(error) => (Severity::Error, format!("which they are could not be found: {error}"), format!("copy all anew: {whole}")),
        Ok(Some(found)) if found.lacking.is_empty() => {
            let which = if found.doubts.is_empty() {
                "all tables of this stream have been compared since, and are equal: those rows are gone on the source as well"
                    .to_owned()
            } else {
                let doubts: Vec<String> = found.doubts.iter().map(Doubt::label).collect();
                format!(
                    "all tables of this stream have been compared since, and are equal, but for those that are being written to: these \
                     are compared within the block of the cutover, which is refused if one is not equal: {}",
                    doubts.join(", ")
                )
            };
            (Severity::Warning, which, format!("nothing; to be rid of the warning, copy all anew: {whole}"))
        }
        Ok(Some(found)) => {
            let which: Vec<String> = found.lacking.iter().map(Lacking::words).collect();
            let calls: Vec<String> = found.lacking.iter().map(|lacking| resync(&lacking.table)).collect();
            (Severity::Error, which.join("; "), format!("copy anew: {}", calls.join("; ")))
        }
    };
    Finding {
        severity,
        database: database.to_owned(),
        code: Code::RowsMissing,
        object: format!("subscription {subscription}"),
        reason: format!(
            "{count} updates or deletes were of rows that the destination does not have: somebody has taken them away there; {which}"
        ),
        fix,
        statement: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_key_are_named_with_the_cure() {
        let lacking = Lacking { table: "odd.t".into(), columns: vec!["id".into()], keys: vec!["(5)".into()] };
        let found = Found { lacking: vec![lacking], ..Found::default() };
        let told = finding("erp", "small", "s", 2, Ok(Some(&found)));
        assert!(
            told.reason.contains("2 updates or deletes") && told.reason.ends_with("odd.t lacks (id) = (5)"),
            "{}",
            told.reason
        );
        assert_eq!(told.fix, "copy anew: SELECT migrator.resync('erp', 'small', 'odd.t')");
        assert_eq!(told.severity, Severity::Error);
    }

    #[test]
    fn a_search_says_nothing_of_rows_that_were_missed_since_it_began() {
        let mut searcher =
            Searcher { found: Some(Ok(vec![(0, Found::default())])), found_for: vec![(0, 1)], ..Searcher::default() };
        assert!(matches!(searcher.known((0, 1)), Ok(Some(_))));
        assert!(matches!(searcher.known((0, 2)), Ok(None)), "one more was missed since");
        assert!(matches!(searcher.known((1, 1)), Ok(None)), "another stream");
        searcher.look_again();
        assert!(matches!(searcher.known((0, 1)), Ok(None)), "a table was copied anew");
    }

    #[test]
    fn rows_that_are_gone_on_both_sides_are_no_error() {
        assert_eq!(finding("erp", "small", "s", 1, Ok(Some(&Found::default()))).severity, Severity::Warning);
        assert_eq!(finding("erp", "small", "s", 1, Ok(None)).severity, Severity::Error);
    }
}
