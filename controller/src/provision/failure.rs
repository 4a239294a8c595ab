//! What failed, and what is left out because it needs that: pure bookkeeping over a plan.
//!
//! A statement that fails by itself is one finding. What needs the object it should have made is not tried, since the server would
//! only say the same again in other words; it is named in that finding, and has a smaller one of its own that names the cause. Labels whose
//! provider is missing are one finding for all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::finding::{Code, Finding, Severity};
use crate::plan::draft::Part;
use crate::plan::{ObjectName, Section, Statement};
use crate::preflight::extension_fix;
use crate::provision::label_provider;

/// What to do about a statement that failed.
const FIX: &str = "mend what the message names, or make the object on the destination by hand; it is tried again by itself";

/// So many of the objects that need a failed one are named in its finding.
const NAMED: usize = 10;
/// So many of them have a finding of their own.
const TOLD: usize = 100;

/// What of a plan could not be made. Indexes are those of the plan's statements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// The statements without effect, each with the failed one that it comes down to: itself, or one that it needs.
    cause: BTreeMap<usize, usize>,
    /// What the server said of those that failed themselves.
    reasons: BTreeMap<usize, String>,
}

/// A statement before the data without effect, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The object.
    pub object: String,
    /// The server's message.
    pub reason: String,
    /// The statement, as it may be shown.
    pub statement: Option<String>,
    /// The failed object that this one needs, if it was not tried itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Failures {
    /// Whether everything was made.
    pub fn is_empty(&self) -> bool {
        self.cause.is_empty()
    }

    /// Notes that a statement failed by itself.
    pub fn fail(&mut self, index: usize, reason: String) {
        self.cause.insert(index, index);
        self.reasons.insert(index, reason);
    }

    /// Whether a statement must be left out, since it needs something that could not be made; notes it if so. What it needs
    /// must have been executed or left out before.
    pub fn leaves_out(&mut self, statements: &[Statement], index: usize) -> bool {
        if self.cause.is_empty() {
            return false;
        }
        let missing = statements[index].needs().filter(|&need| statements[need].makes());
        let cause = missing.filter_map(|need| self.cause.get(&need)).min().copied();
        if let Some(cause) = cause {
            self.cause.insert(index, cause);
        }
        cause.is_some()
    }

    /// Notes everything in the plan that can't be made for want of what could not.
    pub fn follow(&mut self, statements: &[Statement]) {
        let Some((&first, _)) = self.cause.first_key_value() else { return };
        for index in first + 1..statements.len() {
            if !self.cause.contains_key(&index) {
                self.leaves_out(statements, index);
            }
        }
    }

    /// Takes back failures that are none, by the server's message: they and what needs them are not told.
    pub fn forgive(&mut self, is_none: impl Fn(&str) -> bool) {
        self.reasons.retain(|_, reason| !is_none(reason));
    }

    /// How many statements of a section failed by themselves.
    pub fn count(&self, statements: &[Statement], section: Section) -> usize {
        self.reasons.keys().filter(|&&index| statements[index].section == section).count()
    }

    /// What there is to tell about the statements of a section that failed, and about what needs them in any section.
    pub fn findings(&mut self, database: &str, statements: &[Statement], section: Section) -> Vec<Finding> {
        self.follow(statements);
        let mut findings = Vec::new();
        let needing = self.needing(statements);
        let mut told: HashSet<&ObjectName> = HashSet::new();
        for (object, failed) in self.failed_objects(statements, section) {
            let left_out: Vec<usize> = failed.iter().filter_map(|index| needing.get(index)).flatten().copied().collect();
            let mut reasons: Vec<&str> = failed.iter().map(|index| self.reasons[index].as_str()).collect();
            reasons.dedup();
            let texts: Vec<&str> = failed.iter().map(|index| statements[*index].sql.as_str()).collect();
            findings.push(Finding {
                severity: Severity::Error,
                database: database.to_owned(),
                code: Code::StatementFailed,
                object: object.to_string(),
                reason: format!("{}{}", reasons.join("; then: "), named(statements, &left_out)),
                fix: match object.class {
                    "extension" => format!("{}; it is tried again by itself", extension_fix(&object.name)),
                    _ => FIX.to_owned(),
                },
                statement: Some(texts.join(";\n")),
            });
            let left_out = left_out.iter().take(TOLD).map(|index| &statements[*index]);
            findings.extend(left_out.filter(|left_out| told.insert(&left_out.object)).map(|left_out| Finding {
                severity: Severity::Warning,
                database: database.to_owned(),
                code: Code::NeedsFailedObject,
                object: left_out.object.to_string(),
                reason: format!("left out, since it needs {object}, which failed"),
                fix: format!("mend {object}; this is then made by itself"),
                statement: Some(left_out.sql.clone()),
            }));
        }
        for (provider, objects) in self.unlabelled(statements, section) {
            findings.push(label_provider::finding(database, provider, &objects, objects.len()));
        }
        findings
    }

    /// The label of which missing provider a statement would have set.
    fn missing_provider(&self, statements: &[Statement], index: usize) -> Option<&str> {
        if statements[index].part != Part::Label {
            return None;
        }
        self.reasons.get(&index).and_then(|reason| label_provider::not_loaded(reason))
    }

    /// By missing provider: the objects whose labels in a section could not be set.
    fn unlabelled(&self, statements: &[Statement], section: Section) -> BTreeMap<&str, Vec<String>> {
        let mut providers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for &index in self.reasons.keys().filter(|index| statements[**index].section == section) {
            if let Some(provider) = self.missing_provider(statements, index) {
                let objects = providers.entry(provider).or_default();
                let object = statements[index].object.to_string();
                // Those of a table's columns come one after the other.
                if objects.last() != Some(&object) {
                    objects.push(object);
                }
            }
        }
        providers
    }

    /// The objects of which statements of a section failed by themselves, with these statements, in the plan's order; without labels
    /// whose provider is missing.
    fn failed_objects<'p>(&self, statements: &'p [Statement], section: Section) -> Vec<(&'p ObjectName, Vec<usize>)> {
        let mut places: HashMap<&ObjectName, usize> = HashMap::new();
        let mut objects: Vec<(&ObjectName, Vec<usize>)> = Vec::new();
        let own = |index: &&usize| statements[**index].section == section && self.missing_provider(statements, **index).is_none();
        for &index in self.reasons.keys().filter(own) {
            let object = &statements[index].object;
            let place = *places.entry(object).or_insert_with(|| {
                objects.push((object, Vec::new()));
                objects.len() - 1
            });
            objects[place].1.push(index);
        }
        objects
    }

    /// By failed statement: the first statement of each other object that is left out for it.
    fn needing(&self, statements: &[Statement]) -> HashMap<usize, Vec<usize>> {
        let mut needing: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut seen: HashSet<(usize, &ObjectName)> = HashSet::new();
        for (&index, &cause) in &self.cause {
            let object = &statements[index].object;
            if *object != statements[cause].object && seen.insert((cause, object)) {
                needing.entry(cause).or_default().push(index);
            }
        }
        needing
    }

    /// What the ledger keeps of the statements before the data. What belongs to an object that was not made goes without saying.
    pub fn record(&self, statements: &[Statement]) -> Vec<Failed> {
        let before_data = self.cause.iter().filter(|(index, _)| statements[**index].section == Section::BeforeData);
        let own = |index: usize, need: usize| {
            statements[need].makes() && self.cause.contains_key(&need) && statements[need].object == statements[index].object
        };
        before_data
            .filter(|(index, cause)| index == cause || !statements[**index].needs().any(|need| own(**index, need)))
            .map(|(&index, &cause)| Failed {
                object: statements[index].object.to_string(),
                reason: self.reasons.get(&index).cloned().unwrap_or_default(),
                statement: Some(statements[index].sql.clone()),
                because: (index != cause).then(|| statements[cause].object.to_string()),
            })
            .collect()
    }

    /// The tables, by schema and name, that were missing by the ledger and are there now.
    pub fn made_tables(&self, failed: &[Failed], statements: &[Statement]) -> HashSet<(String, String)> {
        let made = to_repeat(failed, statements).into_iter().filter(|index| !self.cause.contains_key(index));
        let tables = made.map(|index| &statements[index]).filter(|s| s.makes() && s.object.class == "table");
        tables.map(|s| (s.object.schema.clone(), s.object.name.clone())).collect()
    }

    /// What the ledger kept, found again in a plan. What the plan does not have any more is not missing any more.
    pub fn remembered(failed: &[Failed], statements: &[Statement]) -> Self {
        let mut failures = Self::default();
        let found = Found::new(failed, statements);
        for one in failed.iter().filter(|one| one.because.is_none()) {
            for index in found.statements(one, statements) {
                failures.fail(index, one.reason.clone());
            }
        }
        failures.follow(statements);
        failures
    }
}

