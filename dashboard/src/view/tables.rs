//! The tables of one database: a list that can be sorted, filtered and paged by plain links and one form.

use askama::Template;
use serde::Deserialize;

use super::page::{Fragment, Page, Section, notices_fragment};
use super::segment;
use crate::feed::News;
use crate::format;
use crate::read::{Database, Mapping, Order, Status, Table, TableFilter, TablePage};

/// What the address of a table list says after the `?`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TablesQuery {
    q: String,
    status: String,
    sort: Order,
    dir: String,
    page: Option<i64>,
}

/// Which tables of which database an address names.
#[derive(Debug, Clone)]
pub struct TablesAddress {
    pub mapping: String,
    pub database: String,
    pub filter: TableFilter,
}

impl TablesAddress {
    /// Reads an address; what it does not know, it leaves out.
    pub fn new(mapping: String, database: String, query: &TablesQuery) -> Self {
        let filter = TableFilter {
            // No name is longer than two times 63 bytes and a dot; what is longer matches nothing anyway.
            name: query.q.trim().chars().filter(|character| *character != '\0').take(200).collect(),
            status: Status::from_slug(&query.status),
            order: query.sort,
            descending: query.dir == "desc",
            page: query.page.unwrap_or(1),
        };
        Self { mapping, database, filter }
    }

    fn is_status(&self, status: Status) -> bool {
        self.filter.status == Some(status)
    }

    fn path(&self) -> String {
        format!("/mappings/{}/databases/{}", segment(&self.mapping), segment(&self.database))
    }

    fn query(&self, order: Order, descending: bool, page: i64) -> String {
        let mut query = format!("?sort={}&dir={}", order.slug(), if descending { "desc" } else { "asc" });
        if !self.filter.name.is_empty() {
            query.push_str("&q=");
            query.push_str(&segment(&self.filter.name));
        }
        if let Some(status) = self.filter.status {
            query.push_str("&status=");
            query.push_str(status.slug());
        }
        if page > 1 {
            query.push_str("&page=");
            query.push_str(&page.to_string());
        }
        query
    }
}

#[derive(Template)]
#[template(path = "database.html")]
struct Head<'a> {
    mapping: &'a Mapping,
    database: &'a Database,
}

#[derive(Template)]
#[template(path = "filter.html")]
struct Filter<'a> {
    address: &'a TablesAddress,
    path: String,
}

#[derive(Template)]
#[template(path = "tables.html")]
struct Tables<'a> {
    columns: Vec<Column>,
    tables: &'a [Table],
    matching: String,
    page: i64,
    pages: i64,
    previous: Option<String>,
    next: Option<String>,
}

struct Column {
    label: &'static str,
    link: String,
    /// For `aria-sort`.
    sorted: &'static str,
    numeric: bool,
}

impl Table {
    fn thousandths(&self) -> u16 {
        (self.progress.clamp(0.0, 1.0) * 1000.0) as u16
    }
}

/// The page of one database. `page` is `None` where the tables can't be read at the moment.
pub fn tables(
    news: &[News],
    mapping: &Mapping,
    database: &Database,
    address: &TablesAddress,
    page: Option<&TablePage>,
) -> Result<Page, askama::Error> {
    let fragment = |key: &str, html: String| Fragment { key: key.into(), html };
    let list = match page {
        Some(page) => list(address, page).render()?,
        None => "<p class=\"empty\">The tables can't be read at the moment.</p>".into(),
    };
    let section = Section {
        id: "database".into(),
        label: database.database.clone(),
        fragments: vec![
            fragment("database", Head { mapping, database }.render()?),
            fragment("filter", Filter { address, path: address.path() }.render()?),
            fragment("tables", list),
        ],
    };
    let query = address.query(address.filter.order, address.filter.descending, address.filter.page);
    Ok(Page {
        title: format!("{} · {} · {}", database.status.word(), database.database, mapping.mapping),
        stream: format!("{}/events{query}", address.path()),
        notices: notices_fragment(news)?,
        sections: vec![section],
    })
}

fn list<'a>(address: &TablesAddress, page: &'a TablePage) -> Tables<'a> {
    let filter = &address.filter;
    let column = |label, order: Order, numeric| {
        let current = filter.order == order;
        // Sizes and rows are wanted from the largest on first.
        let descending = if current { !filter.descending } else { matches!(order, Order::Size | Order::Rows) };
        Column {
            label,
            link: address.query(order, descending, 1),
            sorted: match (current, filter.descending) {
                (false, _) => "none",
                (true, false) => "ascending",
                (true, true) => "descending",
            },
            numeric,
        }
    };
    let link = |page| address.query(filter.order, filter.descending, page);
    Tables {
        columns: vec![
            column("Table", Order::Name, false),
            column("Status", Order::Status, false),
            column("Copied", Order::Progress, false),
            column("Size", Order::Size, true),
            column("Rows copied", Order::Rows, true),
        ],
        tables: &page.tables,
        matching: format::count(page.matching),
        page: page.page,
        pages: page.pages,
        previous: (page.page > 1).then(|| link(page.page - 1)),
        next: (page.page < page.pages).then(|| link(page.page + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_the_filter_and_quote_names() {
        let query = TablesQuery { q: " a&b ".into(), status: "synced".into(), dir: "desc".into(), ..TablesQuery::default() };
        let address = TablesAddress::new("m 1".into(), "We ird-DB".into(), &query);
        assert_eq!(address.path(), "/mappings/m%201/databases/We%20ird-DB");
        assert_eq!(address.query(Order::Size, true, 3), "?sort=size&dir=desc&q=a%26b&status=synced&page=3");
    }

    #[test]
    fn a_second_click_on_a_column_turns_the_order_round() {
        let address = TablesAddress::new(
            "m".into(),
            "d".into(),
            &TablesQuery { sort: Order::Size, dir: "desc".into(), ..TablesQuery::default() },
        );
        let page = TablePage { tables: Vec::new(), matching: 0, page: 1, pages: 1 };
        let tables = list(&address, &page);
        let size = tables.columns.iter().find(|column| column.label == "Size").expect("there is a size column");
        assert_eq!((size.sorted, size.link.as_str()), ("descending", "?sort=size&dir=asc"));
    }
}
