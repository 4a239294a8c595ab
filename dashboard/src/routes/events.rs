//! Event streams: what changed on a page, as it changes.
//!
//! Three kinds of events, all JSON: `outline` (the keys of the page's fragments; a page that has others loads itself anew),
//! `fragment` (`key`, `html`), and `tick` (`title`), which comes at least every two seconds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;

use super::App;
use crate::feed::{self, News};
use crate::view::Page;

/// The longest silence: a viewer that hears nothing for much longer knows that the connection is gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// Makes a page from the news; `None` where there is no such page (any more).
pub type Render = Box<dyn Fn(Vec<News>) -> BoxFuture<'static, Result<Option<Page>, askama::Error>> + Send>;

/// What a viewer has been sent.
#[derive(Default)]
struct Sent {
    outline: String,
    fragments: HashMap<String, String>,
}

struct Viewer {
    app: App,
    render: Render,
    sent: Sent,
    first: bool,
}

/// A stream of the changes of a page. It ends when the page is gone or the dashboard stops.
pub fn stream(app: App, render: Render) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let viewer = Viewer { app, render, sent: Sent::default(), first: true };
    let batches = stream::unfold(viewer, |mut viewer| async move {
        let batch = viewer.next().await?;
        Some((stream::iter(batch.into_iter().map(Ok)), viewer))
    });
    Sse::new(batches.flatten())
}

impl Viewer {
    async fn next(&mut self) -> Option<Vec<Event>> {
        if !std::mem::take(&mut self.first) {
            tokio::select! {
                _ = self.app.stopping.wait_for(|stop| *stop) => return None,
                changed = tokio::time::timeout(LONGEST_SILENCE, self.app.feed.changed()) => match changed {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(_)) => return None,
                },
            }
        }
        let news = self.app.feed.borrow_and_update().clone();
        match (self.render)(news).await {
            Ok(Some(page)) => Some(self.sent.changes(&page)),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(problem = %feed::chain(&error), "the dashboard could not make a page");
                None
            }
        }
    }
}

impl Sent {
    /// What to send so that the viewer has `page`, and notes it as sent.
    fn changes(&mut self, page: &Page) -> Vec<Event> {
        let mut events = Vec::new();
        let outline = page.outline();
        if outline != self.outline {
            events.push(Event::default().event("outline").data(&outline));
            self.outline = outline;
            self.fragments.clear();
        }
        for fragment in page.fragments() {
            if self.fragments.get(&fragment.key) != Some(&fragment.html) {
                self.fragments.insert(fragment.key.clone(), fragment.html.clone());
                events.push(Event::default().event("fragment").data(json!(fragment).to_string()));
            }
        }
        events.push(Event::default().event("tick").data(json!({ "title": page.title }).to_string()));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Fragment, Section};

    fn page(fragments: &[(&str, &str)]) -> Page {
        let fragment = |(key, html): &(&str, &str)| Fragment { key: (*key).to_owned(), html: (*html).to_owned() };
        Page {
            title: "t".into(),
            stream: "/events".into(),
            notices: fragment(&("notices", "")),
            sections: vec![Section { id: "s".into(), label: "s".into(), fragments: fragments.iter().map(fragment).collect() }],
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut sent = Sent::default();
        // The outline, three fragments, the tick.
        assert_eq!(sent.changes(&page(&[("a", "1"), ("b", "1")])).len(), 5);
        assert_eq!(sent.changes(&page(&[("a", "1"), ("b", "1")])).len(), 1);
        assert_eq!(sent.changes(&page(&[("a", "2"), ("b", "1")])).len(), 2);
        // Other fragments than before: the viewer loads itself anew, and is told everything.
        assert_eq!(sent.changes(&page(&[("b", "1")])).len(), 4);
    }
}
