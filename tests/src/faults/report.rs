//! Many rounds added up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::phase::Phase;
use super::round::{Outcome, Score};

/// Rounds by fault.
#[derive(Debug, Default)]
pub struct Report {
    lines: BTreeMap<Fault, Line>,
    rounds: usize,
    writes: (usize, usize),
}

#[derive(Debug, Default)]
struct Line {
    exact: usize,
    refused: usize,
    skipped: usize,
    failed: usize,
    recoveries: Vec<Duration>,
    phases: BTreeMap<Phase, usize>,
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.exact += other.exact;
        self.refused += other.refused;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.recoveries.extend(&other.recoveries);
    }

    fn struck(&self) -> usize {
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
        for (place, strike) in score.strikes.iter().enumerate() {
            let line = self.lines.entry(strike.fault).or_default();
            match score.outcomes.as_ref().map(|outcomes| outcomes.get(place)) {
                Ok(Some(Outcome::Skipped(_))) => {
                    line.skipped += 1;
                    continue;
                }
                Ok(Some(Outcome::Refused(_))) => line.refused += 1,
                Ok(Some(Outcome::Exact)) => line.exact += 1,
                Ok(None) | Err(_) => line.failed += 1,
            }
            *line.phases.entry(strike.phase).or_default() += 1;
        }
        // From the last of them it has recovered.
        if score.outcomes.is_ok()
            && let Some(last) = score.strikes.last()
        {
            self.lines.entry(last.fault).or_default().recoveries.extend(score.recovery);
        }
        self.rounds += 1;
        self.writes.0 += score.writes.0;
        self.writes.1 += score.writes.1;
    }

    /// Whether every round ended exact or in a named refusal.
    pub fn is_good(&self) -> bool {
        self.lines.values().all(|line| line.failed == 0)
    }

    /// Rounds that have ended.
    pub fn rounds(&self) -> usize {
        self.rounds
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | struck | exact | refused by name, then cured | failed | median time to recover | phases |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        let mut total = Line::default();
        for (fault, line) in &self.lines {
            if line.struck() > 0 {
                let phases: Vec<String> = line.phases.iter().map(|(phase, rounds)| format!("{phase} {rounds}")).collect();
                write_line(f, fault.describe(), line, &phases.join(", "))?;
            }
            total.add(line);
        }
        write_line(f, "all", &total, "")?;
        if total.skipped > 0 {
            writeln!(f, "\n{} faults were skipped: this machine can't do them.", total.skipped)?;
        }
        writeln!(
            f,
            "\n{} rounds. {} transactions were acknowledged to the writers; of {} more the answer was lost.",
            self.rounds, self.writes.0, self.writes.1
        )
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, fault: &str, line: &Line, phases: &str) -> fmt::Result {
    let median = line.median().map_or_else(|| "–".to_owned(), |median| format!("{:.1} s", median.as_secs_f64()));
    writeln!(f, "| {fault} | {} | {} | {} | {} | {median} | {phases} |", line.struck(), line.exact, line.refused, line.failed)
}

#[cfg(test)]
mod tests {
    use super::super::plan::Strike;
    use super::*;

    fn score(faults: &[Fault], outcomes: Result<Vec<Outcome>, String>, recovery: u64) -> Score {
        Score {
            strikes: faults.iter().map(|fault| Strike { fault: *fault, phase: Phase::Copy }).collect(),
            seed: 1,
            major: 15,
            outcomes,
            recovery: Some(Duration::from_secs(recovery)),
            took: Duration::ZERO,
            writes: (10, 1),
        }
    }

    #[test]
    fn adds_up_and_takes_the_median_of_what_recovered() {
        let mut report = Report::default();
        for seconds in [9, 1, 2] {
            report.add(&score(&[Fault::Cut], Ok(vec![Outcome::Exact]), seconds));
        }
        assert!(report.is_good());
        report.add(&score(&[Fault::Cut], Err("in doubt".to_owned()), 90));
        assert!(!report.is_good());
        let text = report.to_string();
        assert!(text.contains("| connections reset, then none for a while | 4 | 3 | 0 | 1 | 2.0 s | copy 4 |"), "{text}");
        assert!(text.contains("4 rounds. 40 transactions were acknowledged"), "{text}");
    }

    #[test]
    fn each_fault_of_a_round_has_its_own_outcome_and_one_that_fails_fails_all() {
        let both = [Fault::PlantedRow, Fault::DiskFull];
        let mut report = Report::default();
        report.add(&score(
            &both,
            Ok(vec![Outcome::Refused("apply conflict".to_owned()), Outcome::Skipped("no disk".to_owned())]),
            1,
        ));
        assert!(report.is_good());
        let text = report.to_string();
        assert!(text.contains("| row planted on the destination | 1 | 0 | 1 | 0 |"), "{text}");
        assert!(text.contains("1 faults were skipped"), "{text}");
        report.add(&score(&both, Err("rows are missing".to_owned()), 1));
        assert!(!report.is_good());
        let text = report.to_string();
        assert!(text.contains("| disk full on the destination | 1 | 0 | 0 | 1 |"), "{text}");
    }
}
