//! One round: a database is migrated while it is written to, faults strike in given phases, and in the end both servers hold exactly what
//! the source has acknowledged.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::arena::{Arena, MOVER, PASSWORD};
use super::fault::Measures;
use super::ledger::{Account, Ledger};
use super::phase::{self, Phase};
use super::plan::Strike;
use crate::compare;
use crate::controller::{CONTROL, Controller, literal};
use crate::error::{Error, Result};

/// Writers pause so long between transactions.
const PAUSE: Duration = Duration::from_millis(10);
/// How often a cutover may be undone, or a completion end early, before that is called a failure.
const REQUESTS: u32 = 8;

/// What came of a fault, if its round did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides hold the same, and all that was acknowledged.
    Exact,
    /// First there was a refusal under this name; cured by what it says, the round ended exact.
    Refused(String),
    /// This machine can't do it; the round went on without it.
    Skipped(String),
}

/// What came of a round.
#[derive(Debug, Clone)]
pub struct Score {
    /// What struck, with the phases that were seen then.
    pub strikes: Vec<Strike>,
    /// The round's seed.
    pub seed: u64,
    /// The source's major version.
    pub major: u32,
    /// What came of each that struck, or why the round failed.
    pub outcomes: Result<Vec<Outcome>, String>,
    /// From the end of the last fault until the mapping was ready, or past its cutover.
    pub recovery: Option<Duration>,
    /// All of the round.
    pub took: Duration,
    /// Transactions acknowledged to the writers, and those whose answer was lost.
    pub writes: (usize, usize),
}

/// What is needed to play one round.
#[derive(Debug)]
pub struct Round<'a> {
    /// The servers.
    pub arena: &'a mut Arena,
    /// How hard it strikes.
    pub measures: Measures,
    /// What decides everything that is drawn.
    pub random: StdRng,
    /// The database, which is also the mapping's name.
    pub name: String,
    /// The program under test.
    pub controller: Controller,
    /// What the fault has been seen to be called, if it must be named.
    pub(super) named: Option<String>,
}

/// The round's writers.
enum Writers {
    Writing(Ledger),
    Stopped(Account),
}

impl Writers {
    async fn stop(self) -> Result<Self> {
        match self {
            Self::Writing(ledger) => Ok(Self::Stopped(ledger.stop().await?)),
            stopped @ Self::Stopped(_) => Ok(stopped),
        }
    }

    /// What they know, once they have stopped.
    fn account(&self) -> Result<&Account> {
        match self {
            Self::Stopped(account) => Ok(account),
            Self::Writing(_) => Err(Error::Broken("the writers go on".to_owned())),
        }
    }
}

/// Where a mapping stands by what was asked of it.
enum Stage {
    Migrating,
    CuttingOver,
    CutOver,
    Completing,
    Complete,
}

impl<'a> Round<'a> {
    /// Plays a round in which these strike, one after the other. The seed gives the round its name, so no two rounds of an arena may have
    /// the same.
    pub async fn play(arena: &'a mut Arena, strikes: &[Strike], seed: u64, measures: Measures) -> Score {
        let begun = Instant::now();
        let name = format!("r{:x}", seed & 0xffff_ffff_ffff);
        let major = arena.source.major();
        let mut score = Score {
            strikes: Vec::new(),
            seed,
            major,
            outcomes: Ok(Vec::new()),
            recovery: None,
            took: Duration::ZERO,
            writes: (0, 0),
        };
        let result = async {
            arena.make(&name).await?;
            let controller = Controller::new(&arena.config(&name, &name))?;
            let random = StdRng::seed_from_u64(seed);
            let mut round = Round { arena, measures, random, name, controller, named: None };
            let outcomes = round.run(strikes, seed, &mut score).await;
            let described = match outcomes {
                Ok(outcomes) => Ok(outcomes),
                Err(error) => Err(Error::Broken(format!("{error}\n{}", round.controller.report(&round.arena.destination).await))),
            };
            round.controller.kill()?;
            let outcomes = described?;
            round.arena.clear(&round.name).await?;
            Ok::<_, Error>(outcomes)
        };
        score.outcomes = result.await.map_err(|error| error.to_string());
        if score.strikes.is_empty() {
            // It did not come to that.
            score.strikes.extend(strikes.first());
        }
        score.took = begun.elapsed();
        score
    }

