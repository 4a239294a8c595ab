//! `make soak`: any number of rounds of the fault suite, side by side on several pairs of servers.
//!
//! Prints a line for each round, then the table of all. With LOGS=folder both are there after every round, whatever ends the soak: `rounds.log`
//! has the lines and what failed rounds say, `report.md` the table. Exit status 1 if any round failed.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pg_migrator_tests::cluster::has_server;
use pg_migrator_tests::error::Doing as _;
use pg_migrator_tests::faults::{Arena, Fault, Measures, Outcome, Report, Round, Score, SmallDisk, Strike};
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
    /// Only these, to play again what failed, or what an ended soak did not come to; empty for all.
    only: Vec<u32>,
    /// What is drawn from.
    faults: Vec<Fault>,
    logs: Option<PathBuf>,
    next_block: AtomicU32,
    report: Mutex<Report>,
}

/// One round to be.
#[derive(Debug, Clone, PartialEq)]
struct Plan {
    number: u32,
    strike: Strike,
    seed: u64,
    measures: Measures,
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| Error::Broken(format!("{name}={text} is not a number"))),
        Err(_) => Ok(default),
    }
}

/// Numbers of rounds and ranges of them, with commas between.
fn only(text: &str) -> Result<Vec<u32>> {
    let number = |word: &str| {
        let word = word.trim();
        word.parse::<u32>().map_err(|_| Error::Broken(format!("ONLY={text}: {word:?} is not the number of a round")))
    };
    let mut rounds = Vec::new();
    for word in text.split(',').filter(|word| !word.trim().is_empty()) {
        match word.split_once('-') {
            Some((first, last)) => rounds.extend(number(first)?..=number(last)?),
            None => rounds.push(number(word)?),
        }
    }
    Ok(rounds)
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
    let title = format!("soak: {} rounds, SEED={}, FAULTS={wanted}, {lanes} side by side", soak.rounds, soak.seed);
    println!("{title}");
    note(&soak, &title)?;
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
        let drawn =
            |majors: &[u32], seed: u64| majors.get(StdRng::seed_from_u64(seed).random_range(0..majors.len().max(1))).copied();
        let usual = drawn(&majors, soak.seed ^ u64::from(block));
        let mut arena = None;
        for plan in plans.into_iter().filter(wanted) {
            let since = plan.strike.fault.since();
            let score = match usual {
                Some(usual) if usual >= since => play(&mut arena, usual, &plan).await,
                _ => {
                    // Servers that can be struck so, for this round alone.
                    let newer: Vec<u32> = majors.iter().copied().filter(|major| *major >= since).collect();
                    play(&mut None, drawn(&newer, plan.seed).unwrap_or(since), &plan).await
                }
            };
            tell(soak, &plan, &score)?;
        }
    }
}

/// Plays a round. One that could not begin has failed; the others go on.
async fn play(arena: &mut Option<Arena>, major: u32, plan: &Plan) -> Score {
    try_play(arena, major, plan).await.unwrap_or_else(|error| Score {
        strikes: vec![plan.strike],
        seed: plan.seed,
        major,
        outcomes: Err(format!("the servers did not start: {error}")),
        recovery: None,
        took: Duration::ZERO,
        writes: (0, 0),
    })
}

/// Plays a round on the servers that are open, or on new ones.
async fn try_play(arena: &mut Option<Arena>, major: u32, plan: &Plan) -> Result<Score> {
    let strikes = [plan.strike];
    if plan.strike.fault == Fault::DiskFull {
        let disk = SmallDisk::mount()?;
        let mut small = Arena::start(major, disk.as_ref().map(SmallDisk::folder)).await?;
        return Ok(Round::play(&mut small, &strikes, plan.seed, plan.measures).await);
    }
    let mut open = match arena.take() {
        Some(open) => open,
        None => Arena::start(major, None).await?,
    };
    let score = Round::play(&mut open, &strikes, plan.seed, plan.measures).await;
    // What a failed round leaves is nothing to begin another one on.
    *arena = score.outcomes.is_ok().then_some(open);
    Ok(score)
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
    Plan { number, strike: Strike { fault, phase }, seed: random.random(), measures }
}

