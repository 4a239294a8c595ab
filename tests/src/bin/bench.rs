//! `make bench`: what pg-migrator costs, beside the other ways of moving a database. See `docs/benchmarks.md`.
//!
//! Arguments are names of rows (`mixed big small toast drain load`; all of them without any), each with a size after a colon if
//! wished: `mixed:3` is about 300 MB. In the environment: `SCALE`, the size of the large databases in units of about 100 MB
//! (default: each row's own); `ROUNDS` (default 3); `CONTENDERS`, parts of the names of those to take; `BENCH_MAPPING`, another line of
//! our configuration; `BENCH_SET`, further settings of both servers (`a=1;b=2`); `BENCH_LOG`, to see our log.

use std::process::ExitCode;

use pg_migrator_tests::bench::contender::{Contender, Cost};
use pg_migrator_tests::bench::data::Row;
use pg_migrator_tests::bench::drain::Drainer;
use pg_migrator_tests::bench::report::{self, Line};
use pg_migrator_tests::bench::{Servers, drain, load};
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

fn number(name: &str) -> Result<Option<u32>> {
    std::env::var(name).ok().map(|text| parse(name, &text)).transpose()
}

fn parse(name: &str, text: &str) -> Result<u32> {
    text.parse().map_err(|error| Error::Broken(format!("{name}={text}: {error}")))
}

/// A row's name and the size that was asked for.
fn asked(arguments: impl Iterator<Item = String>) -> Result<Vec<(String, Option<u32>)>> {
    let known: Vec<&str> = Row::ALL.iter().map(|row| row.name()).chain([drain::DATABASE, load::ROW]).collect();
    let mut asked = Vec::new();
    for argument in arguments {
        let (name, scale) = match argument.split_once(':') {
            Some((name, scale)) => (name, Some(parse(name, scale)?)),
            None => (argument.as_str(), None),
        };
        if !known.contains(&name) {
            return Err(Error::Broken(format!("there is no row {name}; there are: {}", known.join(", "))));
        }
        asked.push((name.to_owned(), scale));
    }
    if asked.is_empty() {
        asked = known.into_iter().map(|name| (name.to_owned(), None)).collect();
    }
    Ok(asked)
}

async fn bench() -> Result<()> {
    let asked = asked(std::env::args().skip(1))?;
    let (scale, rounds) = (number("SCALE")?, number("ROUNDS")?.unwrap_or(3));
    let selected = std::env::var("CONTENDERS").unwrap_or_default();
    let wanted = |name: &str| selected.is_empty() || selected.split(',').any(|part| name.contains(part));
    let servers = Servers::start().await?;
    let (mut lines, mut words) = (Vec::new(), Vec::new());
    for (name, size) in asked {
        if name == drain::DATABASE {
            lines.push(drained(&servers, rounds, wanted).await?);
        } else if name == load::ROW {
            words.push(loaded(&servers, rounds).await?);
        } else if let Some(row) = Row::ALL.into_iter().find(|row| row.name() == name) {
            lines.push(moved(&servers, row, size.or(scale).unwrap_or(row.scale()), rounds, wanted).await?);
        }
    }
    println!("{}\n{}", report::table(&lines), words.join("\n"));
    Ok(())
}

/// A database is moved by each contender, round after round.
async fn moved(servers: &Servers, row: Row, scale: u32, rounds: u32, wanted: impl Fn(&str) -> bool) -> Result<Line> {
    let size = row.build(&servers.source, scale).await?;
    let what = format!("{}, {} MB", row.describes(), size >> 20);
    eprintln!("{what}");
    let mut costs: Vec<_> =
        Contender::ALL.into_iter().filter(|c| c.is_here() && wanted(c.name())).map(|c| (c, Vec::new())).collect();
    // The first to move it pays for what the servers do once: memory and log files are touched for the first time.
    let cost = Contender::DumpRestore.run(servers, row.name()).await?;
    tell(0, &format!("{}, not counted", Contender::DumpRestore.name()), &cost);
    for round in 1..=rounds {
        for (contender, measured) in &mut costs {
            let cost = contender.run(servers, row.name()).await?;
            tell(round, contender.name(), &cost);
            measured.push(cost);
        }
        // Nobody always comes after the same one.
        costs.rotate_left(1);
    }
    costs.sort_by_key(|(contender, _)| Contender::ALL.iter().position(|other| other == contender));
    servers.source.run("postgres", &format!("DROP DATABASE {}", row.name())).await?;
    Ok(Line { what, costs: costs.into_iter().map(|(contender, costs)| (contender.name().to_owned(), costs)).collect() })
}

async fn drained(servers: &Servers, rounds: u32, wanted: impl Fn(&str) -> bool) -> Result<Line> {
    let what = format!("backlog of {} row changes", drain::CHANGES);
    eprintln!("{what}");
    drain::build(servers).await?;
    let mut costs: Vec<_> = Drainer::ALL.into_iter().filter(|d| wanted(&d.name())).map(|d| (d, Vec::new())).collect();
    for round in 1..=rounds {
        for (drainer, measured) in &mut costs {
            let cost = drain::run(*drainer, servers).await?;
            tell(round, &drainer.name(), &cost);
            measured.push(cost);
        }
    }
    Ok(Line { what, costs: costs.into_iter().map(|(drainer, costs)| (drainer.name(), costs)).collect() })
}

async fn loaded(servers: &Servers, rounds: u32) -> Result<String> {
    eprintln!("a load on the source");
    load::build(servers).await?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        let throughput = load::run(servers).await?;
        let slices = |slices: &[f64]| slices.iter().map(|tps| format!("{tps:.0}")).collect::<Vec<_>>().join(" ");
        let (alone, during) = (slices(&throughput.alone), slices(&throughput.during));
        eprintln!("  round {round}: {:.1} %; transactions a second alone {alone}, during {during}", throughput.share());
        measured.push(throughput);
    }
    Ok(load::describe(&measured))
}

fn tell(round: u32, name: &str, cost: &Cost) {
    eprintln!(
        "  round {round}: {name:<28} {:>6.1} s, servers {:.1} s, itself {:.2} s",
        cost.time.as_secs_f64(),
        cost.servers.as_secs_f64(),
        cost.own.as_secs_f64()
    );
}
