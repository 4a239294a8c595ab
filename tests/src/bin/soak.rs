//! `make soak`: any number of rounds of the fault suite, side by side on several pairs of servers.
//!
//! Prints a line for each round, then the table of all; with LOGS=folder the table is brought up to date there after every round, beside what
//! failed rounds say. Exit status 1 if any round failed.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pg_migrator_tests::cluster::has_server;
use pg_migrator_tests::faults::{Arena, Fault, Measures, Outcome, Phase, Report, Round, Score, SmallDisk};
use pg_migrator_tests::{Error, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// So many rounds follow each other on the same pair of servers.
const BLOCK: u32 = 14;
/// One in so many rounds is of full measure, where that makes it longer: a minute, two million rows.
const FULL_ONE_IN: u32 = 6;
/// The others stop something for as long as this, at most.
const STOP_AT_MOST_MS: u64 = 6000;

struct Soak {
    rounds: u32,
    seed: u64,
    /// Only these, to play again what failed; empty for all.
    only: Vec<u32>,
    /// What is drawn from.
    faults: Vec<Fault>,
    logs: Option<PathBuf>,
    next_block: AtomicU32,
    report: Mutex<Report>,
}

/// One round to be.
struct Plan {
    number: u32,
    fault: Fault,
    phase: Phase,
    seed: u64,
    measures: Measures,
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| Error::Broken(format!("{name}={text} is not a number"))),
        Err(_) => Ok(default),
    }
}

/// Numbers of rounds, with commas between.
fn only(text: &str) -> Result<Vec<u32>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| word.parse().map_err(|_| Error::Broken(format!("ONLY={text}: {word} is not the number of a round"))))
        .collect()
}

fn main() -> ExitCode {
    match soak() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn soak() -> Result<bool> {
    let logs = std::env::var_os("LOGS").map(PathBuf::from);
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let is_wanted = |fault: &Fault| wanted.split(',').any(|word| fault.describe().contains(word.trim()));
    let faults: Vec<Fault> = Fault::ALL.into_iter().filter(is_wanted).collect();
    if faults.is_empty() {
        return Err(Error::Broken(format!("no fault is described by FAULTS={wanted}")));
    }
    let soak = Arc::new(Soak {
        rounds: number("ROUNDS", faults.len() as u32)?,
        faults,
        seed: number("SEED", rand::rng().random())?,
        only: only(&std::env::var("ONLY").unwrap_or_default())?,
        logs,
        next_block: AtomicU32::new(0),
        report: Mutex::new(Report::default()),
    });
    let lanes: u32 = number("LANES", 2)?;
    println!("soak: {} rounds, SEED={}, {lanes} side by side", soak.rounds, soak.seed);
    // A thread each, that lives until its rounds are over: the controllers die with the thread that started them.
    let threads: Vec<_> = (0..lanes)
        .map(|_| {
            let soak = Arc::clone(&soak);
            std::thread::spawn(move || -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| Error::Broken(format!("no runtime: {error}")))?;
                runtime.block_on(lane(&soak))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| Error::Broken("a lane ended unexpectedly".to_owned()))??;
    }
    let report = soak.report.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\n{report}");
    Ok(report.is_good())
}

async fn lane(soak: &Soak) -> Result<()> {
    let majors: Vec<u32> = (10..=17).filter(|major| has_server(*major)).collect();
    loop {
        let block = soak.next_block.fetch_add(1, Ordering::SeqCst);
        let plans: Vec<Plan> = (block * BLOCK..(block + 1) * BLOCK).filter(|n| *n < soak.rounds).map(|n| plan(soak, n)).collect();
        if plans.is_empty() {
            return Ok(());
        }
        let wanted = |plan: &Plan| soak.only.is_empty() || soak.only.contains(&plan.number);
        let major = majors[StdRng::seed_from_u64(soak.seed ^ u64::from(block)).random_range(0..majors.len())];
        let mut arena = None;
        for plan in plans.into_iter().filter(|plan| plan.fault.since() <= major && wanted(plan)) {
            let score = if plan.fault == Fault::DiskFull {
                let disk = SmallDisk::mount()?;
                let mut small = Arena::start(major, disk.as_ref().map(SmallDisk::folder)).await?;
                play(&mut small, &plan).await
            } else {
                let mut open = match arena.take() {
                    Some(open) => open,
                    None => Arena::start(major, None).await?,
                };
                let score = play(&mut open, &plan).await;
                // What a failed round leaves is nothing to begin another one on.
                arena = score.outcome.is_ok().then_some(open);
                score
            };
            tell(soak, &plan, &score)?;
        }
    }
}

/// What a round is, by the soak's seed and its number alone: each fault comes once in as many rounds as there are faults.
fn plan(soak: &Soak, number: u32) -> Plan {
    let (seed, count, mut faults) = (soak.seed, soak.faults.len() as u32, soak.faults.clone());
    faults.shuffle(&mut StdRng::seed_from_u64(seed.wrapping_add(u64::from(number / count))));
    let fault = faults[(number % count) as usize];
    let mut random = StdRng::seed_from_u64(seed.rotate_left(32) ^ u64::from(number));
    let phase = fault.phases()[random.random_range(0..fault.phases().len())];
    let stop = Duration::from_millis(random.random_range(500..STOP_AT_MOST_MS));
    let measures = if fault.is_measured() && random.random_range(0..FULL_ONE_IN) == 0 {
        Measures::FULL
    } else {
        Measures { stop, rows: 100_000, ..Measures::SHORT }
    };
    Plan { number, fault, phase, seed: random.random(), measures }
}

async fn play(arena: &mut Arena, plan: &Plan) -> Score {
    Round::play(arena, plan.fault, plan.phase, plan.seed, plan.measures).await
}

fn tell(soak: &Soak, plan: &Plan, score: &Score) -> Result<()> {
    let outcome = match &score.outcome {
        Ok(Outcome::Exact) => "exact".to_owned(),
        Ok(Outcome::Refused(name)) => format!("refused ({name}), cured"),
        Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
        Err(_) => "FAILED".to_owned(),
    };
    let recovery = score.recovery.map_or_else(|| "–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
    let mut line = format!(
        "round {:4} | PostgreSQL {} | {}{} | {} | {outcome} | recovered in {recovery}, all in {:.1} s | {} writes",
        plan.number,
        score.major,
        score.fault,
        if plan.measures.rows == Measures::FULL.rows { ", full measure" } else { "" },
        score.phase,
        score.took.as_secs_f64(),
        score.writes.0,
    );
    if let Err(why) = &score.outcome {
        // Writing to a String can't fail.
        let _ = write!(line, "\n  {}", why.replace('\n', "\n  "));
    }
    let mut report = soak.report.lock().unwrap_or_else(PoisonError::into_inner);
    report.add(score);
    println!("{line}");
    let Some(logs) = &soak.logs else { return Ok(()) };
    let failed = |error: std::io::Error| Error::Broken(format!("writing into {}: {error}", logs.display()));
    fs::create_dir_all(logs).map_err(failed)?;
    fs::write(logs.join("report.md"), format!("SEED={}, {} rounds so far\n\n{report}", soak.seed, report.rounds()))
        .map_err(failed)?;
    let mut rounds = fs::OpenOptions::new().create(true).append(true).open(logs.join("rounds.log")).map_err(failed)?;
    writeln!(rounds, "{line}").map_err(failed)
}