    async fn run(&mut self, strikes: &[Strike], seed: u64, score: &mut Score) -> Result<Vec<Outcome>> {
        let mut writers = Writers::Writing(Ledger::start(&self.arena.source, &self.name, seed, PAUSE));
        if strikes.first().is_none_or(|strike| strike.phase != Phase::Before) {
            self.controller.start()?;
        }
        let mut outcomes = Vec::new();
        let mut struck = Instant::now();
        for strike in strikes {
            if strike.phase == Phase::Cleanup {
                // A completion lets writes in again on the source, and nothing carries them any more.
                self.until_cut_over(struck + self.measures.limit).await?;
                writers = writers.stop().await?;
                // Once completion is asked for, sessions on the source are ended, ours among them.
                self.compare(writers.account()?).await?;
            }
            let phase = self.reach(strike.phase).await?;
            score.strikes.push(Strike { phase, ..*strike });
            let skipped = strike.fault.strike(self).await?;
            let named = self.named.take();
            outcomes.push(skipped.map(Outcome::Skipped).or(named.map(Outcome::Refused)).unwrap_or(Outcome::Exact));
            struck = Instant::now();
        }
        let deadline = struck + self.measures.limit;
        let recovered = self.until_cut_over(deadline).await?;
        score.recovery = Some(recovered.saturating_duration_since(struck));
        writers = writers.stop().await?;
        let account = writers.account()?;
        score.writes = account.totals();
        if strikes.last().is_none_or(|strike| strike.phase != Phase::Cleanup) {
            self.compare(account).await?;
        }
        self.until_complete(deadline).await?;
        self.compare(account).await?;
        self.nothing_left().await?;
        self.restore_role().await?;
        if score.writes.0 == 0 {
            return Err(Error::Broken("the source acknowledged nothing: nothing was tested".to_owned()));
        }
        Ok(outcomes)
    }

    /// Waits for a phase, and then a little, by the seed. Gives the phase that was seen, which is a later one if this one was too short to
    /// be seen.
    async fn reach(&mut self, phase: Phase) -> Result<Phase> {
        let seen = match phase {
            Phase::Before => return Ok(phase),
            Phase::Schema | Phase::Copy | Phase::Index | Phase::CatchUp => self.see(phase).await?,
            Phase::Stream => {
                self.ready().await?;
                Phase::Stream
            }
            Phase::Cutover => {
                self.ready().await?;
                self.ask("cutover").await?;
                Phase::Cutover
            }
            Phase::Cleanup => {
                self.ask("complete").await?;
                Phase::Cleanup
            }
        };
        let most = match phase {
            Phase::Schema | Phase::Copy => 400,
            Phase::Index | Phase::Cutover | Phase::Cleanup => 150,
            _ => 300,
        };
        let wait = Duration::from_millis(self.random.random_range(0..most));
        tokio::time::sleep(wait).await;
        Ok(seen)
    }

