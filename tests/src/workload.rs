//! Live writers: they change every table of a database, from a file of statements, until they are stopped.
//!
//! # The file
//!
//! ```sql
//! -- writer orders
//! INSERT INTO shop.orders (customer) VALUES (1 + :{500});
//!
//! UPDATE shop.orders SET state = 'paid' WHERE id = 1 + :{500};
//! DELETE FROM shop.orders WHERE id = 1 + :{5000};
//!
//! -- writer notes from 11
//! …
//! ```
//!
//! Each writer has a connection of its own and picks one of its blocks at random again and again. Blocks are separated by
//! empty lines; all statements of a block are one transaction. `:{n}` becomes a random number from 0 to n-1. `from 11` leaves
//! the writer out on servers before that major version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;

use crate::cluster::Cluster;
use crate::error::{Error, Result, server_words};

/// Writers as a file describes them.
#[derive(Debug, Clone)]
pub struct Writers {
    writers: Vec<Writer>,
}

#[derive(Debug, Clone)]
struct Writer {
    name: String,
    blocks: Vec<String>,
}

impl Writers {
    /// Reads a file's text, leaving out what this major version can't run.
    pub fn parse(text: &str, major: u32) -> Result<Self> {
        let mut writers: Vec<Writer> = Vec::new();
        let mut skipping = true;
        for line in text.lines() {
            if let Some(header) = line.strip_prefix("-- writer ") {
                let (name, from) = match header.split_once(" from ") {
                    Some((name, from)) => (name, from.trim().parse::<u32>().ok()),
                    None => (header, Some(10)),
                };
                let from = from.ok_or_else(|| Error::Broken(format!("no major version in: {line}")))?;
                skipping = major < from;
                if !skipping {
                    writers.push(Writer { name: name.trim().to_owned(), blocks: vec![String::new()] });
                }
                continue;
            }
            if skipping || line.starts_with("--") {
                continue;
            }
            let Some(writer) = writers.last_mut() else { continue };
            if line.trim().is_empty() {
                writer.blocks.push(String::new());
            } else if let Some(block) = writer.blocks.last_mut() {
                block.push_str(line);
                block.push('\n');
            }
        }
        for writer in &mut writers {
            writer.blocks.retain(|block| !block.is_empty());
            if writer.blocks.is_empty() {
                return Err(Error::Broken(format!("writer {} has no statements", writer.name)));
            }
        }
        Ok(Self { writers })
    }
}

/// Running writers.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<(String, Tally)>>>,
}

/// What one writer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that the server refused as one expects of concurrent writers: keys, deadlocks.
    pub refused: u64,
    /// Whether the server stopped it, as a cutover does.
    pub cut_off: bool,
}

impl Workload {
    /// Starts the writers on a database: the same seed gives each writer the same sequence of statements. Each pauses for
    /// `pause` between transactions.
    pub async fn start(cluster: &Cluster, database: &str, writers: &Writers, seed: u64, pause: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (number, writer) in writers.writers.iter().enumerate() {
            let client = cluster.connect(database).await?;
            let task = write(client, writer.clone(), StdRng::seed_from_u64(seed + number as u64), pause, Arc::clone(&stop));
            tasks.push(tokio::spawn(task));
        }
        Ok(Self { stop, tasks })
    }

    /// How many writers there are.
    pub fn writers(&self) -> usize {
        self.tasks.len()
    }

    /// Stops the writers after their current transactions; what each did. Fails if one met an error that it should not have,
    /// or never committed anything.
    pub async fn stop(self) -> Result<BTreeMap<String, Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tallies = BTreeMap::new();
        for task in self.tasks {
            let (name, tally) = task.await.map_err(|error| Error::Broken(format!("a writer ended: {error}")))??;
            if tally.committed == 0 {
                return Err(Error::Broken(format!("writer {name} never committed anything")));
            }
            tallies.insert(name, tally);
        }
        Ok(tallies)
    }
}

async fn write(
    client: tokio_postgres::Client,
    writer: Writer,
    mut random: StdRng,
    pause: Duration,
    stop: Arc<AtomicBool>,
) -> Result<(String, Tally)> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let block = &writer.blocks[random.random_range(0..writer.blocks.len())];
        let sql = filled(block, &mut random)?;
        match client.batch_execute(&sql).await {
            Ok(()) => tally.committed += 1,
            Err(error) => match reaction(&error) {
                Reaction::GoOn => tally.refused += 1,
                Reaction::CutOff => {
                    tally.cut_off = true;
                    break;
                }
                Reaction::Fail => {
                    return Err(Error::Broken(format!("writer {}: {}: {sql}", writer.name, server_words(&error))));
                }
            },
        }
        tokio::time::sleep(pause).await;
    }
    Ok((writer.name, tally))
}

enum Reaction {
    GoOn,
    CutOff,
    Fail,
}

fn reaction(error: &tokio_postgres::Error) -> Reaction {
    if error.is_closed() {
        return Reaction::CutOff;
    }
    let Some(code) = error.code() else {
        // Not the server's words but a broken connection.
        return Reaction::CutOff;
    };
    let cut_off = [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
    let expected = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
        SqlState::EXCLUSION_VIOLATION,
    ];
    if cut_off.contains(code) {
        Reaction::CutOff
    } else if expected.contains(code) {
        Reaction::GoOn
    } else {
        Reaction::Fail
    }
}

/// Puts a random number in each `:{n}`.
fn filled(block: &str, random: &mut StdRng) -> Result<String> {
    let mut sql = String::with_capacity(block.len());
    let mut rest = block;
    while let Some(begin) = rest.find(":{") {
        let (before, after) = rest.split_at(begin);
        let unreadable = || Error::Broken(format!("unreadable :{{n}} in: {block}"));
        let end = after.find('}').ok_or_else(unreadable)?;
        let below: u64 = after[2..end].parse().map_err(|_| unreadable())?;
        sql.push_str(before);
        sql.push_str(&random.random_range(0..below.max(1)).to_string());
        rest = &after[end + 1..];
    }
    sql.push_str(rest);
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_writers_and_their_blocks() {
        let text = "-- heading\n\n-- writer a\nSELECT 1;\nSELECT 2;\n\nSELECT 3;\n\n-- writer b from 12\nSELECT 4;\n";
        let old = Writers::parse(text, 11).expect("readable");
        assert_eq!(old.writers.len(), 1);
        assert_eq!(old.writers[0].blocks, ["SELECT 1;\nSELECT 2;\n", "SELECT 3;\n"]);
        assert_eq!(Writers::parse(text, 12).expect("readable").writers.len(), 2);
    }

    #[test]
    fn the_same_seed_gives_the_same_statements() {
        let fill = || filled("SELECT :{1000}, :{1}", &mut StdRng::seed_from_u64(7)).expect("readable");
        assert_eq!(fill(), fill());
        assert!(fill().ends_with(", 0"));
    }
}
