//! Loops between objects, each opened by a small repair with a name:
//!
//! - `default apart`: a table's default (or check) uses a function that uses the table: the default is set after both exist.
//!   The same for a domain's check, and for a partition's, which is there before it is attached.
//! - `type shell`: a type needs its input and output functions (a range its canonical function), which need the type: a mere name
//!   comes first.
//! - `view shell`: a view uses a function that uses the view: the view gets its columns first and its query later.
//!
//! And the boundary: a view that needs a primary key (`GROUP BY` the key) can only get its query after the data, but others
//! may need its columns before: again a shell. A default that needs something late is set late.

use super::draft::{Draft, Part, Repairs};
use super::graph::Graph;
use super::statement::Section;
use crate::finding::{Code, Finding, Severity};
use crate::object::{Catalog, CatalogTable, ObjectId};

/// Repairs loops as far as a repair is known. Says whether anything was decided.
pub(super) fn loops(catalog: &Catalog, graph: &Graph, loops: &[Vec<usize>], repairs: &mut Repairs) -> bool {
    if loops.is_empty() {
        return false;
    }
    let mut member = vec![None; graph.needs.len()];
    for (number, nodes) in loops.iter().enumerate() {
        for &node in nodes {
            member[node] = Some(number);
        }
    }
    let same_loop = |from: usize, to: usize| from != to && member[from].is_some() && member[from] == member[to];
    type_shell(graph, |node| member[node].is_some(), repairs)
        || default_apart(catalog, graph, same_loop, repairs)
        || view_shell(catalog, graph, |node| member[node].is_some(), repairs)
}

/// Takes apart what would make a table, domain or view late. Says whether anything was decided.
pub(super) fn boundary(catalog: &Catalog, graph: &Graph, repairs: &mut Repairs) -> bool {
    let late = |node: usize| graph.draft(node).is_some_and(|draft| draft.section > Section::BeforeData);
    // What is late only because it needs a late view will not be when that view has a shell.
    let mut passes = vec![false; graph.needs.len()];
    let mut under_view = vec![false; graph.needs.len()];
    for node in graph.order() {
        under_view[node] = graph.needs[node].iter().any(|&need| passes[need]);
        passes[node] = under_view[node] || (late(node) && graph.draft(node).is_some_and(is_whole_view));
    }
    view_shell(catalog, graph, |node| late(node) && !under_view[node], repairs)
        || default_apart(catalog, graph, |_, to| late(to), repairs)
}

/// Whether a draft makes a view with its query.
fn is_whole_view(draft: &Draft) -> bool {
    draft.part == Part::Create && draft.name.class == "view" && draft.id.catalog == CatalogTable::CLASS
}

/// Defaults and check constraints whose dependency matters to `concerns` are added after their table or domain.
fn default_apart(catalog: &Catalog, graph: &Graph, concerns: impl Fn(usize, usize) -> bool, repairs: &mut Repairs) -> bool {
    let mut decided = false;
    for edge in &catalog.edges {
        let can_be_apart = match edge.from.catalog {
            CatalogTable::ATTRDEF => catalog.aliases.contains_key(&edge.from) && !is_generated(catalog, edge.from),
            CatalogTable::CONSTRAINT => catalog.object(edge.from).is_some_and(|object| object.name.class == "check"),
            _ => false,
        };
        if can_be_apart
            && !repairs.apart.contains(&edge.from)
            && let (Some(from), Some(to)) = (graph.find(catalog, edge.from), graph.find(catalog, edge.to))
            && concerns(from, to)
        {
            repairs.apart.insert(edge.from);
            decided = true;
        }
    }
    decided
}

/// Types among the nodes that `concerns` names get a shell.
fn type_shell(graph: &Graph, concerns: impl Fn(usize) -> bool, repairs: &mut Repairs) -> bool {
    let mut decided = false;
    for (node, draft) in graph.drafts.iter().enumerate() {
        if draft.part == Part::Create && matches!(draft.name.class, "base_type" | "range") && concerns(node) {
            decided |= repairs.shells.insert(ObjectId::new(CatalogTable::TYPE, draft.id.oid));
        }
    }
    decided
}

/// Views among the nodes that `concerns` names get a shell.
fn view_shell(catalog: &Catalog, graph: &Graph, concerns: impl Fn(usize) -> bool, repairs: &mut Repairs) -> bool {
    let mut decided = false;
    for (node, draft) in graph.drafts.iter().enumerate() {
        if is_whole_view(draft) && concerns(node) && catalog.object(draft.id).is_some() {
            decided |= repairs.shells.insert(draft.id);
        }
    }
    decided
}

/// A generated column's expression can't be added later.
fn is_generated(catalog: &Catalog, default: ObjectId) -> bool {
    let Some(table) = catalog.aliases.get(&default) else { return false };
    catalog.columns_of(table.oid).iter().any(|column| column.default_oid == Some(default.oid) && column.generated)
}

/// Opens a loop that no repair fits, and says so if the loop contains anything that is made.
pub(super) fn cut(graph: &mut Graph, nodes: &[usize]) -> Option<Finding> {
    let names: Vec<String> = nodes.iter().filter_map(|&node| graph.draft(node)).map(|draft| draft.name.to_string()).collect();
    let (from, to) = graph.cut(nodes)?;
    let name =
        |node: usize| graph.draft(node).map_or_else(|| "a part of another object".to_owned(), |draft| draft.name.to_string());
    (!names.is_empty()).then(|| Finding {
        severity: Severity::Warning,
        database: String::new(),
        code: Code::DependencyLoop,
        object: name(from),
        reason: format!("{} depend on each other; {} is made before {}", names.join(", "), name(from), name(to)),
        fix: "if the statement fails, make the object by hand on the destination after the others".to_owned(),
        statement: None,
    })
}

/// Tables that could only be made after the data they should hold.
pub(super) fn late(graph: &Graph) -> Vec<Finding> {
    let tables = graph.drafts.iter().filter(|draft| {
        draft.part == Part::Create
            && draft.name.class == "table"
            && draft.id.catalog == CatalogTable::CLASS
            && draft.section > Section::BeforeData
    });
    tables
        .map(|draft| Finding {
            severity: Severity::Error,
            database: String::new(),
            code: Code::TableNeedsLateObject,
            object: draft.name.to_string(),
            reason: "the table's definition needs an object that can only be made after the data, such as a primary key"
                .to_owned(),
            fix: "change the definition on the source so that it does not, or leave the table out".to_owned(),
            statement: None,
        })
        .collect()
}
