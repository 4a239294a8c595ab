//! The final order: by section, and within a section after everything needed.

use super::graph::Graph;
use super::statement::{Section, Statement};

/// Puts the drafts in order. The graph must be free of loops and promoted.
pub(super) fn statements(graph: Graph) -> Vec<Statement> {
    let mut order: Vec<usize> = graph.order().into_iter().filter(|&node| graph.draft(node).is_some()).collect();
    // Stable: what a draft needs is in its own or an earlier section.
    order.sort_by_key(|&node| graph.drafts[node].section);
    let mut place = vec![0_u32; graph.drafts.len()];
    for (at, &node) in order.iter().enumerate() {
        place[node] = u32::try_from(at).unwrap_or(u32::MAX);
    }
    let after: Vec<Box<[u32]>> = order
        .iter()
        .map(|&node| {
            let mut after: Vec<u32> = graph.needed_drafts(node).into_iter().map(|need| place[need]).collect();
            after.sort_unstable();
            after.into_boxed_slice()
        })
        .collect();
    let mut drafts: Vec<Option<_>> = graph.into_drafts().into_iter().map(Some).collect();
    order
        .into_iter()
        .zip(after)
        .filter_map(|(node, after)| drafts[node].take().map(|draft| (draft, after)))
        .map(|(draft, after)| Statement {
            sql: draft.sql,
            secret: draft.secret,
            object: draft.name,
            part: draft.part,
            section: draft.section,
            table: if draft.section == Section::AfterData { draft.table } else { None },
            between: draft.between,
            done_when: if draft.section == Section::BeforeData { None } else { draft.done_when },
            undo: if draft.section == Section::AtCutover { draft.undo } else { None },
            after,
        })
        .collect()
}
