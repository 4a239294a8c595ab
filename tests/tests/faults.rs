//! No fault loses a row or leaves a riddle: one round of each, at the moment that the seed says.
//!
//! `SEED=7 cargo nextest run --test faults` draws other moments; `make soak` plays any number of rounds.

use pg_migrator_tests::faults::{Arena, Fault, Measures, Outcome, Report, Round, SmallDisk};
use pg_migrator_tests::{Error, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The source's version: the one whose server the distribution has.
const MAJOR: u32 = 15;

/// Plays a round of each of these on one pair of servers.
async fn survives(faults: &[Fault]) -> Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let wants_disk = faults.contains(&Fault::DiskFull);
    let disk = if wants_disk { SmallDisk::mount()? } else { None };
    let mut arena = Arena::start(MAJOR, disk.as_ref().map(SmallDisk::folder)).await?;
    let mut report = Report::default();
    for fault in faults {
        let mut random = StdRng::seed_from_u64(seed ^ (*fault as u64) << 32);
        let phase = fault.phases()[random.random_range(0..fault.phases().len())];
        let score = Round::play(&mut arena, *fault, phase, random.random(), Measures::SHORT).await;
        report.add(&score);
        match score.outcome {
            Ok(Outcome::Skipped(why)) => eprintln!("SKIPPED: {fault}: {why}"),
            Ok(outcome) => println!("{fault}, phase {}, seed {seed}: {outcome:?} after {:?}", score.phase, score.took),
            Err(why) => return Err(Error::Broken(format!("{fault}, phase {}, seed {seed}: {why}", score.phase))),
        }
    }
    println!("{report}");
    Ok(())
}

#[tokio::test]
async fn kills_of_processes_lose_nothing() -> Result<()> {
    survives(&[Fault::KillController, Fault::KillSourceBackend, Fault::KillWalsender, Fault::KillApplyWorker]).await
}

#[tokio::test]
async fn crashes_and_restarts_of_servers_lose_nothing() -> Result<()> {
    survives(&[Fault::KillSource, Fault::KillDestination, Fault::RestartSource, Fault::RestartDestination]).await
}

#[tokio::test]
async fn processes_that_stand_still_are_waited_for() -> Result<()> {
    survives(&[
        Fault::StopController,
        Fault::StopSourceBackend,
        Fault::StopWalsender,
        Fault::StopApplyWorker,
        Fault::StopSource,
        Fault::StopDestination,
    ])
    .await
}

#[tokio::test]
async fn a_bad_network_loses_nothing() -> Result<()> {
    survives(&[Fault::Cut, Fault::Latency, Fault::CutAtByte]).await
}

#[tokio::test]
async fn connections_of_which_nobody_tells_the_end_are_noticed() -> Result<()> {
    survives(&[Fault::HalfOpen]).await
}

#[tokio::test]
async fn what_servers_run_out_of_and_administrators_change_is_overcome() -> Result<()> {
    survives(&[Fault::PasswordChanged, Fault::RoleTimeouts, Fault::ConnectionsUsedUp]).await
}

#[tokio::test]
async fn a_full_disk_is_overcome_when_it_has_room_again() -> Result<()> {
    survives(&[Fault::DiskFull]).await
}

#[tokio::test]
async fn transactions_of_others_are_named_or_carried() -> Result<()> {
    survives(&[Fault::LongTransaction, Fault::PreparedTransaction, Fault::HugeTransaction]).await
}

#[tokio::test]
async fn what_breaks_the_stream_is_named_and_cured() -> Result<()> {
    survives(&[Fault::PlantedRow, Fault::SlotInvalidated, Fault::Ddl]).await
}
