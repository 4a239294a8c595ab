//! The final order: by section, and within a section after everything needed.

use std::collections::HashMap;

use super::graph::Graph;
use super::statement::{Section, Statement};

/// Puts the drafts in order. The graph must be free of loops and promoted.
pub(super) fn statements(graph: Graph) -> Vec<Statement> {
    let mut order: Vec<usize> = graph.order().into_iter().filter(|&node| graph.draft(node).is_some()).collect();
    // Stable: what a draft needs is in its own or an earlier section.
    order.sort_by_key(|&node| graph.drafts[node].section);
    let place: HashMap<usize, usize> = order.iter().enumerate().map(|(place, &node)| (node, place)).collect();
    let after: Vec<Vec<usize>> = order
        .iter()
        .map(|&node| {
            if graph.drafts[node].section == Section::BeforeData {
                return Vec::new();
            }
            let mut after: Vec<usize> = graph
                .needed_drafts(node)
                .into_iter()
                .filter(|&need| graph.drafts[need].section > Section::BeforeData)
                .filter_map(|need| place.get(&need).copied())
                .collect();
            after.sort_unstable();
            after.dedup();
            after
        })
        .collect();
    let mut drafts: Vec<Option<_>> = graph.drafts.into_iter().map(Some).collect();
    order
        .into_iter()
        .zip(after)
        .filter_map(|(node, after)| drafts[node].take().map(|draft| (draft, after)))
        .map(|(draft, after)| Statement {
            sql: draft.sql,
            secret: draft.secret,
            object: draft.name,
            section: draft.section,
            table: if draft.section == Section::AfterData { draft.table } else { None },
            done_when: if draft.section == Section::BeforeData { None } else { draft.done_when },
            undo: if draft.section == Section::AtCutover { draft.undo } else { None },
            after,
        })
        .collect()
}