/// The statements before the data that are to be executed once more, in their order: what the ledger kept, and all that needs it.
pub fn to_repeat(failed: &[Failed], statements: &[Statement]) -> BTreeSet<usize> {
    let found = Found::new(failed, statements);
    let mut open: BTreeSet<usize> = failed.iter().flat_map(|one| found.statements(one, statements)).collect();
    let Some(&first) = open.first() else { return open };
    for index in first + 1..statements.len() {
        let mut needs = statements[index].needs();
        if statements[index].section == Section::BeforeData && needs.any(|n| statements[n].makes() && open.contains(&n)) {
            open.insert(index);
        }
    }
    open
}

/// The statement that gives an object to its owner, if it has one: where that works, the object is there, whoever made it.
pub fn handing_over<'p>(statements: &'p [Statement], made: &Statement) -> Option<&'p Statement> {
    statements.iter().find(|s| s.part == Part::Owner && s.object == made.object)
}

/// Where a plan has the objects that the ledger names.
struct Found {
    by_object: HashMap<String, Vec<usize>>,
}

impl Found {
    fn new(failed: &[Failed], statements: &[Statement]) -> Self {
        let mut by_object: HashMap<String, Vec<usize>> = failed.iter().map(|one| (one.object.clone(), Vec::new())).collect();
        if !failed.is_empty() {
            for (index, statement) in statements.iter().enumerate().filter(|(_, s)| s.section == Section::BeforeData) {
                if let Some(found) = by_object.get_mut(&statement.object.to_string()) {
                    found.push(index);
                }
            }
        }
        Self { by_object }
    }

