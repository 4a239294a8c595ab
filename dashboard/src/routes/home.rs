//! `/`: every mapping.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::{App, events, html};
use crate::view;

/// The page.
pub async fn page(State(app): State<App>) -> Response {
    let news = app.feed.borrow().clone();
    html(view::home(&news))
}

/// What changes on it.
pub async fn events(State(app): State<App>) -> impl IntoResponse {
    events::stream(app, Box::new(|news| Box::pin(async move { view::home(&news).map(Some) })))
}
