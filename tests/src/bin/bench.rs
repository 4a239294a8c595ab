//! `make bench`: what pg-migrator costs, beside the other ways of moving a database. See `docs/benchmarks.md`.
//!
//! Arguments are names of rows (`mixed big small toast drain`; all of them without any). In the environment: `SCALE`, the
//! size of the large databases in units of about 100 MB (default 3); `ROUNDS` (default 3); `CONTENDERS`, a part of whose names
//! to take; `BENCH_MAPPING`, another line of our configuration.

use std::process::ExitCode;

use pg_migrator_tests::bench::contender::Contender;
use pg_migrator_tests::bench::data::Row;
use pg_migrator_tests::bench::report::{self, Line};
use pg_migrator_tests::bench::{Servers, drain};
use pg_migrator_tests::{Error, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match bench().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(name: &str, default: u32) -> Result<u32> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|error| Error::Broken(format!("{name}={text}: {error}"))),
        Err(_) => Ok(default),
    }
}

async fn bench() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let known: Vec<&str> = Row::ALL.iter().map(|row| row.name()).chain([drain::DATABASE]).collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::Broken(format!("there is no row {unknown}; there are: {}", known.join(", "))));
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    let (scale, rounds) = (number("SCALE", 3)?, number("ROUNDS", 3)?);
    let selected = std::env::var("CONTENDERS").unwrap_or_default();
    let contenders: Vec<Contender> = Contender::ALL
        .into_iter()
        .filter(|c| c.is_here() && (selected.is_empty() || selected.split(',').any(|part| c.name().contains(part))))
        .collect();
    let servers = Servers::start().await?;
    let mut lines = Vec::new();
    for row in Row::ALL.into_iter().filter(|row| wanted(row.name())) {
        let size = row.build(&servers.source, scale).await?;
        let what = format!("{}, {} MB", row.describes(), size >> 20);
        eprintln!("{what}");
        let mut costs: Vec<_> = contenders.iter().map(|c| (*c, Vec::new())).collect();
        for round in 1..=rounds {
            for (contender, measured) in &mut costs {
                let cost = contender.run(&servers, row.name()).await?;
                eprintln!(
                    "  round {round}: {:<22} {:>6.1} s, servers {:.1} s, itself {:.1} s",
                    contender.name(),
                    cost.time.as_secs_f64(),
                    cost.servers.as_secs_f64(),
                    cost.own.as_secs_f64()
                );
                measured.push(cost);
            }
        }
        servers.source.run("postgres", &format!("DROP DATABASE {}", row.name())).await?;
        lines.push(Line { what, costs });
    }
    if wanted(drain::DATABASE) {
        let what = format!("backlog of {} row changes", drain::CHANGES);
        eprintln!("{what}");
        drain::build(&servers).await?;
        let mut costs = vec![(Contender::Us, Vec::new()), (Contender::TableSync, Vec::new())];
        for round in 1..=rounds {
            for (contender, measured) in &mut costs {
                let cost = drain::run(*contender, &servers).await?;
                eprintln!("  round {round}: {:<22} {:>6.1} s", contender.name(), cost.time.as_secs_f64());
                measured.push(cost);
            }
        }
        lines.push(Line { what, costs });
    }
    println!("{}", report::table(&lines));
    Ok(())
}
