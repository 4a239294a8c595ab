//! The independent ledger: what the source has acknowledged to the writers, and whether a server still knows it.
//!
//! Each writer numbers its transactions. Transaction `n` inserts the entry `(writer, n)`, sets the writer's counter to `n`, moves money
//! between two accounts, and every [`FORGETS`]th deletes the entry before the last. A writer whose connection breaks while a transaction is
//! under way can't know its outcome: it notes it as unknown, connects anew and goes on with the next number. So of any server that claims
//! to hold everything can be told whether it does: from the entries that are there, without trusting another server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::cluster::{Cluster, rows};
use crate::error::{Error, Result, server_words};

/// Writers of a round.
const WRITERS: u32 = 3;
/// Every so manieth transaction of a writer deletes an entry.
const FORGETS: u64 = 5;
/// Accounts between which money moves; each begins with [`BALANCE`].
const ACCOUNTS: u32 = 100;
/// What is in each account at first.
const BALANCE: u64 = 1000;
/// A writer that can't connect tries again after this long.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The tables that the writers need, empty but for accounts and counters.
pub fn schema() -> String {
    format!(
        "CREATE SCHEMA ledger;
         CREATE TABLE ledger.entry (writer integer NOT NULL, n bigint NOT NULL, body text NOT NULL, PRIMARY KEY (writer, n));
         CREATE TABLE ledger.counter (writer integer PRIMARY KEY, n bigint NOT NULL);
         CREATE TABLE ledger.account (id integer PRIMARY KEY, balance bigint NOT NULL);
         -- No key: found by all of its columns.
         CREATE TABLE ledger.trace (writer integer, n bigint);
         INSERT INTO ledger.counter SELECT w, 0 FROM generate_series(1, {WRITERS}) w;
         INSERT INTO ledger.account SELECT a, {BALANCE} FROM generate_series(1, {ACCOUNTS}) a;"
    )
}

/// What one writer knows.
#[derive(Debug, Default, Clone)]
struct Notes {
    /// Numbers of the transactions that the server acknowledged.
    acknowledged: BTreeSet<u64>,
    /// Numbers of those whose answer was lost.
    unknown: BTreeSet<u64>,
    /// How often the server refused a transaction, which then has not taken place.
    refused: u64,
}

/// Running writers.
#[derive(Debug)]
pub struct Ledger {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Result<Notes>>>,
}

/// What all writers know, after they have stopped.
#[derive(Debug)]
pub struct Account {
    writers: BTreeMap<u32, Notes>,
}

impl Ledger {
    /// Starts the writers in a database of the source.
    pub fn start(source: &Cluster, database: &str, seed: u64, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (1..=WRITERS)
            .map(|writer| {
                let address =
                    Address { port: source.port(), password: source.password().to_owned(), database: database.to_owned() };
                let random = StdRng::seed_from_u64(seed.wrapping_add(u64::from(writer)));
                tokio::spawn(write(address, writer, random, pause, Arc::clone(&stop)))
            })
            .collect();
        Self { stop, tasks }
    }

    /// Stops the writers after their current transactions.
    pub async fn stop(self) -> Result<Account> {
        self.stop.store(true, Ordering::SeqCst);
        let mut writers = BTreeMap::new();
        for (writer, task) in (1..).zip(self.tasks) {
            let notes = task.await.map_err(|error| Error::Broken(format!("writer {writer} ended: {error}")))??;
            writers.insert(writer, notes);
        }
        Ok(Account { writers })
    }
}

#[derive(Debug)]
struct Address {
    port: u16,
    password: String,
    database: String,
}

impl Address {
    async fn connect(&self) -> Option<Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .password(&self.password)
            .dbname(&self.database)
            .application_name("writer")
            .connect_timeout(Duration::from_secs(5));
        // Whatever is wrong is tried again: servers go away in these scenarios, and come back.
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }
}

/// How a transaction ended.
enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
    /// The server has said something that no fault explains.
    Broken(String),
}

