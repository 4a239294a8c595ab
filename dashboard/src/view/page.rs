//! Pages as lists of fragments, and the frame around them.

use askama::Template;

use super::banner::Banner;
use super::{Checks, Databases, Events, Findings, notices};
use crate::feed::News;
use crate::read::{Mapping, Status};

/// A part of a page that changes by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fragment {
    /// What part it is; the same on the page and in the event stream.
    pub key: String,
    /// Its content. Everything that came from a server has been escaped by the templates.
    pub html: String,
}

/// A group of fragments under one landmark.
#[derive(Debug, Clone)]
pub struct Section {
    /// An id for links within the page.
    pub id: String,
    /// What a screen reader calls it.
    pub label: String,
    pub fragments: Vec<Fragment>,
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page {
    pub title: String,
    /// Where its event stream is.
    pub stream: String,
    pub notices: Fragment,
    pub sections: Vec<Section>,
}

impl Page {
    /// All fragments, in the order of the page.
    pub fn fragments(&self) -> impl Iterator<Item = &Fragment> {
        std::iter::once(&self.notices).chain(self.sections.iter().flat_map(|section| &section.fragments))
    }

    /// Which fragments there are: when that changes, the page is loaded anew.
    pub fn outline(&self) -> String {
        let keys: Vec<_> = self.fragments().map(|fragment| fragment.key.as_str()).collect();
        serde_json::Value::from(keys).to_string()
    }

    /// The whole document.
    pub fn render(&self) -> Result<String, askama::Error> {
        Frame { page: self, outline: self.outline() }.render()
    }
}

#[derive(Template)]
#[template(path = "page.html")]
struct Frame<'a> {
    page: &'a Page,
    outline: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    id: String,
    mapping: &'a Mapping,
}

/// The notices of a page.
pub fn notices_fragment(news: &[News]) -> Result<Fragment, askama::Error> {
    Ok(Fragment { key: "notices".into(), html: notices(news)? })
}

/// The main page: every mapping of every control database.
pub fn home(news: &[News]) -> Result<Page, askama::Error> {
    let mut sections = Vec::new();
    let mut entries = Vec::new();
    for (control, news) in news.iter().enumerate() {
        for (place, mapping) in news.mappings.iter().flat_map(|mappings| mappings.iter()).enumerate() {
            let id = format!("m{control}-{place}");
            sections.push(section(&id, &news.name, mapping, news.age().as_secs_f64())?);
            entries.push(Entry { id, mapping });
        }
    }
    if entries.len() > 1 {
        let html = Overview { entries }.render()?;
        let fragments = vec![Fragment { key: "overview".into(), html }];
        sections.insert(0, Section { id: "overview".into(), label: "All mappings".into(), fragments });
    } else if entries.is_empty() && news.iter().any(|news| news.mappings.is_some()) {
        let html = "<p class=\"empty\">No mapping yet: the controller writes them here when it starts.</p>".to_owned();
        let fragments = vec![Fragment { key: "empty".into(), html }];
        sections.push(Section { id: "empty".into(), label: "Mappings".into(), fragments });
    }
    Ok(Page { title: title(news), stream: "/events".into(), notices: notices_fragment(news)?, sections })
}

fn title(news: &[News]) -> String {
    let mappings: Vec<_> = news.iter().filter_map(|news| news.mappings.as_ref()).flat_map(|mappings| mappings.iter()).collect();
    match mappings.as_slice() {
        [one] => format!("{} · {}", one.status.word(), one.mapping),
        several => match several.iter().filter(|mapping| mapping.status == Status::Problematic).count() {
            0 => "Mappings".into(),
            problematic => format!("{problematic} Problematic · Mappings"),
        },
    }
}

fn section(id: &str, control: &str, mapping: &Mapping, read_ago: f64) -> Result<Section, askama::Error> {
    let name = &mapping.mapping;
    let fragment = |part: &str, html: String| Fragment { key: format!("{control}/{name}/{part}"), html };
    let fragments = vec![
        fragment("banner", Banner::of(mapping, read_ago).render()?),
        fragment("checks", Checks::of(mapping).render()?),
        fragment("findings", Findings { findings: &mapping.findings, counts: mapping.finding_counts }.render()?),
        fragment("databases", Databases { mapping: name, databases: &mapping.databases }.render()?),
        fragment("events", Events { events: &mapping.events }.render()?),
    ];
    Ok(Section { id: id.to_owned(), label: name.clone(), fragments })
}
