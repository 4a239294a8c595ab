//! `/api/status`: everything the main page shows, as JSON.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use crate::feed::News;
use crate::read::Mapping;

/// What is known from one control database.
#[derive(Serialize)]
struct Control<'a> {
    /// The destination instance that holds it.
    control_database: &'a str,
    /// Whether this is the present, or the last that was heard.
    fresh: bool,
    age_seconds: f64,
    problem: Option<&'a str>,
    /// `null` before the first success.
    mappings: Option<&'a [Mapping]>,
}

/// The answer.
pub async fn status(State(app): State<App>) -> Json<serde_json::Value> {
    let news = app.feed.borrow().clone();
    Json(serde_json::json!({ "control_databases": news.iter().map(control).collect::<Vec<_>>() }))
}

fn control(news: &News) -> Control<'_> {
    Control {
        control_database: &news.name,
        fresh: news.is_fresh(),
        age_seconds: news.age().as_secs_f64(),
        problem: news.problem.as_deref(),
        mappings: news.mappings.as_ref().map(|mappings| mappings.as_slice()),
    }
}
