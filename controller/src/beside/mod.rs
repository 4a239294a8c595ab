//! What travels beside the stream, since logical replication does not carry it: the rows of unlogged tables, those of extensions'
//! configuration tables, and large objects.
//!
//! In: a database of which everything else streams. Out: the same content on both sides, at the time of the last look. It is copied
//! once while the stream runs, large objects are brought up to date now and then, and at the cutover, when nobody can write any more,
//! the tables are copied again and the large objects' differences follow. So the block is longer by what the [`Record`] says of the last
//! time.
//!
//! # Layout
//!
//! - [`tables`] and [`large_objects`] know what there is, and how to move it.
//! - A [`Hand`](hand::Hand) moves one thing after the other; a [`Crew`] is several of them and the pair of sessions that looks.
//! - [`record`] is what is kept of it in the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::{TryStreamExt as _, pin_mut};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::gentle::room::Room;
use crate::ledger;
use crate::postgres::{self, Endpoint, Session, retry};

pub mod hand;
pub mod large_objects;
pub mod record;
pub mod tables;

pub use hand::{Failure, Hand, Rate};
pub use record::{Copied, Record};

use large_objects::{BATCH_BYTES, BATCH_OBJECTS, Change, Facts, Terms, Window};
use tables::{Pair, Pairs};

/// Why nothing, or not everything, was copied. What one table or object alone is to blame for is told in the [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server can't be reached.
    #[error(transparent)]
    Connect(#[from] postgres::connect::Error),
    /// A hand lost its sessions.
    #[error(transparent)]
    Hand(#[from] Failure),
    /// Looking failed.
    #[error("looking at what travels beside the stream: {}", retry::message(.0))]
    Look(#[source] tokio_postgres::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Somebody has locked it.
    #[error("looking at what travels beside the stream was given up for {by}")]
    Locked {
        /// The locks, and whose they are.
        by: String,
    },
}

/// What was done.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Outcome {
    /// The tables copied.
    pub tables: BTreeMap<String, Copied>,
    /// Large objects on the source.
    pub objects: u64,
    /// Bytes in them.
    pub object_bytes: u64,
    /// Large objects that were made, changed or dropped.
    pub objects_changed: u64,
    /// How long comparing them took, seconds.
    #[serde(skip)]
    pub compare_seconds: f64,
    /// How the tables of both sides differ, so that they can't be copied.
    #[serde(skip)]
    pub drift: Vec<String>,
    /// What the destination's version of an extension has no place for.
    #[serde(skip)]
    pub left: Vec<String>,
    /// What could not be copied, and why.
    #[serde(skip)]
    pub failures: Vec<(String, String)>,
    /// How long all of it took, seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Whether there was anything at all.
    pub fn is_nothing(&self) -> bool {
        self.tables.is_empty() && self.objects == 0 && self.objects_changed == 0
    }

    /// What keeps both sides from being alike, in words.
    pub fn troubles(&self) -> Vec<String> {
        let failures = self.failures.iter().map(|(object, reason)| format!("{object}: {reason}"));
        self.drift.iter().cloned().chain(failures).collect()
    }
}

/// What somebody else has written to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Tables, by `schema.name`.
    pub tables: Vec<String>,
    /// Whether large objects are among it.
    pub objects: bool,
}

impl Touched {
    /// In words; empty if there is nothing.
    pub fn names(&self) -> Vec<String> {
        let objects = self.objects.then(|| "large objects".to_owned());
        self.tables.iter().cloned().chain(objects).collect()
    }
}

/// A piece of work for a hand.
enum Work {
    Table(Box<Pair>),
    Objects(Vec<Change>),
}

/// Sessions that copy what travels beside the stream of one database.
pub struct Crew {
    source: Endpoint,
    destination: Endpoint,
    database: String,
    rate: Rate,
    ours: Arc<Session>,
    theirs: Session,
    hands: Vec<Hand>,
    /// Where hands that are opened for a single copy have their sessions on the source from.
    room: Option<Arc<Room>>,
}

impl Crew {
    /// Opens the sessions that look; and, where there is something to copy, up to so many hands.
    pub async fn open(
        source: &Endpoint,
        destination: &Endpoint,
        database: &str,
        hands: usize,
        rate: Rate,
    ) -> Result<Self, Error> {
        let ours = Arc::new(source.connect(database).await?);
        Self::over(ours, source, destination, database, hands, rate).await
    }

