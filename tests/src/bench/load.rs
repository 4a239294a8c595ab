//! A load on the source: how much of its throughput is left while a database beside it is copied under a rate limit.
//!
//! What a machine gives changes from minute to minute, by more than the copy takes. So each round goes back and forth between short slices: in
//! one the copy runs, in the next the controller is stopped where it stands. The medians of both are compared.

use std::time::{Duration, Instant};

use super::{Servers, contender};
use crate::controller::Controller;
use crate::error::{Error, Result};

/// The row's name, and the database's that carries the load; the one that is moved is its neighbour.
pub const ROW: &str = "load";
const MOVED: &str = "load_moved";
/// How long a slice is, and how many of each kind a round has.
const SLICE_SECONDS: u32 = 4;
const SLICES: usize = 6;
/// After a stop, the copy is back at its pace within this time.
const PACE_WITHIN: Duration = Duration::from_millis(500);
/// What the moved database may take from the source.
const RATE_LIMIT: &str = "8MB";

/// Transactions a second on the source, alone and during a migration: slice by slice, in turn.
#[derive(Debug, Clone, Default)]
pub struct Throughput {
    /// With nothing else to do.
    pub alone: Vec<f64>,
    /// While rows are read from it.
    pub during: Vec<f64>,
}

impl Throughput {
    /// What is left of the throughput alone, in percent: median to median.
    pub fn share(&self) -> f64 {
        100.0 * median(&self.during) / median(&self.alone).max(0.001)
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.get(sorted.len().saturating_sub(1) / 2), sorted.get(sorted.len() / 2)) else {
        return 0.0;
    };
    f64::midpoint(*low, *high)
}

/// Makes the load's tables, and a database that takes longer to copy than the measurement.
pub async fn build(servers: &Servers) -> Result<()> {
    for database in [ROW, MOVED] {
        servers.source.run("postgres", &format!("CREATE DATABASE {database}")).await?;
    }
    crate::cluster::output_of(pgbench(servers, &["--initialize", "--scale=10", "--quiet"])?)?;
    let bulk = "CREATE TABLE bulk AS SELECT i AS id, repeat(md5(i::text), 10) AS payload FROM generate_series(1, 1200000) i";
    servers.source.run(MOVED, bulk).await?;
    servers.source.run(MOVED, "ALTER TABLE bulk ADD PRIMARY KEY (id)").await?;
    servers.source.run("postgres", "CHECKPOINT").await
}

fn pgbench(servers: &Servers, arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = servers.source.program(&crate::cluster::tool18("pgbench")?);
    command.args(arguments).arg(ROW);
    Ok(command)
}

/// One slice: one client that does what it can.
async fn throughput(servers: &Servers) -> Result<f64> {
    let seconds = format!("--time={SLICE_SECONDS}");
    let command = pgbench(servers, &["--no-vacuum", "--client=1", "--jobs=1", &seconds])?;
    let said = tokio::task::spawn_blocking(move || crate::cluster::output_of(command))
        .await
        .map_err(|error| Error::Broken(format!("pgbench: {error}")))??;
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split_whitespace().next());
    tps.and_then(|tps| tps.parse().ok()).ok_or_else(|| Error::Broken(format!("pgbench said no throughput: {said}")))
}

/// One round: slices in which the other database is being copied, and slices in which its controller is stopped.
pub async fn run(servers: &Servers) -> Result<Throughput> {
    let limit = format!("rate_limit = \"{RATE_LIMIT}\"");
    let mut controller = Controller::started(&contender::config(servers, MOVED, &[&limit]))?;
    // Measured is the copy, not the making of the schema.
    let reading = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %TO STDOUT%' AND state = 'active' AND pid <> pg_backend_pid()";
    let begun = Instant::now();
    while servers.source.value("postgres", reading).await? == "0" {
        if begun.elapsed() > Duration::from_mins(1) {
            return Err(Error::Broken(format!("nothing was read\n{}", controller.report(&servers.destination).await)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The first slice pays for what both touch for the first time.
    throughput(servers).await?;
    let mut found = Throughput::default();
    for slice in 0..2 * SLICES {
        // Each kind comes first in every other pair: … stopped, running, running, stopped, stopped, running …
        if matches!(slice % 4, 0 | 3) {
            controller.signal("STOP")?;
            found.alone.push(throughput(servers).await?);
            controller.signal("CONT")?;
            tokio::time::sleep(PACE_WITHIN).await;
        } else {
            found.during.push(throughput(servers).await?);
        }
    }
    let still = servers.source.value("postgres", reading).await?;
    controller.stop().await?;
    contender::clean(servers, MOVED).await?;
    if still == "0" {
        return Err(Error::Broken("the copy was over before the measurement was".to_owned()));
    }
    Ok(found)
}

/// The rounds in a line of words.
pub fn describe(rounds: &[Throughput]) -> String {
    let shares: Vec<f64> = rounds.iter().map(Throughput::share).collect();
    let all: Vec<String> = rounds
        .iter()
        .map(|round| format!("{:.1} %: {:.0} of {:.0}", round.share(), median(&round.during), median(&round.alone)))
        .collect();
    format!(
        "pgbench (one client) on the source during a copy limited to {RATE_LIMIT}/s: {:.1} % of its transactions a second alone, in the median of {} \
         rounds ({})",
        median(&shares),
        rounds.len(),
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_median_of_the_rounds_shares_and_a_slow_slice_does_not_count() {
        let round = |alone: &[f64], during: &[f64]| Throughput { alone: alone.to_vec(), during: during.to_vec() };
        let text = describe(&[
            round(&[100.0, 20.0, 100.0], &[90.0, 90.0, 10.0]),
            round(&[200.0], &[198.0]),
            round(&[100.0, 102.0], &[95.0, 97.0]),
        ]);
        assert!(text.contains("95.0 % of its"), "{text}");
        assert!(text.contains("90.0 %: 90 of 100") && text.contains("198 of 200") && text.contains("96 of 101"), "{text}");
    }
}
