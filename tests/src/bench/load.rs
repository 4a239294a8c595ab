//! A load on the source: how much of its throughput is left while a database beside it is copied under a rate limit.

use std::time::{Duration, Instant};

use super::{Servers, contender};
use crate::controller::Controller;
use crate::error::{Error, Result};

/// The row's name, and the database's that carries the load; the one that is moved is its neighbour.
pub const ROW: &str = "load";
const MOVED: &str = "load_moved";
/// How long the throughput is measured, each time.
const SECONDS: u32 = 20;
/// What the moved database may take from the source.
const RATE_LIMIT: &str = "8MB";

/// Transactions a second on the source, alone and during a migration.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    /// With nothing else to do.
    pub alone: f64,
    /// While rows are read from it.
    pub during: f64,
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

/// One measurement: one client that does what it can.
async fn throughput(servers: &Servers) -> Result<f64> {
    let seconds = format!("--time={SECONDS}");
    let command = pgbench(servers, &["--no-vacuum", "--client=1", "--jobs=1", &seconds])?;
    let said = tokio::task::spawn_blocking(move || crate::cluster::output_of(command))
        .await
        .map_err(|error| Error::Broken(format!("pgbench: {error}")))??;
    let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split_whitespace().next());
    tps.and_then(|tps| tps.parse().ok()).ok_or_else(|| Error::Broken(format!("pgbench said no throughput: {said}")))
}

/// Measures alone, then while the other database is being copied.
pub async fn run(servers: &Servers) -> Result<Throughput> {
    let alone = throughput(servers).await?;
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
    let during = throughput(servers).await?;
    let still = servers.source.value("postgres", reading).await?;
    controller.stop().await?;
    contender::clean(servers, MOVED).await?;
    if still == "0" {
        return Err(Error::Broken("the copy was over before the measurement was".to_owned()));
    }
    Ok(Throughput { alone, during })
}

/// The rounds in a line of words.
pub fn describe(rounds: &[Throughput]) -> String {
    let mut shares: Vec<f64> = rounds.iter().map(|round| 100.0 * round.during / round.alone.max(0.001)).collect();
    shares.sort_by(f64::total_cmp);
    let all: Vec<String> = rounds.iter().map(|round| format!("{:.0} of {:.0}", round.during, round.alone)).collect();
    format!(
        "pgbench (one client) on the source during a copy limited to {RATE_LIMIT}/s: {:.1} % of its transactions a second alone ({})",
        shares.get(shares.len() / 2).copied().unwrap_or(0.0),
        all.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_median_of_the_rounds_shares() {
        let round = |alone, during| Throughput { alone, during };
        let text = describe(&[round(100.0, 90.0), round(200.0, 198.0), round(100.0, 95.0)]);
        assert!(text.contains("95.0 %") && text.contains("198 of 200"), "{text}");
    }
}