async fn write(address: Address, writer: u32, mut random: StdRng, pause: Duration, stop: Arc<AtomicBool>) -> Result<Notes> {
    let mut notes = Notes::default();
    let mut client = None;
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        let Some(open) = &client else {
            client = address.connect().await;
            if client.is_none() {
                tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
            }
            continue;
        };
        n += 1;
        match attempt(open, &transaction(writer, n, &mut random)).await {
            Outcome::Acknowledged => {
                notes.acknowledged.insert(n);
            }
            Outcome::Refused => {
                notes.refused += 1;
                // A session that began while writes were blocked would never get any further.
                client = None;
                tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
            }
            Outcome::Unknown => {
                notes.unknown.insert(n);
                client = None;
            }
            Outcome::Broken(words) => return Err(Error::Broken(format!("writer {writer}, transaction {n}: {words}"))),
        }
        tokio::time::sleep(pause).await;
    }
    Ok(notes)
}

/// What transaction `n` of a writer does.
fn transaction(writer: u32, n: u64, random: &mut StdRng) -> String {
    let (from, to) = (random.random_range(1..=ACCOUNTS), random.random_range(1..=ACCOUNTS));
    let amount = random.random_range(1..50);
    let forget = if n.is_multiple_of(FORGETS) {
        let (gone, traced) = (n - 2, n - 1);
        format!(
            "DELETE FROM ledger.entry WHERE writer = {writer} AND n = {gone};
             DELETE FROM ledger.trace WHERE writer = {writer} AND n < {traced};"
        )
    } else {
        String::new()
    };
    format!(
        "BEGIN;
         INSERT INTO ledger.entry VALUES ({writer}, {n}, md5('{writer}-{n}'));
         INSERT INTO ledger.trace VALUES ({writer}, {n});
         UPDATE ledger.counter SET n = {n} WHERE writer = {writer};
         UPDATE ledger.account SET balance = balance + CASE id WHEN {from} THEN -{amount} ELSE {amount} END
             WHERE id IN (SELECT id FROM ledger.account WHERE id IN ({from}, {to}) AND {from} <> {to} ORDER BY id FOR UPDATE);
         {forget}
         COMMIT"
    )
}

async fn attempt(client: &Client, sql: &str) -> Outcome {
    let Err(error) = client.batch_execute(sql).await else { return Outcome::Acknowledged };
    let Some(db) = error.as_db_error() else { return Outcome::Unknown };
    let is_over = matches!(&db.code().code()[..2], "08" | "57") || db.severity() == "FATAL" || db.severity() == "PANIC";
    if is_over {
        // The connection ends with these words, perhaps after the commit.
        return Outcome::Unknown;
    }
    let expected = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    if expected.contains(db.code()) { Outcome::Refused } else { Outcome::Broken(server_words(&error)) }
}

impl Account {
    /// How many transactions were acknowledged, and how many answers were lost.
    pub fn totals(&self) -> (usize, usize) {
        self.writers
            .values()
            .fold((0, 0), |(known, unknown), notes| (known + notes.acknowledged.len(), unknown + notes.unknown.len()))
    }

    /// Whether a server holds everything that was acknowledged, nothing that was not written, and no half of a transaction. All that is
    /// wrong, in words.
    pub async fn wrongs(&self, cluster: &Cluster, database: &str) -> Result<Vec<String>> {
        let client = cluster.connect(database).await?;
        let mut wrongs = Vec::new();
        for (writer, notes) in &self.writers {
            let sql = format!("SELECT n, body = md5('{writer}-' || n) FROM ledger.entry WHERE writer = {writer}");
            let mut present = BTreeSet::new();
            for row in rows(&client, &sql).await? {
                let n = row[0].parse().map_err(|_| Error::Broken(format!("{} is not a number", row[0])))?;
                if row[1] != "t" {
                    wrongs.push(format!("entry {n} of writer {writer} has another body"));
                }
                present.insert(n);
            }
            let counter = rows(&client, &format!("SELECT n FROM ledger.counter WHERE writer = {writer}")).await?;
            let counter = counter.first().and_then(|row| row[0].parse().ok());
            wrongs.extend(notes.wrongs(&present, counter).into_iter().map(|wrong| format!("writer {writer}: {wrong}")));
        }
        let total = rows(&client, "SELECT sum(balance) FROM ledger.account").await?;
        let expected = (u64::from(ACCOUNTS) * BALANCE).to_string();
        if total[0][0] != expected {
            wrongs.push(format!("the accounts hold {} instead of {expected}: half of a transaction is there", total[0][0]));
        }
        Ok(wrongs)
    }
}

