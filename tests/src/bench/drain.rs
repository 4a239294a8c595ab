//! Draining a backlog: the destination was away while 200,000 rows changed, and now catches up.

use std::time::{Duration, Instant};

use super::contender::{self, Cost};
use super::{Servers, meter};
use crate::controller::{ConfigFile, Controller};
use crate::error::{Error, Result};

/// The database's name.
pub const DATABASE: &str = "drain";
/// Row changes that gather.
pub const CHANGES: u32 = 200_000;
const LIMIT: Duration = Duration::from_mins(10);
/// What the last changes leave in the tables.
const LAST: &str = "SELECT array_agg(balance) FROM (SELECT balance FROM account_1 WHERE id = 0 UNION ALL SELECT balance FROM account_2 WHERE id = 0
    UNION ALL SELECT balance FROM account_3 WHERE id = 0 UNION ALL SELECT balance FROM account_4 WHERE id = 0) last";

/// Makes the database.
pub async fn build(servers: &Servers) -> Result<()> {
    servers.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    for part in include_str!("drain.sql").split("\n\n") {
        servers.source.run(DATABASE, part).await?;
    }
    Ok(())
}

/// Who drains: us with so many streams, or the server's own table synchronisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drainer {
    /// pg-migrator.
    Us {
        /// How many subscriptions share the tables.
        streams: u32,
    },
    /// `CREATE SUBSCRIPTION` by hand.
    Native,
}

impl Drainer {
    /// All that are compared. Whether more than one stream is of use depends on the cores.
    pub const ALL: [Self; 4] = [Self::Us { streams: 1 }, Self::Native, Self::Us { streams: 2 }, Self::Us { streams: 4 }];

    /// For the table of results.
    pub fn name(self) -> String {
        match self {
            Self::Us { streams: 1 } => "pg-migrator".to_owned(),
            Self::Us { streams } => format!("pg-migrator, {streams} streams"),
            Self::Native => "native".to_owned(),
        }
    }

    fn config(self, servers: &Servers) -> ConfigFile {
        match self {
            Self::Us { streams } if streams > 1 => contender::config(servers, DATABASE, &[&format!("streams = {streams}")]),
            _ => contender::config(servers, DATABASE, &[]),
        }
    }
}

/// Moves the database, cuts the stream, lets the backlog gather, and measures how long the stream then takes to bring it in.
pub async fn run(drainer: Drainer, servers: &Servers) -> Result<Cost> {
    let (source, destination) = (&servers.source, &servers.destination);
    let mut controller = None;
    if drainer == Drainer::Native {
        contender::subscribe(servers, DATABASE).await?;
        contender::until_streaming(servers, DATABASE).await?;
    } else {
        let mut ours = Controller::started(&drainer.config(servers))?;
        contender::until_streaming(servers, DATABASE).await?;
        ours.stop().await?;
        controller = Some(ours);
    }
    let subscriptions = destination.column(DATABASE, "SELECT quote_ident(subname) FROM pg_subscription").await?;
    for name in &subscriptions {
        destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
    }
    source.run(DATABASE, &format!("CALL change({CHANGES})")).await?;
    let last = source.value(DATABASE, LAST).await?;

    let before = servers.processor_time().await?;
    match &mut controller {
        Some(ours) => ours.start()?,
        None => {
            for name in &subscriptions {
                destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} ENABLE")).await?;
            }
        }
    }
    let client = destination.connect(DATABASE).await?;
    let mut begun = None;
    let started = Instant::now();
    loop {
        let state = crate::cluster::rows(&client, &format!("SELECT bool_or(subenabled), ({LAST}) FROM pg_subscription")).await?;
        let (enabled, n) = (&state[0][0], &state[0][1]);
        if begun.is_none() && enabled == "t" {
            begun = Some(Instant::now());
        }
        if *n == last {
            break;
        }
        if started.elapsed() > LIMIT {
            return Err(Error::Timeout {
                what: "the backlog to drain".to_owned(),
                waited: started.elapsed(),
                state: format!("{state:?}"),
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let time = begun.map_or(started.elapsed(), |at| at.elapsed());
    let mut cost = Cost { time, servers: servers.processor_time().await?.saturating_sub(before), ..Cost::default() };
    if let Some(mut ours) = controller {
        if let Some(pid) = ours.id() {
            (cost.own, cost.memory) = (meter::process(pid)?, meter::peak_memory(pid)?);
        }
        ours.stop().await?;
    }
    contender::clean(servers, DATABASE).await?;
    Ok(cost)
}
