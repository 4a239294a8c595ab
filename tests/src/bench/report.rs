//! The table of results.

use std::fmt::Write as _;
use std::time::Duration;

use super::contender::Cost;

/// What was measured for one row.
#[derive(Debug)]
pub struct Line {
    /// What was moved.
    pub what: String,
    /// Who moved it, and what it cost, a round each. The first is what the others are compared with.
    pub costs: Vec<(String, Vec<Cost>)>,
}

fn median<T: Copy + Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// A table in Markdown: times, and the first one's as a share of each of the others'; processor time, and memory of ours.
pub fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "| moved | by | time (median, all) | the first ÷ it | servers' CPU | its own CPU | own ÷ servers | peak memory |\n|---|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let first = line.costs.first().and_then(|(_, costs)| median(costs.iter().map(|c| c.time)));
        for (place, (contender, costs)) in line.costs.iter().enumerate() {
            let Some(time) = median(costs.iter().map(|c| c.time)) else { continue };
            let servers = median(costs.iter().map(|c| c.servers)).unwrap_or_default();
            let own = median(costs.iter().map(|c| c.own)).unwrap_or_default();
            let memory = costs.iter().map(|c| c.memory).max().unwrap_or(0);
            let all: Vec<String> = costs.iter().map(|c| format!("{:.1}", c.time.as_secs_f64())).collect();
            let ratio = match first {
                Some(first) if place > 0 => format!("{:.2}", first.as_secs_f64() / time.as_secs_f64()),
                _ => "–".to_owned(),
            };
            let memory = if memory == 0 { "–".to_owned() } else { format!("{} MB", memory >> 20) };
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} ({}) | {ratio} | {} | {} | {:.0} % | {memory} |",
                line.what,
                contender,
                seconds(time),
                all.join(", "),
                seconds(servers),
                seconds(own),
                100.0 * own.as_secs_f64() / servers.as_secs_f64().max(0.01),
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_a_share_of_the_other() {
        let cost = |s| Cost { time: Duration::from_secs(s), servers: Duration::from_secs(10), ..Cost::default() };
        let line = Line {
            what: "x".into(),
            costs: vec![("ours".into(), vec![cost(3), cost(1), cost(2)]), ("theirs".into(), vec![cost(4)])],
        };
        let text = table(&[line]);
        assert!(text.contains("| theirs | 4.0 s (4.0) | 0.50 |"), "{text}");
    }
}