fn tell(soak: &Soak, plan: &Plan, score: &Score) -> Result<()> {
    let outcome = match score.outcomes.as_ref().map(|outcomes| outcomes.first()) {
        Ok(Some(Outcome::Exact)) => "exact".to_owned(),
        Ok(Some(Outcome::Refused(name))) => format!("refused ({name}), cured"),
        Ok(Some(Outcome::Skipped(why))) => format!("skipped: {why}"),
        Ok(None) | Err(_) => "FAILED".to_owned(),
    };
    let recovery = score.recovery.map_or_else(|| "–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
    let Strike { fault, phase } = score.strikes.first().copied().unwrap_or(plan.strike);
    let mut line = format!(
        "round {:4} | PostgreSQL {} | {fault}{} | {phase} | {outcome} | recovered in {recovery}, all in {:.1} s | {} writes",
        plan.number,
        score.major,
        if plan.measures.rows == Measures::FULL.rows { ", full measure" } else { "" },
        score.took.as_secs_f64(),
        score.writes.0,
    );
    if let Err(why) = &score.outcomes {
        // Writing to a String can't fail.
        let _ = write!(line, "\n  {}", why.replace('\n', "\n  "));
    }
    let mut report = soak.report.lock().unwrap_or_else(PoisonError::into_inner);
    report.add(score);
    println!("{line}");
    note(soak, &line)?;
    let Some(logs) = &soak.logs else { return Ok(()) };
    let so_far = format!("SEED={}, {} of {} rounds so far\n\n{report}", soak.seed, report.rounds(), soak.rounds);
    // Whole at every moment: the soak may be ended at any.
    let (new, path) = (logs.join("report.new"), logs.join("report.md"));
    fs::write(&new, so_far).and_then(|()| fs::rename(&new, &path)).doing(|| format!("writing {}", path.display()))
}

/// Adds a line to the log of the rounds.
fn note(soak: &Soak, line: &str) -> Result<()> {
    let Some(logs) = &soak.logs else { return Ok(()) };
    let path = logs.join("rounds.log");
    let doing = || format!("writing {}", path.display());
    fs::create_dir_all(logs).doing(doing)?;
    let mut rounds = fs::OpenOptions::new().create(true).append(true).open(&path).doing(doing)?;
    writeln!(rounds, "{line}").doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak(rounds: u32) -> Soak {
        Soak {
            rounds,
            seed: 20_261_121,
            only: Vec::new(),
            faults: Fault::ALL.to_vec(),
            logs: None,
            next_block: AtomicU32::new(0),
            report: Mutex::new(Report::default()),
        }
    }

    #[test]
    fn a_round_is_the_same_in_a_soak_of_any_length_and_differs_from_the_others() {
        let plans: Vec<Plan> = (0..200).map(|number| plan(&soak(200), number)).collect();
        for number in [0, 27, 28, 113, 199] {
            assert_eq!(plan(&soak(number + 1), number), plans[number as usize]);
        }
        let seeds: std::collections::BTreeSet<u64> = plans.iter().map(|plan| plan.seed).collect();
        assert_eq!(seeds.len(), plans.len(), "each has a name of its own");
    }

    #[test]
    fn single_rounds_and_ranges_can_be_asked_for() {
        assert_eq!(only("18, 24,100-102").expect("numbers"), [18, 24, 100, 101, 102]);
        assert!(only("").expect("nothing").is_empty());
        assert!(only("18-").is_err() && only("x").is_err());
    }

    #[test]
    fn every_fault_comes_once_in_as_many_rounds_as_there_are_faults_and_some_come_in_full_measure() {
        let plans: Vec<Plan> = (0..196).map(|number| plan(&soak(196), number)).collect();
        for turn in plans.chunks(Fault::ALL.len()) {
            let faults: std::collections::BTreeSet<Fault> = turn.iter().map(|plan| plan.strike.fault).collect();
            assert_eq!(faults.len(), Fault::ALL.len());
        }
        assert!(plans.iter().any(|plan| plan.measures.stop == Measures::FULL.stop));
        assert!(plans.iter().all(|plan| plan.strike.fault.phases().contains(&plan.strike.phase)));
    }
}
