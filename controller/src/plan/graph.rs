//! Which draft needs which: `pg_depend` between catalog entries, translated to drafts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::draft::{Draft, Part};
use super::statement::Section;
use crate::object::{CLASSES, Catalog, CatalogTable, Edge, EdgeKind, ObjectId};

/// Drafts and their dependencies. Nodes are drafts, followed by catalog entries that no draft makes (row types, array types):
/// those only pass dependencies on.
#[derive(Debug)]
pub(super) struct Graph {
    /// The drafts, sorted by class, name and part: the order they keep where dependencies leave it open.
    pub drafts: Vec<Draft>,
    /// What each node needs first.
    pub needs: Vec<Vec<usize>>,
    /// How many of each node's needs, from the start of its list, come from drafts themselves and not from `pg_depend`.
    own: Vec<usize>,
    nodes: HashMap<ObjectId, usize>,
}

impl Graph {
    /// Sorts the drafts and links them.
    pub fn new(catalog: &Catalog, mut drafts: Vec<Draft>) -> Self {
        let rank: HashMap<&str, usize> = CLASSES.iter().enumerate().map(|(rank, class)| (class.name, rank)).collect();
        let rank = |draft: &Draft| rank.get(draft.name.class).copied().unwrap_or(usize::MAX);
        drafts.sort_by(|a, b| (rank(a), &a.name, a.part, a.id).cmp(&(rank(b), &b.name, b.part, b.id)));
        let mut nodes = HashMap::with_capacity(drafts.len());
        for (node, draft) in drafts.iter().enumerate() {
            if draft.part == Part::Create {
                nodes.entry(draft.id).or_insert(node);
            }
        }
        let mut by_part: Vec<usize> = (0..drafts.len()).collect();
        by_part.sort_by_key(|&node| (drafts[node].id, drafts[node].part));
        let mut graph = Self { needs: vec![Vec::new(); drafts.len()], own: Vec::new(), drafts, nodes };
        for node in 0..graph.drafts.len() {
            let draft = &graph.drafts[node];
            let mut needs = Vec::new();
            if draft.part != Part::Create {
                needs.extend(graph.find(catalog, draft.id));
            }
            for need in &draft.needs {
                let key = |&node: &usize| (graph.drafts[node].id, graph.drafts[node].part);
                let first = by_part.partition_point(|node| key(node) < (need.id, need.part));
                let found = by_part[first..].iter().copied().take_while(|node| key(node) == (need.id, need.part));
                let before = needs.len();
                needs.extend(found);
                if needs.len() == before && need.part == Part::Create {
                    // Not made by itself: then by what contains it.
                    needs.extend(graph.find(catalog, need.id));
                }
            }
            needs.sort_unstable();
            needs.dedup();
            needs.retain(|&need| need != node);
            graph.needs[node] = needs;
        }
        graph.own = graph.needs.iter().map(Vec::len).collect();
        let shells = type_shells(&graph);
        let of_type = |edge: &&Edge| edge.to.catalog == CatalogTable::PROC && shells.contains_key(&edge.from);
        let own_functions: HashSet<_> = catalog.edges.iter().filter(of_type).map(|edge| (edge.to, edge.from)).collect();
        for edge in catalog.edges.iter().filter(|edge| orders(catalog, edge)) {
            let from = graph.node(catalog, edge.from);
            // A type's own functions need only its name.
            let to = match shells.get(&edge.to) {
                Some(&shell) if own_functions.contains(&(edge.from, edge.to)) => shell,
                _ => graph.node(catalog, edge.to),
            };
            if from != to && !graph.needs[from].contains(&to) {
                graph.needs[from].push(to);
            }
        }
        graph
    }

    /// The node that makes a catalog entry: its own draft, else that of the object which contains it, else a node that only passes on.
    fn node(&mut self, catalog: &Catalog, id: ObjectId) -> usize {
        if let Some(node) = self.find(catalog, id) {
            return node;
        }
        let node = self.needs.len();
        self.needs.push(Vec::new());
        self.own.push(0);
        self.nodes.insert(id, node);
        node
    }