    /// As above; the session that looks on the source is open.
    pub async fn over(
        ours: Arc<Session>,
        source: &Endpoint,
        destination: &Endpoint,
        database: &str,
        hands: usize,
        rate: Rate,
    ) -> Result<Self, Error> {
        ours.wait_for_no_lock().await.map_err(Error::Look)?;
        let theirs = destination.connect(database).await?;
        for session in [&*ours, &theirs] {
            session.batch_execute("SET work_mem = '64MB'").await.map_err(Error::Look)?;
        }
        let mut crew = Self {
            source: source.clone(),
            destination: destination.clone(),
            database: database.to_owned(),
            rate,
            ours,
            theirs,
            hands: vec![],
            room: None,
        };
        let mut pieces = crew.pairs().await?.pairs.len();
        let batch = BATCH_OBJECTS as i64;
        let objects = "SELECT count(*) FROM (SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT $1) AS few";
        for session in [&*crew.ours, &crew.theirs] {
            let some: i64 = session.query_one(objects, &[&(batch * hands as i64)]).await.map_err(Error::Look)?.get(0);
            pieces += ((some + batch - 1) / batch) as usize;
        }
        crew.employ(hands.min(pieces)).await?;
        Ok(crew)
    }

    /// From now on rows are taken as fast as they come.
    pub fn hurry(&mut self) {
        self.rate = None;
        for hand in &mut self.hands {
            hand.rate = None;
        }
    }

    /// From now on a hand is opened when there is something to copy, and for as long as that takes, as soon as there is a session for it.
    pub fn hire_from(&mut self, room: &Arc<Room>) {
        self.hands.clear();
        self.room = Some(Arc::clone(room));
    }

    async fn employ(&mut self, hands: usize) -> Result<(), Error> {
        while self.hands.len() < hands {
            self.hands.push(Hand::open(&self.source, &self.destination, &self.database, self.rate.clone()).await?);
        }
        Ok(())
    }

    /// The tables of both sides.
    pub async fn pairs(&self) -> Result<Pairs, Error> {
        let (ours, theirs) = tokio::join!(tables::read(&self.ours), tables::read(&self.theirs));
        Ok(tables::pair(ours.map_err(Error::Look)?, theirs.map_err(Error::Look)?))
    }

    /// What somebody else has written to on the destination since we left it, in words: tables by `schema.name`, and the large objects.
    /// A table that was emptied counts too.
    pub async fn touched(&self, record: &Record) -> Result<Touched, Error> {
        let Some(left) = record.left else { return Ok(Touched::default()) };
        let (_, next) = running(&self.theirs).await?;
        let window = Window::new(left, next);
        let mut touched = Touched::default();
        for pair in self.pairs().await?.pairs {
            let row = self.theirs.query_one(&pair.touch_query(window), &[]).await.map_err(Error::Look)?;
            let (rows, written): (i64, i64) = (row.get(0), row.get(1));
            let copied = record.tables.get(&pair.label()).map_or(0, |copied| copied.rows);
            if written > 0 || rows as u64 != copied {
                touched.tables.push(pair.label());
            }
        }
        let row = self.theirs.query_one(&large_objects::touch_query(window), &[]).await.map_err(Error::Look)?;
        touched.objects = row.get(1) || row.get::<_, i64>(0) as u64 != record.objects;
        Ok(touched)
    }

