//! One watcher a control database: connects, reads every second, and keeps the last news where reading fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::ControlDatabase;
use crate::read::{self, Mapping};

/// How often a control database is read.
const PERIOD: Duration = Duration::from_secs(1);
/// How long connecting or reading may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// News older than this is marked as old.
const FRESH: Duration = Duration::from_secs(5);

/// What is known from one control database.
#[derive(Clone)]
pub struct News {
    /// The destination instance that holds it.
    pub name: Arc<str>,
    /// The last that was read; `None` before the first success.
    pub mappings: Option<Arc<Vec<Mapping>>>,
    /// Why the last attempt failed, if it did.
    pub problem: Option<Arc<str>>,
    read_at: Option<Instant>,
    watched_since: Instant,
    client: Option<Arc<Client>>,
}

impl News {
    /// How long nothing has been heard: since the last success, or since watching began.
    pub fn age(&self) -> Duration {
        self.read_at.unwrap_or(self.watched_since).elapsed()
    }

    /// Whether what is shown can be taken for the present.
    pub fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() <= FRESH)
    }

    /// The connection that the news comes through, while there is one.
    pub fn client(&self) -> Option<Arc<Client>> {
        self.client.clone()
    }
}

/// The news of all control databases; every change is announced.
pub type Feed = watch::Receiver<Vec<News>>;

/// Starts a watcher for each control database; they end when `stopping` turns true.
pub fn start(databases: Vec<ControlDatabase>, stopping: &watch::Receiver<bool>) -> Feed {
    let empty = databases.iter().map(|database| News {
        name: database.name.as_str().into(),
        mappings: None,
        problem: None,
        read_at: None,
        watched_since: Instant::now(),
        client: None,
    });
    let (news, feed) = watch::channel(empty.collect());
    let news = Arc::new(news);
    for (place, database) in databases.into_iter().enumerate() {
        let mut stopping = stopping.clone();
        let watching = watch_one(place, database, Arc::clone(&news));
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                // An error means that nobody serves any more, which is the same to us.
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        });
    }
    feed
}

async fn watch_one(place: usize, database: ControlDatabase, news: Arc<watch::Sender<Vec<News>>>) {
    let mut pause = PERIOD;
    let mut told = String::new();
    loop {
        let problem = match connect(&database).await {
            Ok(client) => {
                let client = Arc::new(client);
                let problem = read_until_failure(place, &client, &news, &mut pause).await;
                news.send_modify(|all| all[place].client = None);
                problem
            }
            Err(problem) => problem,
        };
        // The page says how long it lasts; the log need not say it every few seconds.
        // Where it went well meanwhile, `pause` has been reset.
        if problem != told || pause == PERIOD {
            tracing::warn!(control_database = %database.name, %problem, "the dashboard can't read a control database; trying again");
            told.clone_from(&problem);
        }
        news.send_modify(|all| all[place].problem = Some(problem.as_str().into()));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(database: &ControlDatabase) -> Result<Client, String> {
    let client = match timeout(PATIENCE, (database.connect)()).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(chain(error.as_ref())),
        Err(_) => {
            return Err(format!("connecting took longer than {} s", PATIENCE.as_secs()));
        }
    };
    // The dashboard writes nothing; the server shall see to it. The name of a schema is always given in the queries.
    let settings = "SET default_transaction_read_only = on; SET statement_timeout = '10s'; SET search_path = pg_catalog, pg_temp";
    match timeout(PATIENCE, client.batch_execute(settings)).await {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("setting up the session took longer than {} s", PATIENCE.as_secs())),
    }
}

/// Reads for as long as it goes well, and gives what went wrong then.
async fn read_until_failure(place: usize, client: &Arc<Client>, news: &watch::Sender<Vec<News>>, pause: &mut Duration) -> String {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mappings = match timeout(PATIENCE, read::mappings(client)).await {
            Ok(Ok(mappings)) => Arc::new(mappings),
            Ok(Err(error)) => return chain(&error),
            Err(_) => return format!("no answer within {} s", PATIENCE.as_secs()),
        };
        *pause = PERIOD;
        news.send_modify(|all| {
            let own = &mut all[place];
            own.mappings = Some(mappings);
            own.problem = None;
            own.read_at = Some(Instant::now());
            own.client = Some(Arc::clone(client));
        });
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = words(inner);
        // Some errors repeat their cause in their own words.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

/// What an error says by itself; of a server's answer, the message alone.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let answer = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error);
    match answer.or_else(|| error.downcast_ref()) {
        Some(answer) => answer.message().to_owned(),
        None => error.to_string(),
    }
}