impl Notes {
    /// Compares the entries that are there, and the counter, with what was acknowledged.
    fn wrongs(&self, present: &BTreeSet<u64>, counter: Option<u64>) -> Vec<String> {
        let mut wrongs = Vec::new();
        // The transaction that deletes an entry is the next one but one; it has an entry of its own, which is deleted by none.
        let deleter = |n: u64| Some(n + 2).filter(|d| d.is_multiple_of(FORGETS));
        let took_place = |n: u64| match deleter(n) {
            Some(deleter) => present.contains(&n) || present.contains(&deleter),
            None => present.contains(&n),
        };
        for n in &self.acknowledged {
            if !took_place(*n) {
                wrongs.push(format!("transaction {n} was acknowledged and is lost"));
            }
        }
        for n in present {
            if !self.acknowledged.contains(n) && !self.unknown.contains(n) {
                wrongs.push(format!("transaction {n} was refused and is there"));
            }
            if let Some(deleter) = deleter(*n)
                && present.contains(&deleter)
            {
                wrongs.push(format!("transaction {deleter} is there, and what it deleted as well: {n}"));
            }
        }
        let last = present.last().copied().unwrap_or(0);
        // The last entry is never a deleted one: whoever deletes it comes later.
        if counter != Some(last) {
            wrongs.push(format!("the counter says {counter:?} and the last entry is {last}"));
        }
        wrongs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(acknowledged: &[u64], unknown: &[u64]) -> Notes {
        Notes { acknowledged: acknowledged.iter().copied().collect(), unknown: unknown.iter().copied().collect(), refused: 0 }
    }

    fn wrongs(notes: &Notes, present: &[u64], counter: u64) -> Vec<String> {
        notes.wrongs(&present.iter().copied().collect(), Some(counter))
    }

    #[test]
    fn everything_that_was_acknowledged_must_be_there_or_deleted_by_its_deleter() {
        let notes = notes(&[1, 2, 3, 4, 5], &[]);
        assert!(wrongs(&notes, &[1, 2, 4, 5], 5).is_empty());
        assert_eq!(wrongs(&notes, &[1, 4, 5], 5), ["transaction 2 was acknowledged and is lost"]);
        assert_eq!(wrongs(&notes, &[1, 2, 3, 4, 5], 5), ["transaction 5 is there, and what it deleted as well: 3"]);
        assert_eq!(wrongs(&notes, &[1, 2, 4], 4).len(), 2, "5 is lost, and with it 3");
    }

    #[test]
    fn an_unknown_transaction_may_be_there_or_not_and_a_refused_one_may_not() {
        let notes = notes(&[1, 2], &[3]);
        assert!(wrongs(&notes, &[1, 2], 2).is_empty());
        assert!(wrongs(&notes, &[1, 2, 3], 3).is_empty());
        assert_eq!(wrongs(&notes, &[1, 2, 3, 4], 4), ["transaction 4 was refused and is there"]);
    }

    #[test]
    fn a_counter_that_does_not_fit_the_entries_is_half_a_transaction() {
        assert_eq!(wrongs(&notes(&[1, 2], &[]), &[1, 2], 1), ["the counter says Some(1) and the last entry is 2"]);
    }
}