    /// The very statement; or, where the object has become another one on the source, those that make it.
    fn statements(&self, failed: &Failed, statements: &[Statement]) -> Vec<usize> {
        let of_object = self.by_object.get(&failed.object).map_or(&[][..], Vec::as_slice);
        if let Some(&same) = of_object.iter().find(|i| failed.statement.as_ref() == Some(&statements[**i].sql)) {
            return vec![same];
        }
        of_object.iter().copied().filter(|i| statements[*i].makes()).collect()
    }
}

/// A few of the objects that were left out, in words.
fn named(statements: &[Statement], left_out: &[usize]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let names: Vec<String> = left_out.iter().take(NAMED).map(|i| statements[*i].object.to_string()).collect();
    let more = left_out.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; needed by, and so left out: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(name: &str, part: Part, section: Section, after: &[u32]) -> Statement {
        Statement {
            sql: format!("{part:?} {name}"),
            secret: None,
            object: ObjectName { class: "view", schema: "s".into(), parent: String::new(), name: name.into() }.into(),
            part,
            section,
            table: None,
            between: None,
            done_when: None,
            undo: None,
            after: after.into(),
        }
    }

    fn before(name: &str, part: Part, after: &[u32]) -> Statement {
        statement(name, part, Section::BeforeData, after)
    }

    /// a ← b ← c; each with an owner; an index of c after the data; d has nothing to do with them.
    fn chain() -> Vec<Statement> {
        vec![
            before("a", Part::Create, &[]),
            before("a", Part::Owner, &[0]),
            before("b", Part::Create, &[0]),
            before("b", Part::Owner, &[2]),
            before("c", Part::Create, &[2]),
            before("d", Part::Create, &[]),
            statement("index of c", Part::Create, Section::AfterData, &[4]),
        ]
    }

    /// Executes what is not left out; the statements in `broken` fail.
    fn execute(statements: &[Statement], broken: &[usize]) -> (Failures, Vec<usize>) {
        let mut failures = Failures::default();
        let mut tried = Vec::new();
        for index in (0..statements.len()).filter(|i| statements[*i].section == Section::BeforeData) {
            if !failures.leaves_out(statements, index) {
                tried.push(index);
                if broken.contains(&index) {
                    failures.fail(index, "no".to_owned());
                }
            }
        }
        (failures, tried)
    }

    #[test]
    fn what_needs_a_failed_object_is_not_tried_and_names_it() {
        let statements = chain();
        let (mut failures, tried) = execute(&statements, &[0]);
        assert_eq!(tried, [0, 5]);
        let told: Vec<_> = failures
            .findings("db", &statements, Section::BeforeData)
            .into_iter()
            .map(|f| (f.severity, f.object, f.reason))
            .collect();
        let left_out = |name: &str| {
            (Severity::Warning, format!("view s.{name}"), "left out, since it needs view s.a, which failed".to_owned())
        };
        let failed = "no; needed by, and so left out: view s.b, view s.c, view s.index of c".to_owned();
        assert_eq!(
            told,
            [(Severity::Error, "view s.a".to_owned(), failed), left_out("b"), left_out("c"), left_out("index of c")]
        );
        assert!(failures.findings("db", &statements, Section::AfterData).is_empty());
    }

    #[test]
    fn only_the_making_of_an_object_matters_to_others() {
        let statements = chain();
        let (mut failures, tried) = execute(&statements, &[1]);
        assert_eq!(tried, [0, 1, 2, 3, 4, 5]);
        assert_eq!(failures.findings("db", &statements, Section::BeforeData).len(), 1);
    }

    #[test]
    fn what_was_forgiven_is_not_told_and_neither_is_what_needs_it() {
        let statements = chain();
        let (mut failures, _) = execute(&statements, &[0]);
        failures.forgive(|reason| reason == "no");
        assert!(failures.findings("db", &statements, Section::BeforeData).is_empty());
        assert!(failures.leaves_out(&statements, 6));
    }

    #[test]
    fn the_ledger_is_enough_to_know_what_is_missing() {
        let statements = chain();
        let (mut failures, _) = execute(&statements, &[2]);
        let kept = failures.record(&statements);
        let short: Vec<_> = kept.iter().map(|f| (f.object.as_str(), f.because.as_deref())).collect();
        assert_eq!(short, [("view s.b", None), ("view s.c", Some("view s.b"))]);
        failures.follow(&statements);
        assert_eq!(Failures::remembered(&kept, &statements), failures);
        assert_eq!(to_repeat(&kept, &statements).into_iter().collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn an_object_that_was_changed_on_the_source_is_found_again() {
        let statements = chain();
        let (failures, _) = execute(&statements, &[0]);
        let kept = failures.record(&statements);
        let mut changed = chain();
        changed[0].sql = "another definition".to_owned();
        // It is not needed by b any more, which has not been made all the same.
        changed[2].after = Box::default();
        assert_eq!(to_repeat(&kept, &changed).into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        changed.truncate(0);
        assert!(to_repeat(&kept, &changed).is_empty(), "what is gone from the source is not missing");
    }

    #[test]
    fn an_object_is_told_once_however_many_of_its_statements_fail() {
        let statements = chain();
        let (mut failures, _) = execute(&statements, &[2, 3, 5]);
        failures.fail(3, "no".to_owned());
        let findings = failures.findings("db", &statements, Section::BeforeData);
        let failed: Vec<_> = findings.iter().filter(|f| f.code == Code::StatementFailed).map(|f| f.object.as_str()).collect();
        assert_eq!(failed, ["view s.b", "view s.d"]);
        assert_eq!(findings[0].statement.as_deref(), Some("Create b;\nOwner b"));
        assert!(findings[0].reason.starts_with("no; needed by"), "{}", findings[0].reason);
    }

    #[test]
    fn labels_whose_provider_is_missing_are_one_finding() {
        let mut statements = chain();
        for index in [0, 0, 2, 4] {
            let mut label = before("", Part::Label, &[index]);
            label.object = statements[index as usize].object.clone();
            statements.push(label);
        }
        let mut failures = Failures::default();
        for index in 7..10 {
            failures.fail(index, "security label provider \"selinux\" is not loaded".to_owned());
        }
        failures.fail(10, "the provider does not like it".to_owned());
        let told: Vec<_> =
            failures.findings("db", &statements, Section::BeforeData).into_iter().map(|f| (f.code, f.object, f.reason)).collect();
        let missing = "the destination has not loaded it, so its labels can't be set there: view s.a, view s.b".to_owned();
        assert_eq!(
            told,
            [
                (Code::StatementFailed, "view s.c".to_owned(), "the provider does not like it".to_owned()),
                (Code::LabelProviderMissing, "security label provider \"selinux\"".to_owned(), missing),
            ]
        );
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let mut statements = vec![before("a", Part::Create, &[])];
        statements.extend((0..300).map(|i| before(&format!("v{i:03}"), Part::Create, &[0])));
        let (mut failures, _) = execute(&statements, &[0]);
        let findings = failures.findings("db", &statements, Section::BeforeData);
        assert_eq!(findings.len(), 1 + TOLD);
        assert!(findings[0].reason.ends_with("view s.v009 and 290 more"), "{}", findings[0].reason);
    }
}