    /// Copies the tables that `chosen` picks, and with `objects` brings the large objects up to date; and brings the record up to
    /// date with it.
    pub async fn refresh(
        &mut self,
        control: &Client,
        mapping: &str,
        chosen: impl Fn(&Record, &Pair) -> bool,
        objects: bool,
    ) -> Result<(Record, Outcome), Error> {
        let began = Instant::now();
        let mut record = Record::load(control, mapping, &self.database).await?;
        let (first, next) = running(&self.ours).await?;
        let since = if let Some(since) = record.since {
            since
        } else {
            // Before anything is copied: what is written from here on is known to a controller that follows us.
            record.since = Some(first);
            record.save(control, mapping, &self.database).await?;
            first
        };
        let mut pairs = self.pairs().await?;
        record.tables.retain(|label, _| pairs.pairs.iter().any(|p| p.label() == *label));
        pairs.pairs.retain(|p| chosen(&record, p));
        let (page, other) = tokio::join!(large_objects::page_size(&self.ours), large_objects::page_size(&self.theirs));
        let page = page.map_err(Error::Look)?;
        let same_pages = page == other.map_err(Error::Look)?;
        let terms = Terms { window: Some(Window::new(since, next)), page, same_pages };
        // Their pages can be read by few: nobody needs to where there are none.
        let looks = objects && (any_objects(&self.ours).await? || any_objects(&self.theirs).await?);
        let mut seat = None;
        if looks || !pairs.pairs.is_empty() {
            if let Some(room) = self.room.as_ref().filter(|_| self.hands.is_empty()) {
                seat = Some(room.seats(1).await);
            }
            self.employ(1).await?;
        }
        let outcome = self.run(pairs, looks.then_some(terms)).await;
        if seat.is_some() {
            self.hands.clear();
        }
        drop(seat);
        let mut outcome = outcome?;
        if objects && outcome.failures.is_empty() {
            record.since = Some(first);
        }
        record.tables.extend(outcome.tables.iter().map(|(label, copied)| (label.clone(), *copied)));
        if objects {
            record.objects = outcome.objects;
            record.object_bytes = outcome.object_bytes;
            record.compare_seconds = outcome.compare_seconds;
        }
        let row =
            self.theirs.query_one("SELECT pg_catalog.to_char(pg_catalog.clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS TZ')", &[]);
        record.at = row.await.map_err(Error::Look)?.get(0);
        record.left = Some(running(&self.theirs).await?.1);
        record.save(control, mapping, &self.database).await?;
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok((record, outcome))
    }

    async fn run(&mut self, pairs: Pairs, terms: Option<Terms>) -> Result<Outcome, Error> {
        let mut outcome = Outcome { drift: pairs.drift, left: pairs.left, ..Outcome::default() };
        // A few pieces ahead of the hands, no more: there may be millions of objects.
        let (queue, work) = mpsc::channel((2 * self.hands.len()).max(1));
        let work = Mutex::new(work);
        let (ours, theirs) = (&self.ours, &self.theirs);
        let producing = produce(ours, theirs, pairs.pairs, terms, queue);
        let working = try_join_all(self.hands.iter_mut().map(|hand| toil(hand, &work, terms.as_ref())));
        let (looked, done) = tokio::try_join!(producing, working)?;
        outcome.objects = looked.objects;
        outcome.object_bytes = looked.bytes;
        outcome.compare_seconds = looked.seconds;
        outcome.objects_changed = looked.changed;
        for done in done {
            outcome.tables.extend(done.tables);
            outcome.failures.extend(done.failures);
        }
        Ok(outcome)
    }
}

/// How things stand with what was copied before, when nothing is to be copied now: what is known of it, and why it is not enough, in words.
pub async fn standing(
    source: &Client,
    destination: &Client,
    control: &Client,
    mapping: &str,
    database: &str,
) -> Result<(Record, Vec<String>), Error> {
    let (ours, theirs) = tokio::try_join!(tables::read(source), tables::read(destination)).map_err(Error::Look)?;
    let Pairs { pairs, drift, .. } = tables::pair(ours, theirs);
    let has_objects = any_objects(source).await?;
    let record = Record::load(control, mapping, database).await?;
    let lacking = record.lacking(pairs.iter().map(Pair::label), has_objects);
    Ok((record, drift.into_iter().chain(lacking.into_iter().map(|what| format!("{what} has not been copied yet"))).collect()))
}

/// Whether there are large objects.
async fn any_objects(client: &Client) -> Result<bool, Error> {
    let any = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)";
    Ok(client.query_one(any, &[]).await.map_err(Error::Look)?.get(0))
}

/// The oldest transaction that runs, and the one that will begin next.
async fn running(client: &Client) -> Result<(i64, i64), Error> {
    let row = client
        .query_one("SELECT txid_snapshot_xmin(s), txid_snapshot_xmax(s) FROM txid_current_snapshot() AS s", &[])
        .await
        .map_err(Error::Look)?;
    Ok((row.get(0), row.get(1)))
}

#[derive(Default)]
struct Looked {
    objects: u64,
    bytes: u64,
    changed: u64,
    seconds: f64,
}

