//! No fault loses a row or leaves a riddle: one of each, at the moment that the seed says. Those that are told in one breath here strike the
//! same migration, one after the other; `make soak` plays any number of rounds with one fault each, and stops things for a minute.
//!
//! `SEED=7 cargo nextest run --test faults` draws other moments.

use std::time::Duration;

use pg_migrator_tests::faults::{Arena, Fault, Measures, Outcome, Phase, Report, Round, SmallDisk, Strike, plan};
use pg_migrator_tests::{Error, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The source's version: the one whose server the distribution has.
const MAJOR: u32 = 15;
/// What is to be given up is stopped for longer than its partner waits.
const PATIENCE: Duration = Duration::from_secs(3);
const STOPPED_FOR: Duration = Duration::from_secs(6);

fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// A round in which these strike, at moments that the seed says.
fn drawn(faults: &[Fault]) -> Result<Vec<Strike>> {
    let first = faults.first().map_or(0, |fault| *fault as u64);
    plan::draw(faults, &mut StdRng::seed_from_u64(seed() ^ first << 32))
}

/// Plays rounds on one pair of servers.
async fn survives(rounds: &[Vec<Strike>]) -> Result<()> {
    let wants_disk = rounds.iter().flatten().any(|strike| strike.fault == Fault::DiskFull);
    let disk = if wants_disk { SmallDisk::mount()? } else { None };
    let mut arena = Arena::start(MAJOR, disk.as_ref().map(SmallDisk::folder)).await?;
    play(&mut arena, rounds, Measures::SHORT).await
}

async fn play(arena: &mut Arena, rounds: &[Vec<Strike>], measures: Measures) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed());
    let mut report = Report::default();
    for strikes in rounds {
        let score = Round::play(arena, strikes, random.random(), measures).await;
        report.add(&score);
        let struck: Vec<String> = score.strikes.iter().map(ToString::to_string).collect();
        let struck = struck.join(", ");
        match score.outcomes {
            Err(why) => return Err(Error::Broken(format!("{struck}, seed {}: {why}", seed()))),
            Ok(outcomes) => {
                for (strike, outcome) in strikes.iter().zip(&outcomes) {
                    if let Outcome::Skipped(why) = outcome {
                        eprintln!("SKIPPED: {}: {why}", strike.fault);
                    }
                }
                println!("{struck}, seed {}: {outcomes:?} after {:?}", seed(), score.took);
            }
        }
    }
    println!("{report}");
    Ok(())
}

#[tokio::test]
async fn kills_of_processes_lose_nothing() -> Result<()> {
    survives(&[drawn(&[Fault::KillController, Fault::KillSourceBackend, Fault::KillWalsender, Fault::KillApplyWorker])?]).await
}

#[tokio::test]
async fn crashes_and_restarts_of_servers_lose_nothing() -> Result<()> {
    survives(&[drawn(&[Fault::KillSource, Fault::KillDestination, Fault::RestartSource, Fault::RestartDestination])?]).await
}

/// The one waits while the other does.
#[tokio::test]
async fn what_stands_still_is_outlasted_and_a_connection_whose_end_nobody_tells_is_noticed() -> Result<()> {
    let stopped = async {
        let mut arena = Arena::start(MAJOR, None).await?;
        arena.give_up_after(PATIENCE).await?;
        let faults = [
            Fault::StopController,
            Fault::StopSourceBackend,
            Fault::StopWalsender,
            Fault::StopApplyWorker,
            Fault::StopSource,
            Fault::StopDestination,
        ];
        play(&mut arena, &[drawn(&faults)?], Measures { stop: STOPPED_FOR, ..Measures::SHORT }).await
    };
    let silenced = async { survives(&[drawn(&[Fault::HalfOpen])?]).await };
    tokio::try_join!(stopped, silenced).map(drop)
}

#[tokio::test]
async fn a_bad_network_loses_nothing() -> Result<()> {
    survives(&[drawn(&[Fault::Cut, Fault::Latency, Fault::CutAtByte])?]).await
}

#[tokio::test]
async fn what_servers_run_out_of_and_administrators_change_is_overcome() -> Result<()> {
    survives(&[drawn(&[Fault::PasswordChanged, Fault::RoleTimeouts, Fault::ConnectionsUsedUp])?]).await
}

#[tokio::test]
async fn a_full_disk_is_overcome_when_it_has_room_again() -> Result<()> {
    survives(&[drawn(&[Fault::DiskFull])?]).await
}

#[tokio::test]
async fn transactions_of_others_are_named_or_carried() -> Result<()> {
    survives(&[drawn(&[Fault::LongTransaction, Fault::HugeTransaction])?, drawn(&[Fault::PreparedTransaction])?]).await
}

#[tokio::test]
async fn what_breaks_the_stream_is_named_and_cured() -> Result<()> {
    let in_mid_copy = Strike { fault: Fault::Ddl, phase: Phase::Copy };
    let planted = Strike { fault: Fault::PlantedRow, phase: Phase::Stream };
    survives(&[vec![in_mid_copy, planted], drawn(&[Fault::SlotInvalidated])?]).await
}
