//! How each fault is made to happen, and taken back. What has to be seen meanwhile is waited for here as well: a refusal's name, or what a
//! migration says it waits for.
//!
//! [`process`] is about processes and servers, [`network`] about connections, [`server`] about what servers can run out of, [`data`] about
//! what people do to rows, tables and transactions.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::fault::Fault;
use super::round::Round;
use crate::cluster::Cluster;
use crate::controller::{CONTROL, literal};
use crate::error::{Error, Result};

mod data;
mod network;
mod process;
mod server;

/// How long what has to be named may take to be named.
const NAMED_WITHIN: Duration = Duration::from_secs(45);

impl Fault {
    /// Strikes, and takes back what does not pass by itself. Gives why this machine can't do it, if so.
    pub(super) async fn strike(self, round: &mut Round<'_>) -> Result<Option<String>> {
        match self {
            Self::KillController => process::kill_controller(round).await?,
            Self::StopController => process::stop_controller(round).await?,
            Self::KillSourceBackend => process::kill(round, process::Victim::SourceBackend).await?,
            Self::KillWalsender => process::kill(round, process::Victim::Walsender).await?,
            Self::KillApplyWorker => process::kill(round, process::Victim::ApplyWorker).await?,
            Self::StopSourceBackend => process::stop(round, process::Victim::SourceBackend).await?,
            Self::StopWalsender => process::stop(round, process::Victim::Walsender).await?,
            Self::StopApplyWorker => process::stop(round, process::Victim::ApplyWorker).await?,
            Self::StopSource => process::stop(round, process::Victim::Source).await?,
            Self::StopDestination => process::stop(round, process::Victim::Destination).await?,
            Self::KillSource => process::end_server(&mut round.arena.source, "KILL").await?,
            Self::KillDestination => process::end_server(&mut round.arena.destination, "KILL").await?,
            Self::RestartSource => process::end_server(&mut round.arena.source, "INT").await?,
            Self::RestartDestination => process::end_server(&mut round.arena.destination, "INT").await?,
            Self::Cut => network::cut(round).await,
            Self::Latency => network::latency(round).await,
            Self::HalfOpen => network::half_open(round).await?,
            Self::CutAtByte => network::cut_at_byte(round).await?,
            Self::PasswordChanged => server::change_password(round).await?,
            Self::DiskFull => return server::fill_disk(round).await,
            Self::SlotInvalidated => server::invalidate_slot(round).await?,
            Self::RoleTimeouts => server::set_timeouts(round).await?,
            Self::ConnectionsUsedUp => server::use_up_connections(round).await?,
            Self::PlantedRow => data::plant_row(round).await?,
            Self::Ddl => data::change_schema(round).await?,
            Self::LongTransaction => data::long_transaction(round).await?,
            Self::PreparedTransaction => data::prepared_transaction(round).await?,
            Self::HugeTransaction => data::huge_transaction(round).await?,
        }
        Ok(None)
    }
}

impl Round<'_> {
    /// Waits until a condition holds in the control database.
    async fn until(&mut self, condition: &str) -> Result<()> {
        self.controller.wait_for(&self.arena.destination, condition, NAMED_WITHIN).await
    }

    /// Waits until an open finding says a text, or has a code, and notes its code as the name of the refusal.
    async fn until_found(&mut self, what: &str) -> Result<()> {
        let open = format!("FROM migrator.findings WHERE mapping = {} AND resolved_at IS NULL AND ({what})", literal(&self.name));
        self.until(&format!("EXISTS (SELECT {open})")).await?;
        self.named =
            Some(self.arena.destination.value(CONTROL, &format!("SELECT coalesce(min(code), 'resolved') {open}")).await?);
        Ok(())
    }

    /// Asks for a fresh copy of the database or one of its tables, and waits for the answer.
    async fn resync(&mut self, table: Option<&str>) -> Result<()> {
        let name = literal(&self.name);
        let table = table.map_or_else(|| "NULL".to_owned(), literal);
        let request = self.arena.destination.value(CONTROL, &format!("SELECT migrator.resync({name}, {name}, {table})")).await?;
        let answered = format!("(SELECT finished_at IS NOT NULL FROM migrator.requests WHERE id = {request})");
        self.until(&answered).await?;
        let answer = format!("SELECT succeeded, report FROM migrator.requests WHERE id = {request}");
        let answer = self.arena.destination.rows(CONTROL, &answer).await?;
        if answer[0][0] == "t" { Ok(()) } else { Err(Error::Broken(format!("the resync was refused: {}", answer[0][1]))) }
    }

    fn coin(&mut self) -> bool {
        self.random.random()
    }
}

/// The first value of a query, as soon as there is one.
async fn first(server: &Cluster, database: &str, sql: &str, what: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        if let Ok(value) = server.value(database, sql).await {
            return Ok(value);
        }
        if begun.elapsed() > NAMED_WITHIN {
            return Err(Error::Timeout { what: what.to_owned(), waited: begun.elapsed(), state: "there was none".to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