    async fn see(&mut self, phase: Phase) -> Result<Phase> {
        let begun = Instant::now();
        let mut client = None;
        loop {
            if client.is_none() {
                // After a fault the server may be on its way back still.
                client = self.arena.destination.connect("postgres").await.ok();
            }
            let state = match &client {
                Some(open) => match phase::look(open, &self.name).await {
                    Ok(seen) if seen >= phase => return Ok(seen),
                    Ok(seen) => format!("the database was in {seen}"),
                    Err(error) => {
                        client = None;
                        error.to_string()
                    }
                },
                None => "the destination can't be connected to".to_owned(),
            };
            if begun.elapsed() > self.measures.limit || !self.controller.is_running() {
                return Err(Error::Timeout { what: format!("the phase {phase}"), waited: begun.elapsed(), state });
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn ready(&mut self) -> Result<()> {
        self.controller.wait_until_ready(&self.arena.destination, &self.name, self.measures.limit).await
    }

    /// Asks for a cutover or a completion. What is not possible yet is found out by whoever looks at the stage.
    async fn ask(&self, kind: &str) -> Result<()> {
        let function = if kind == "complete" { "mark_complete" } else { kind };
        let sql = format!("SELECT migrator.{function}({})", literal(&self.name));
        self.arena.destination.run(CONTROL, &sql).await
    }

    async fn stage(&self) -> Result<(Stage, u32)> {
        let sql = format!(
            "SELECT kind, finished_at IS NULL, coalesce(succeeded, false) FROM migrator.requests
             WHERE mapping = {} AND kind IN ('cutover', 'complete') ORDER BY id",
            literal(&self.name)
        );
        let rows = self.arena.destination.rows(CONTROL, &sql).await?;
        let tries = rows.len() as u32;
        let has = |kind: &str, column: usize| rows.iter().any(|row| row[0] == kind && row[column] == "t");
        let stage = match () {
            () if has("complete", 2) => Stage::Complete,
            () if has("complete", 1) => Stage::Completing,
            () if has("cutover", 2) => Stage::CutOver,
            () if has("cutover", 1) => Stage::CuttingOver,
            () => Stage::Migrating,
        };
        Ok((stage, tries))
    }

    /// Brings the mapping over, however often the cutover has to be asked for. Gives when it was first seen to be ready or past it.
    async fn until_cut_over(&mut self, deadline: Instant) -> Result<Instant> {
        let mut ready_at = None;
        loop {
            // The control database may not be there yet, or not answer.
            match self.stage().await {
                Ok((Stage::CutOver | Stage::Completing | Stage::Complete, _)) => return Ok(ready_at.unwrap_or_else(Instant::now)),
                Ok((Stage::Migrating, tries)) => {
                    if tries >= REQUESTS {
                        return Err(Error::Broken(format!("the cutover was undone {tries} times")));
                    }
                    let ready = format!("SELECT migrator.cutover_ready({})", literal(&self.name));
                    if self.arena.destination.value(CONTROL, &ready).await.is_ok_and(|ready| ready == "t") {
                        ready_at.get_or_insert_with(Instant::now);
                        // Refused if it is not ready any more: then it is asked for again.
                        let _ = self.ask("cutover").await;
                    }
                }
                Ok((Stage::CuttingOver, _)) | Err(_) => {}
            }
            if !self.controller.is_running() {
                return Err(Error::Broken("the controller has ended by itself".to_owned()));
            }
            self.in_time("the cutover", deadline)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_complete(&mut self, deadline: Instant) -> Result<()> {
        loop {
            match self.stage().await {
                Ok((Stage::Complete, _)) => return Ok(()),
                Ok((Stage::Completing, _)) | Err(_) => {}
                Ok((_, tries)) => {
                    if tries >= 2 * REQUESTS {
                        return Err(Error::Broken(format!("after {tries} requests the mapping is not complete")));
                    }
                    // Refused while another one is under way.
                    let _ = self.ask("complete").await;
                }
            }
            self.in_time("the completion", deadline)?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn in_time(&self, what: &str, deadline: Instant) -> Result<()> {
        let limit = self.measures.limit;
        if Instant::now() > deadline {
            return Err(Error::Timeout { what: what.to_owned(), waited: limit, state: "the round is in doubt".to_owned() });
        }
        Ok(())
    }

    async fn compare(&self, account: &Account) -> Result<()> {
        let (source, destination) = (&self.arena.source, &self.arena.destination);
        let mut wrongs = Vec::new();
        for (side, server) in [("source", source), ("destination", destination)] {
            wrongs.extend(account.wrongs(server, &self.name).await?.into_iter().map(|wrong| format!("{side}: {wrong}")));
        }
        if !wrongs.is_empty() {
            return Err(Error::Broken(format!("the ledger disagrees: {}", wrongs.join("; "))));
        }
        compare::equal(source, destination, &self.name).await?;
        compare::sequences_at_or_past(source, destination, &self.name).await.map(drop)
    }

    /// A completed mapping leaves neither slot nor publication nor subscription, and its source takes writes.
    async fn nothing_left(&self) -> Result<()> {
        let name = &self.name;
        let source = format!(
            "SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = '{name}') + (SELECT count(*) FROM pg_publication)
                  + (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = '{name}')"
        );
        let destination =
            format!("SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE datname = '{name}'");
        for (side, server, sql) in [("source", &self.arena.source, source), ("destination", &self.arena.destination, destination)]
        {
            let left = server.value(name, &sql).await?;
            if left != "0" {
                return Err(Error::Broken(format!("{left} things of ours are left on the {side}")));
            }
        }
        Ok(())
    }

    /// Takes back what a fault has done to our role.
    async fn restore_role(&self) -> Result<()> {
        let sql = format!("ALTER ROLE {MOVER} RESET ALL; ALTER ROLE {MOVER} PASSWORD {}", literal(PASSWORD));
        self.arena.source.run("postgres", &sql).await?;
        self.arena.destination.run("postgres", &sql).await
    }
}