/// Hands out the tables, then, on the terms given, what differs of the large objects.
async fn produce(
    ours: &Session,
    theirs: &Session,
    pairs: Vec<Pair>,
    terms: Option<Terms>,
    queue: mpsc::Sender<Work>,
) -> Result<Looked, Error> {
    for pair in pairs {
        if queue.send(Work::Table(Box::new(pair))).await.is_err() {
            // The hands are gone: their error is what counts.
            return Ok(Looked::default());
        }
    }
    let Some(terms) = terms else { return Ok(Looked::default()) };
    let began = Instant::now();
    let (first, count) = terms.window.map(|w| (w.first, w.count)).unzip();
    let all = None::<Vec<u32>>;
    let windowed: [&(dyn ToSql + Sync); 3] = [&all, &first, &count];
    let plain: [&(dyn ToSql + Sync); 3] = [&all, &None::<i64>, &None::<i64>];
    let (ours, theirs) =
        tokio::try_join!(ours.query_raw(large_objects::FACTS, windowed), theirs.query_raw(large_objects::FACTS, plain))
            .map_err(Error::Look)?;
    pin_mut!(ours, theirs);
    let read = |row: Option<Row>| row.map(|row| Facts::read(&row)).transpose();
    let mut looked = Looked::default();
    let mut batch = Vec::new();
    let mut bytes = 0;
    let (mut here, mut there) =
        tokio::try_join!(ours.try_next(), theirs.try_next()).and_then(|(a, b)| Ok((read(a)?, read(b)?))).map_err(Error::Look)?;
    while here.is_some() || there.is_some() {
        // The lower number of the two, or both where it is the same.
        let takes = |a: &Option<Facts>, b: &Option<Facts>| a.as_ref().is_some_and(|a| b.as_ref().is_none_or(|b| a.oid <= b.oid));
        let (first, second) = (takes(&here, &there), takes(&there, &here));
        let source = if first { here.take() } else { None };
        let destination = if second { there.take() } else { None };
        if let Some(facts) = &source {
            looked.objects += 1;
            looked.bytes += facts.bytes as u64;
        }
        if let Some(change) = large_objects::judge(source.as_ref(), destination.as_ref(), terms.same_pages) {
            looked.changed += 1;
            if bytes + change.bytes > BATCH_BYTES || batch.len() >= BATCH_OBJECTS {
                bytes = 0;
                if queue.send(Work::Objects(std::mem::take(&mut batch))).await.is_err() {
                    return Ok(looked);
                }
            }
            bytes += change.bytes;
            batch.push(change);
        }
        if first {
            here = ours.try_next().await.and_then(read).map_err(Error::Look)?;
        }
        if second {
            there = theirs.try_next().await.and_then(read).map_err(Error::Look)?;
        }
    }
    looked.seconds = began.elapsed().as_secs_f64();
    // When it can't be sent, the hands are gone, and their error is what counts.
    let _ = queue.send(Work::Objects(batch)).await;
    Ok(looked)
}

#[derive(Default)]
struct Done {
    tables: BTreeMap<String, Copied>,
    failures: Vec<(String, String)>,
}

/// Does one piece of work after the other. What fails for its own reasons keeps nothing else from being done.
async fn toil(hand: &mut Hand, work: &Mutex<mpsc::Receiver<Work>>, terms: Option<&Terms>) -> Result<Done, Error> {
    let mut done = Done::default();
    loop {
        let next = work.lock().await.recv().await;
        let Some(piece) = next else { return Ok(done) };
        let began = Instant::now();
        let (what, result) = match piece {
            Work::Table(pair) => {
                let label = pair.label();
                let result = pair.copy(hand).await;
                if let Ok(moved) = &result {
                    let seconds = began.elapsed().as_secs_f64();
                    tracing::debug!(table = label, rows = moved.rows, seconds, "copied beside the stream");
                    done.tables.insert(label.clone(), Copied { rows: moved.rows, bytes: moved.bytes, seconds });
                }
                (label, result.map(drop))
            }
            Work::Objects(batch) => {
                let Some(terms) = terms.filter(|_| !batch.is_empty()) else { continue };
                let what = format!("large objects {} to {}", batch[0].oid, batch[batch.len() - 1].oid);
                let result = large_objects::apply(hand, &batch, *terms).await;
                if let Ok(bytes) = &result {
                    tracing::debug!(what, bytes, "carried beside the stream");
                }
                (what, result.map(drop))
            }
        };
        match result {
            Ok(()) => {}
            Err(Failure::Object(reason)) => {
                hand.give_up().await?;
                done.failures.push((what, reason));
            }
            Err(lost) => return Err(lost.into()),
        }
    }
}