    /// The node of a catalog entry, if it has one.
    pub fn find(&self, catalog: &Catalog, id: ObjectId) -> Option<usize> {
        let mut id = id;
        // An alias leads to an object, an object without a draft to its parent: never further than a few steps.
        for _ in 0..8 {
            if let Some(&node) = self.nodes.get(&id) {
                return Some(node);
            }
            let container = catalog.extension_of(id).or_else(|| catalog.aliases.get(&id).copied());
            id = container.or_else(|| catalog.object(id)?.parent)?;
        }
        None
    }

    /// The drafts alone: of very many, the dependencies take as much memory again.
    pub fn into_drafts(self) -> Vec<Draft> {
        self.drafts
    }

    /// The draft at a node, unless it only passes dependencies on.
    pub fn draft(&self, node: usize) -> Option<&Draft> {
        self.drafts.get(node)
    }

    /// Nodes in dependency order; among those that are free to go, the first by class and name. Nodes in a loop, and what needs them, are missing.
    pub fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.needs.len()];
        for (node, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                users[need].push(node);
            }
        }
        // Nodes that only pass on go first, so that they never hold back what they stand for.
        let key = |node: usize| Reverse((node < self.drafts.len(), node));
        let mut ready: BinaryHeap<_> = (0..self.needs.len()).filter(|&node| waiting[node] == 0).map(key).collect();
        let mut order = Vec::with_capacity(self.needs.len());
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push(node);
            for &user in &users[node] {
                waiting[user] -= 1;
                if waiting[user] == 0 {
                    ready.push(key(user));
                }
            }
        }
        order
    }

    /// The loops: strongly connected sets of more than one node, each sorted, found with Tarjan's algorithm over what has no order.
    pub fn loops(&self) -> Vec<Vec<usize>> {
        let mut left = vec![true; self.needs.len()];
        let order = self.order();
        if order.len() == self.needs.len() {
            return Vec::new();
        }
        for node in order {
            left[node] = false;
        }
        let mut search = Tarjan {
            graph: self,
            left: &left,
            index: vec![0; left.len()],
            low: vec![0; left.len()],
            on_stack: vec![false; left.len()],
            stack: Vec::new(),
            next: 1,
            found: Vec::new(),
        };
        for (node, &left) in left.iter().enumerate() {
            if left && search.index[node] == 0 {
                search.from(node);
            }
        }
        search.found.sort();
        search.found
    }

    /// Takes one dependency out of a loop: one that `pg_depend` gave if there is such a one, at the first node by class and name.
    /// Gives the two nodes it linked.
    pub fn cut(&mut self, nodes: &[usize]) -> Option<(usize, usize)> {
        for own_too in [false, true] {
            for &node in nodes {
                let first = if own_too { 0 } else { self.own[node] };
                if let Some(at) = (first..self.needs[node].len()).find(|&at| nodes.contains(&self.needs[node][at])) {
                    let need = self.needs[node].remove(at);
                    if at < self.own[node] {
                        self.own[node] -= 1;
                    }
                    return Some((node, need));
                }
            }
        }
        None
    }

    /// Moves every draft to the section of the latest thing it needs. The graph must be free of loops.
    pub fn promote(&mut self) {
        let mut section: Vec<_> = (0..self.needs.len()).map(|node| self.drafts.get(node).map(|draft| draft.section)).collect();
        for node in self.order() {
            let latest = self.needs[node].iter().filter_map(|&need| section[need]).max();
            section[node] = section[node].max(latest);
        }
        for (draft, section) in self.drafts.iter_mut().zip(section) {
            draft.section = section.unwrap_or(draft.section);
        }
    }

    /// A materialized view is filled after those it reads, directly or through views: links the fillings accordingly.
    pub fn link_fills(&mut self) {
        let fills: Vec<usize> = (0..self.drafts.len()).filter(|&node| self.drafts[node].part == Part::Fill).collect();
        if fills.len() < 2 {
            return;
        }
        let made = |fill: usize| self.nodes.get(&self.drafts[fill].id).copied();
        let mut links = Vec::new();
        for &fill in &fills {
            let mut seen = vec![false; self.needs.len()];
            let mut open = vec![fill];
            while let Some(at) = open.pop() {
                for &need in &self.needs[at] {
                    if !std::mem::replace(&mut seen[need], true) {
                        open.push(need);
                    }
                }
            }
            links.extend(
                fills
                    .iter()
                    .filter(|&&other| other != fill && made(other).is_some_and(|made| seen[made]))
                    .map(|&other| (fill, other)),
            );
        }
        for (fill, other) in links {
            self.needs[fill].push(other);
        }
    }

    /// Default privileges would change what is made after them: links them behind everything that has privileges and is made late.
    pub fn link_default_privileges(&mut self) {
        let late = |draft: &Draft| {
            draft.part == Part::Create
                && draft.section > Section::BeforeData
                && matches!(draft.name.class, "view" | "materialized_view" | "function")
        };
        let made: Vec<usize> = (0..self.drafts.len()).filter(|&node| late(&self.drafts[node])).collect();
        for (node, draft) in self.drafts.iter().enumerate() {
            if draft.name.class == "default_acl" {
                self.needs[node].extend(&made);
            }
        }
    }

    /// The drafts that a node needs, looking through nodes that only pass on.
    pub fn needed_drafts(&self, node: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut seen = Vec::new();
        let mut open = self.needs[node].clone();
        while let Some(need) = open.pop() {
            if need < self.drafts.len() {
                found.push(need);
            } else if !seen.contains(&need) {
                seen.push(need);
                open.extend(&self.needs[need]);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The drafts that make the mere name of a type, by the type.
fn type_shells(graph: &Graph) -> HashMap<ObjectId, usize> {
    let shells = graph.drafts.iter().enumerate().filter(|(_, draft)| draft.id.catalog == CatalogTable::TYPE_SHELL);
    shells.map(|(node, draft)| (ObjectId::new(CatalogTable::TYPE, draft.id.oid), node)).collect()
}

/// Whether a dependency says anything about the order. A partition's index does not wait for its parent's (it is attached
/// later), a sequence does not wait for the table whose column owns it (the table's default needs the sequence), and what an inherited
/// check needs, the parent's check waits for.
fn orders(catalog: &Catalog, edge: &Edge) -> bool {
    if edge.from.catalog == CatalogTable::CONSTRAINT && is_inherited_check(catalog, edge.from) {
        return false;
    }
    match edge.kind {
        EdgeKind::Partition => false,
        EdgeKind::Auto | EdgeKind::Internal => {
            let sequence = edge.from.catalog == CatalogTable::CLASS
                && catalog.object(edge.from).is_some_and(|object| object.name.class == "sequence");
            !(sequence && edge.to.catalog == CatalogTable::CLASS)
        }
        EdgeKind::Normal | EdgeKind::Extension | EdgeKind::AutoExtension => true,
    }
}

fn is_inherited_check(catalog: &Catalog, id: ObjectId) -> bool {
    let checks = catalog.object(id).and_then(|object| catalog.checks.get(&object.parent?));
    checks.is_some_and(|checks| checks.iter().any(|check| check.id == id && check.comes_with_parent()))
}

/// Tarjan's strongly connected components with its own stack: a chain of views may be longer than a thread's stack is deep.
struct Tarjan<'a> {
    graph: &'a Graph,
    left: &'a [bool],
    index: Vec<usize>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Tarjan<'_> {
    fn visit(&mut self, node: usize) {
        self.index[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn from(&mut self, root: usize) {
        self.visit(root);
        let mut path = vec![(root, 0)];
        while let Some((node, at)) = path.pop() {
            if let Some(&need) = self.graph.needs[node].get(at) {
                path.push((node, at + 1));
                if self.left[need] && self.index[need] == 0 {
                    self.visit(need);
                    path.push((need, 0));
                } else if self.on_stack[need] {
                    self.low[node] = self.low[node].min(self.index[need]);
                }
                continue;
            }
            if let Some(&(user, _)) = path.last() {
                self.low[user] = self.low[user].min(self.low[node]);
            }
            if self.low[node] == self.index[node] {
                let mut members = Vec::new();
                while let Some(member) = self.stack.pop() {
                    self.on_stack[member] = false;
                    members.push(member);
                    if member == node {
                        break;
                    }
                }
                if members.len() > 1 {
                    members.sort_unstable();
                    self.found.push(members);
                }
            }
        }
    }
}
