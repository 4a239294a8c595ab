//! Draining a backlog: the destination was away while 200,000 rows changed, and now catches up.

use std::time::{Duration, Instant};

use super::contender::{self, Contender, Cost};
use super::{Servers, meter};
use crate::controller::Controller;
use crate::error::{Error, Result};

/// The database's name.
pub const DATABASE: &str = "drain";
/// Row changes that gather.
pub const CHANGES: u32 = 200_000;
const LIMIT: Duration = Duration::from_mins(10);

/// Makes the database.
pub async fn build(servers: &Servers) -> Result<()> {
    servers.source.run("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
    for part in include_str!("drain.sql").split("\n\n") {
        servers.source.run(DATABASE, part).await?;
    }
    Ok(())
}

/// Moves the database, cuts the stream, lets the backlog gather, and measures how long the stream then takes to bring it in.
pub async fn run(contender: Contender, servers: &Servers) -> Result<Cost> {
    let (source, destination) = (&servers.source, &servers.destination);
    let mut controller = None;
    if contender == Contender::Us {
        let mut ours = Controller::started(&contender::config(servers, DATABASE))?;
        contender::until_streaming(servers, DATABASE).await?;
        ours.stop().await?;
        controller = Some(ours);
    } else {
        contender::subscribe(servers, DATABASE).await?;
        contender::until_streaming(servers, DATABASE).await?;
    }
    let name = destination.value(DATABASE, "SELECT quote_ident(subname) FROM pg_subscription").await?;
    destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
    source.run(DATABASE, &format!("CALL change({CHANGES})")).await?;
    let last = source.value(DATABASE, "SELECT n FROM last_change").await?;

    let before = servers.processor_time().await?;
    match &mut controller {
        Some(ours) => ours.start()?,
        None => destination.run(DATABASE, &format!("ALTER SUBSCRIPTION {name} ENABLE")).await?,
    }
    let client = destination.connect(DATABASE).await?;
    let mut begun = None;
    let started = Instant::now();
    loop {
        let state = crate::cluster::rows(&client, "SELECT subenabled, (SELECT n FROM last_change) FROM pg_subscription").await?;
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
