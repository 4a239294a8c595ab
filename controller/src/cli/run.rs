//! `pg-migrator run`: every mapping side by side, and the dashboard, until a signal.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{Answer, Failure};
use crate::config::Config;
use crate::gentle;
use crate::postgres::Endpoint;
use crate::reconcile::mapping;

pub(super) async fn run(config: Config) -> Result<Answer, Failure> {
    let config = Arc::new(config);
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::Failed(format!("{what}: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(|e| failed("can't wait for signals", &e))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| failed("can't wait for signals", &e))?;

    let (stop_dashboard, dashboard_stopped) = tokio::sync::oneshot::channel::<()>();
    let dashboard = if config.dashboard.enabled { Some(serve_dashboard(&config, dashboard_stopped).await?) } else { None };

    let mut mappings = JoinSet::new();
    let sources = gentle::sources(&config);
    for (name, mapping) in &config.mappings {
        let span = tracing::info_span!("mapping", mapping = name);
        // Every source has its limits, as of the line above.
        let Some(source) = sources.get(&mapping.source) else { continue };
        mappings.spawn(mapping::run(Arc::clone(&config), name.clone(), Arc::clone(source)).instrument(span));
    }
    let ended = async {
        let mut panicked = false;
        while let Some(result) = mappings.join_next().await {
            if let Err(error) = result {
                tracing::error!("a mapping stopped unexpectedly: {error}");
                panicked = true;
            }
        }
        panicked
    };
    tokio::pin!(ended);
    let mut all_complete = false;
    loop {
        tokio::select! {
            panicked = &mut ended, if !all_complete => {
                if panicked {
                    return Err(Failure::Failed("a mapping stopped unexpectedly; its message is in the log".to_owned()));
                }
                tracing::info!("every mapping is complete; still serving the dashboard, stop with Ctrl-C");
                all_complete = true;
                if dashboard.is_none() {
                    return Ok(Answer::Yes);
                }
            }
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
    }
    tracing::info!("stopping; starting again continues the work");
    // The dashboard may be gone already; then there is nobody to tell.
    let _ = stop_dashboard.send(());
    if let Some(dashboard) = dashboard {
        dashboard.abort();
    }
    Ok(Answer::Yes)
}

/// Binds the dashboard's address, so that a taken port is told at once, and serves it in a task of its own.
async fn serve_dashboard(
    config: &Config,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let listener = TcpListener::bind(&config.dashboard.listen)
        .await
        .map_err(|e| Failure::Failed(format!("the dashboard can't listen on {}: {e}", config.dashboard.listen)))?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("dashboard at http://{address}");
    }
    let mut destinations: Vec<&String> = config.mappings.values().map(|m| &m.destination).collect();
    destinations.sort();
    destinations.dedup();
    let databases = destinations
        .into_iter()
        .map(|name| {
            let endpoint = Endpoint::new(name, config.instances[name].clone(), "pg-migrator/dashboard".to_owned());
            let database = config.control_database.clone();
            pg_migrator_dashboard::ControlDatabase {
                name: name.clone(),
                connect: Arc::new(move || {
                    let (endpoint, database) = (endpoint.clone(), database.clone());
                    Box::pin(async move {
                        let session = endpoint.connect(&database).await?;
                        Ok(session.into_client())
                    })
                }),
            }
        })
        .collect();
    Ok(tokio::spawn(async move {
        let stopped = async {
            // An error means that the sender is gone, and with it the whole run.
            let _ = stopped.await;
        };
        if let Err(error) = pg_migrator_dashboard::serve(listener, databases, stopped).await {
            tracing::error!("the dashboard stopped: {error}");
        }
    }))
}
