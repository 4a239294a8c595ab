//! The dashboard: reads the views of the control databases and shows them in a browser, live.
//!
//! # Layout
//!
//! - `feed.rs` – one watcher a control database; connects, reads every second, keeps the last news when it fails
//! - `read/` – the queries (`.sql`) and the rows they give; nothing else here talks to a server
//! - `routes/` – one file a page or resource; `templates/` and `assets/` are what they send
//! - `view/` – rows turned into what a template shows: words, sizes, times, the next action
//! - `guard.rs` – which requests are answered at all, and the headers every answer carries
//!
//! Data flows one way: views of schema `migrator` → `read` → `feed` → `view` → `routes` → browser. Nothing is ever written.

#![allow(clippy::struct_field_names, reason = "fields are named as the columns of the views are")]

mod feed;
mod format;
mod guard;
mod read;
mod routes;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Opens a connection to a control database and keeps it driven; the dashboard asks again whenever the last one is gone.
pub type Connector =
    Arc<dyn Fn() -> BoxFuture<'static, Result<tokio_postgres::Client, Box<dyn std::error::Error + Send + Sync>>> + Send + Sync>;

/// A control database to show.
#[derive(Clone)]
pub struct ControlDatabase {
    /// The name of the destination instance that holds it, as in the configuration.
    pub name: String,
    /// How to reach it. The connection needs no more than what `pg_monitor` may read.
    pub connect: Connector,
}

/// Why the dashboard could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening socket has no address to check requests against.
    #[error("the dashboard's listening address could not be read")]
    Address(#[source] std::io::Error),
    /// Accepting connections failed for good.
    #[error("the dashboard on {address} stopped answering")]
    Serve {
        /// Where it listened.
        address: std::net::SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// How long open answers (event streams among them) may take to end once `shutdown` has come.
const GRACE: Duration = Duration::from_secs(3);

/// Serves the dashboard on `listener` until `shutdown` is done.
///
/// A control database that can't be reached hides nothing of the others: its last news stays on the page, marked as old.
pub async fn serve(
    listener: TcpListener,
    databases: Vec<ControlDatabase>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Address)?;
    let (stop, stopping) = watch::channel(false);
    let feed = feed::start(databases, &stopping);
    let app = routes::router(routes::App { feed, stopping: stopping.clone() }, address.ip());

    let asked_to_stop = async move {
        shutdown.await;
        // Nobody listening any more is as good as everybody having heard it.
        stop.send(true).ok();
    };
    let mut stopping_too = stopping;
    let out_of_patience = async move {
        stopping_too.wait_for(|stop| *stop).await.ok();
        tokio::time::sleep(GRACE).await;
    };
    let serving = std::future::IntoFuture::into_future(axum::serve(listener, app).with_graceful_shutdown(asked_to_stop));
    tokio::select! {
        served = serving => served.map_err(|source| Error::Serve { address, source }),
        () = out_of_patience => Ok(()),
    }
}
