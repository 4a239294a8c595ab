//! One file a page or resource. Everything is a GET; nothing changes anything.

mod api;
mod assets;
mod events;
mod health;
mod home;
mod metrics;
mod tables;

use std::net::IpAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::feed::{self, Feed};
use crate::guard;
use crate::view::Page;

/// What every route has at hand.
#[derive(Clone)]
pub struct App {
    /// The news of all control databases.
    pub feed: Feed,
    /// Turns true when the dashboard ends, so that endless answers end too.
    pub stopping: watch::Receiver<bool>,
}

/// All routes, behind the guard.
pub fn router(app: App, listening: IpAddr) -> Router {
    Router::new()
        .route("/", get(home::page))
        .route("/events", get(home::events))
        .route("/mappings/{mapping}/databases/{database}", get(tables::page))
        .route("/mappings/{mapping}/databases/{database}/events", get(tables::events))
        .route("/api/status", get(api::status))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/assets/{name}", get(assets::asset))
        .with_state(app)
        .layer(from_fn_with_state(listening, guard::check))
}

/// A page as an answer.
fn html(page: Result<Page, askama::Error>) -> Response {
    match page.and_then(|page| page.render()) {
        Ok(document) => Html(document).into_response(),
        Err(error) => failure(&error),
    }
}

/// The answer where the dashboard itself is at fault.
fn failure(error: &(dyn std::error::Error + 'static)) -> Response {
    let problem = feed::chain(error);
    tracing::error!(%problem, "the dashboard could not make a page");
    (StatusCode::INTERNAL_SERVER_ERROR, "The dashboard could not make this page; the controller's log says why.\n")
        .into_response()
}
