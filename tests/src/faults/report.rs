//! Many rounds added up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::phase::Phase;
use super::round::{Outcome, Score};

/// Rounds by fault and phase.
#[derive(Debug, Default)]
pub struct Report {
    lines: BTreeMap<(Fault, Phase), Line>,
    writes: (usize, usize),
}

#[derive(Debug, Default)]
struct Line {
    exact: usize,
    refused: usize,
    skipped: usize,
    failed: usize,
    recoveries: Vec<Duration>,
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.exact += other.exact;
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.recoveries.extend(&other.recoveries);
    }

    fn rounds(&self) -> usize {
        self.exact + self.refused + self.failed
    }

    /// Half of the rounds took no longer than this to recover.
    fn median(&self) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }
}

impl Report {
    /// Adds a round.
    pub fn add(&mut self, score: &Score) {
        let line = self.lines.entry((score.fault, score.phase)).or_default();
        match &score.outcome {
            Ok(Outcome::Exact) => line.exact += 1,
            Ok(Outcome::Refused(_)) => line.refused += 1,
            Ok(Outcome::Skipped(_)) => line.skipped += 1,
            Err(_) => line.failed += 1,
        }
        if score.outcome.is_ok() {
            line.recoveries.extend(score.recovery);
        }
        self.writes.0 += score.writes.0;
        self.writes.1 += score.writes.1;
    }

    /// Whether every round ended exact or in a named refusal.
    pub fn is_good(&self) -> bool {
        self.lines.values().all(|line| line.failed == 0)
    }

    /// Rounds that were played to their end.
    pub fn rounds(&self) -> usize {
        self.lines.values().map(Line::rounds).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | phase | rounds | exact | refused by name, then cured | failed | median time to recover |")?;
        writeln!(f, "|---|---|--:|--:|--:|--:|--:|")?;
        let mut total = Line::default();
        for ((fault, phase), line) in &self.lines {
            if line.rounds() > 0 {
                write_line(f, fault.describe(), phase.name(), line)?;
            }
            total.add(line);
        }
        write_line(f, "all", "", &total)?;
        if total.skipped > 0 {
            writeln!(f, "\n{} rounds were skipped: this machine can't do them.", total.skipped)?;
        }
        writeln!(
            f,
            "\n{} transactions were acknowledged to the writers; of {} more the answer was lost.",
            self.writes.0, self.writes.1
        )
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, fault: &str, phase: &str, line: &Line) -> fmt::Result {
    let median = line.median().map_or_else(|| "–".to_owned(), |median| format!("{:.1} s", median.as_secs_f64()));
    let rounds = line.rounds();
    writeln!(f, "| {fault} | {phase} | {rounds} | {} | {} | {} | {median} |", line.exact, line.refused, line.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(outcome: Result<Outcome, String>, recovery: u64) -> Score {
        Score {
            fault: Fault::Cut,
            phase: Phase::Copy,
            seed: 1,
            major: 15,
            outcome,
            recovery: Some(Duration::from_secs(recovery)),
            took: Duration::ZERO,
            writes: (10, 1),
        }
    }

    #[test]
    fn adds_up_and_takes_the_median_of_what_recovered() {
        let mut report = Report::default();
        for seconds in [9, 1, 2] {
            report.add(&score(Ok(Outcome::Exact), seconds));
        }
        assert!(report.is_good());
        report.add(&score(Err("in doubt".to_owned()), 90));
        assert!(!report.is_good());
        let text = report.to_string();
        assert!(text.contains("| connections reset, then none for a while | copy | 4 | 3 | 0 | 1 | 2.0 s |"), "{text}");
        assert!(text.contains("40 transactions were acknowledged"), "{text}");
    }
}
