//! `/livez` and `/readyz`, for whoever supervises the process.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;

/// The process answers.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Whether there is something true to show: 200 when at least one control database is being read (or none is configured).
/// One that fails must not take the others off the air; the answer has a line about each.
pub async fn readyz(State(app): State<App>) -> (StatusCode, String) {
    let news = app.feed.borrow().clone();
    let mut lines = String::new();
    for news in &news {
        let state = match (news.is_fresh(), news.problem.as_deref()) {
            (true, _) => "ok".to_owned(),
            (false, Some(problem)) => format!("no news for {} s: {problem}", news.age().as_secs()),
            (false, None) => format!("no news for {} s", news.age().as_secs()),
        };
        // Writing to a String can't fail.
        writeln!(lines, "{}: {state}", news.name).ok();
    }
    let ready = news.is_empty() || news.iter().any(crate::feed::News::is_fresh);
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}
