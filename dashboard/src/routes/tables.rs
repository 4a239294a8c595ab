//! `/mappings/{mapping}/databases/{database}`: the tables of one database.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{App, events, html};
use crate::feed::{self, News};
use crate::read::{self, Database, Mapping};
use crate::view::{self, Page, TablesAddress, TablesQuery};

/// The page.
pub async fn page(
    State(app): State<App>,
    Path((mapping, database)): Path<(String, String)>,
    Query(query): Query<TablesQuery>,
) -> Response {
    let address = TablesAddress::new(mapping, database, &query);
    let news = app.feed.borrow().clone();
    match render(&news, &address).await {
        Ok(Some(page)) => html(Ok(page)),
        Ok(None) if news.iter().any(|news| news.mappings.is_none()) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not every control database has been read yet, and this mapping is in none of the others.\n",
        )
            .into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "There is no such mapping or database.\n").into_response(),
        Err(error) => html(Err(error)),
    }
}

/// What changes on it.
pub async fn events(
    State(app): State<App>,
    Path((mapping, database)): Path<(String, String)>,
    Query(query): Query<TablesQuery>,
) -> impl IntoResponse {
    let address = Arc::new(TablesAddress::new(mapping, database, &query));
    events::stream(
        app,
        Box::new(move |news| {
            let address = Arc::clone(&address);
            Box::pin(async move { render(&news, &address).await })
        }),
    )
}

async fn render(news: &[News], address: &TablesAddress) -> Result<Option<Page>, askama::Error> {
    let Some((source, mapping, database)) = find(news, address) else {
        return Ok(None);
    };
    let page = match source.client() {
        Some(client) => match read::tables(&client, &address.mapping, &address.database, &address.filter).await {
            Ok(page) => Some(page),
            Err(error) => {
                // The watcher of this control database finds out by itself whether the connection is gone.
                tracing::warn!(control_database = %source.name, problem = %feed::chain(&error), "a table list could not be read");
                None
            }
        },
        None => None,
    };
    view::tables(news, mapping, database, address, page.as_ref()).map(Some)
}

/// The database an address names. Where two control databases know a mapping of that name, the one looked after last counts.
fn find<'a>(news: &'a [News], address: &TablesAddress) -> Option<(&'a News, &'a Mapping, &'a Database)> {
    news.iter()
        .flat_map(|news| news.mappings.iter().flat_map(|mappings| mappings.iter()).map(move |mapping| (news, mapping)))
        .filter(|(_, mapping)| mapping.mapping == address.mapping)
        .filter_map(|(news, mapping)| {
            let database = mapping.databases.iter().find(|database| database.database == address.database)?;
            Some((news, mapping, database))
        })
        .max_by(|(_, one, _), (_, other, _)| one.updated_at_seconds.total_cmp(&other.updated_at_seconds))
}
