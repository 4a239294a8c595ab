//! One cause, one finding: what was seen beforehand in the source's catalogs, and what the destination said when the statement was tried.
//!
//! The first knows the remedy, the second the server's words and what needs the object. Both name the object, each in its way; where they
//! mean the same, the second becomes part of the first. Where that can't be told for sure both stay.

use std::collections::HashMap;

use crate::finding::{Code, Finding, Severity};
use crate::object::removed;
use crate::postgres::quote;

/// Kinds of findings that say beforehand why a statement will fail.
const CAUSES: [Code; 11] = [
    Code::ConversionFunction,
    Code::ExtensionMissing,
    Code::IcuMissing,
    Code::LocaleMissing,
    Code::OidColumn,
    Code::PolymorphicFunction,
    Code::PostfixOperator,
    Code::RemovedName,
    Code::RemovedOperator,
    Code::RemovedSetting,
    Code::RemovedType,
];

/// Kinds of which an object may have several, which are shown as one: an object's findings are known by their kind.
const REPEATED: [Code; 6] = [
    Code::DatabaseSettingFailed,
    Code::LabelProviderMissing,
    Code::LocaleMissing,
    Code::RoleFailed,
    Code::SettingRefused,
    Code::SettingUnknown,
];

/// The findings with each cause told once, in their order.
pub fn told_once(findings: Vec<Finding>) -> Vec<Finding> {
    let mut told: Vec<Finding> = Vec::with_capacity(findings.len());
    let mut failed = Vec::new();
    let mut causes: HashMap<(String, String), Vec<(usize, Seen)>> = HashMap::new();
    for finding in findings {
        if finding.code == Code::StatementFailed {
            failed.push(finding);
            continue;
        }
        if REPEATED.contains(&finding.code)
            && let Some(known) = told.iter_mut().find(|f| same_kind(f, &finding))
        {
            if known.reason != finding.reason {
                known.reason = format!("{}; {}", known.reason, finding.reason);
            }
            add_statement(known, finding.statement);
            continue;
        }
        if CAUSES.contains(&finding.code) {
            let seen = Seen::of(&finding.object);
            for name in seen.names() {
                causes.entry((finding.database.clone(), name)).or_default().push((told.len(), seen.clone()));
            }
        }
        told.push(finding);
    }
    for finding in failed {
        let of_name = |name: &String| causes.get(&(finding.database.clone(), name.clone())).into_iter().flatten();
        let statement = finding.statement.as_deref().unwrap_or_default();
        let names = names_of_failed(&finding.object);
        let cause = names.iter().flat_map(of_name).find(|(_, seen)| seen.is_meant_by(statement));
        match cause.map(|(cause, seen)| (*cause, names.contains(&seen.name))) {
            Some((cause, is_same)) => join(&mut told[cause], finding, is_same),
            None => told.push(finding),
        }
    }
    without_guesses(told)
}

/// Leaves out what was guessed of a function's body where the server has judged that body, and names the same.
fn without_guesses(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut guesses: HashMap<(String, String), Finding> = HashMap::new();
    for guess in findings.iter().filter(|f| f.code == Code::RemovedName && f.severity == Severity::Warning) {
        guesses.insert((guess.database.clone(), guess.object.clone()), guess.clone());
    }
    let mut known = Vec::new();
    for judged in findings.iter_mut().filter(|f| f.code == Code::FunctionBodyFails) {
        let guess = guesses.remove(&(judged.database.clone(), judged.object.clone()));
        if let Some(guess) = guess.filter(|guess| removed::names(&guess.reason).all(|name| judged.reason.contains(name))) {
            judged.reason = format!("{}; {}", judged.reason, removed::details(&guess.reason));
            known.push(guess);
        }
    }
    findings.retain(|finding| !known.contains(finding));
    findings
}

fn same_kind(one: &Finding, other: &Finding) -> bool {
    (one.code, &one.database, &one.object) == (other.code, &other.database, &other.object)
}

/// Makes what failed a part of its cause, which may be about the same object or about something within it.
fn join(cause: &mut Finding, failed: Finding, is_same: bool) {
    cause.severity = Severity::Error;
    let what = if is_same { String::new() } else { format!("{} fails for it: ", failed.object) };
    cause.reason = format!("{}; {what}{}", cause.reason, failed.reason);
    add_statement(cause, failed.statement);
}

fn add_statement(finding: &mut Finding, more: Option<String>) {
    finding.statement = match (finding.statement.take(), more) {
        (Some(one), Some(other)) => Some(format!("{one};\n{other}")),
        (one, other) => one.or(other),
    };
}

/// What a finding of the catalogs is about, which quote names where they must.
#[derive(Debug, Clone)]
struct Seen {
    /// Kind and name, as we write names: without quotes.
    name: String,
    /// Kind and name of what it is defined within.
    parent: Option<String>,
    /// The quoted names with characters that part one name from another. Without quotes they may be mistaken for others.
    doubtful: Vec<String>,
}

impl Seen {
    fn of(object: &str) -> Self {
        let mut doubtful = Vec::new();
        let name = unquoted(object, &mut doubtful);
        let within = object.strip_prefix("default of column ").or_else(|| object.strip_prefix("constraint "));
        let parent = within.and_then(parent).map(|parent| format!("within {}", unquoted(parent, &mut Vec::new())));
        Self { name, parent, doubtful }
    }

    /// By what it may be found.
    fn names(&self) -> Vec<String> {
        std::iter::once(self.name.clone()).chain(self.parent.clone()).collect()
    }

    /// Whether a failed statement about an object of that name is about this one: it has the names that leave room for doubt.
    fn is_meant_by(&self, statement: &str) -> bool {
        self.doubtful.iter().all(|name| statement.contains(&quote::ident(name)))
    }
}

/// A name of the catalogs without its quotes. What was quoted and has characters that part names is noted in `doubtful`.
fn unquoted(name: &str, doubtful: &mut Vec<String>) -> String {
    let mut text = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '"' {
            text.push(c);
            continue;
        }
        let mut inner = String::new();
        while let Some(c) = chars.next() {
            if c == '"' && chars.next_if_eq(&'"').is_none() {
                break;
            }
            inner.push(c);
        }
        text.push_str(&inner);
        if inner.contains(['.', ',', '(', ')', ' ', '"']) {
            doubtful.push(inner);
        }
    }
    text.replace(", ", ",")
}

/// What comes before the last dot outside of quotes.
fn parent(name: &str) -> Option<&str> {
    let mut quoted = false;
    let mut last = None;
    for (at, c) in name.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => last = Some(at),
            _ => {}
        }
    }
    last.map(|at| &name[..at])
}

/// By what the finding of a failed statement may be found among those of the catalogs, the surest first.
fn names_of_failed(object: &str) -> Vec<String> {
    let Some((class, name)) = object.split_once(' ') else { return vec![object.to_owned()] };
    // Types among the arguments are written as the catalogs do, the rest is without quotes.
    let name = match name.rsplit_once('(') {
        Some((name, arguments)) => format!("{name}({}", unquoted(arguments, &mut Vec::new())),
        None => name.replace(", ", ","),
    };
    let mut names = vec![format!("{} {name}", class.replace('_', " "))];
    match class {
        "index" => {
            // Indexes are named with their tables by us, and are of their schema in the catalogs.
            if let [schema, _, index] = name.split('.').collect::<Vec<_>>()[..] {
                names.push(format!("index {schema}.{index}"));
            }
        }
        "composite" | "enum" | "range" => names.push(format!("type {name}")),
        "domain" => names.extend([format!("type {name}"), format!("within {name}")]),
        "table" => names.push(format!("within {name}")),
        "check" => names.push(format!("constraint {name}")),
        _ => {}
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: Code, object: &str, reason: &str) -> Finding {
        Finding {
            severity: if code == Code::RemovedName { Severity::Warning } else { Severity::Error },
            database: "shop".to_owned(),
            code,
            object: object.to_owned(),
            reason: reason.to_owned(),
            fix: "do".to_owned(),
            statement: (code == Code::StatementFailed).then(|| "CREATE \"a.b\".c \"We ird\"".to_owned()),
        }
    }

    /// What is told of one seen beforehand and one failed statement.
    fn both(code: Code, seen: &str, failed: &str) -> Vec<Finding> {
        told_once(vec![finding(Code::StatementFailed, failed, "the server's words"), finding(code, seen, "gone")])
    }

    #[test]
    fn the_same_object_is_told_once_whatever_it_is_called() {
        for (code, seen, failed) in [
            (Code::RemovedName, "view old.\"We ird\"", "view old.We ird"),
            (Code::RemovedName, "view old.\"under_score\"", "view old.under_score"),
            (Code::RemovedName, "view \"a.b\".c", "view a.b.c"),
            (Code::RemovedName, "materialized view old.v", "materialized_view old.v"),
            (Code::RemovedType, "function old.takes(abstime,text)", "function old.takes(abstime, text)"),
            (Code::RemovedType, "function old.\"Takes\"(\"Own\".pair,text)", "function old.Takes(\"Own\".pair, text)"),
            (Code::RemovedType, "function old.fires()", "function old.fires()"),
            (Code::RemovedType, "type old.pair", "composite old.pair"),
            (Code::PostfixOperator, "operator old.!!!(bigint,NONE)", "operator old.!!!(bigint, NONE)"),
            (Code::RemovedOperator, "index old.by_factorial", "index old.factorials.by_factorial"),
            (Code::RemovedOperator, "default of column old.factorials.f", "table old.factorials"),
            (Code::RemovedOperator, "constraint old.factorials.at_most", "table old.factorials"),
            (Code::RemovedOperator, "constraint old.small.at_most", "domain old.small"),
            (Code::RemovedOperator, "constraint old.factorials.at_most", "check old.factorials.at_most"),
            (Code::OidColumn, "constraint old.factorials.at_most", "constraint old.factorials.at_most"),
            (Code::ExtensionMissing, "extension \"citext\"", "extension citext"),
        ] {
            let told = both(code, seen, failed);
            assert_eq!(told.len(), 1, "{seen} and {failed}: {told:?}");
            assert_eq!((told[0].code, told[0].severity, told[0].object.as_str()), (code, Severity::Error, seen));
            assert!(told[0].reason.starts_with("gone; ") && told[0].reason.ends_with("the server's words"), "{}", told[0].reason);
            assert!(told[0].statement.is_some());
        }
    }

    #[test]
    fn what_may_be_another_cause_is_told_apart() {
        for (code, seen, failed) in [
            (Code::RemovedName, "view old.a", "view old.b"),
            (Code::RemovedName, "view old.a", "table old.a"),
            (Code::RemovedName, "view old.a_b", "view old.a b"),
            // Another object of that name, by what its statement says.
            (Code::RemovedName, "view a.\"b.c\"", "view a.b.c"),
            (Code::RemovedType, "function old.f(abstime)", "function old.f(integer, integer)"),
            (Code::RemovedType, "function old.f(abstime)", "function old.f(integer)"),
            (Code::RemovedType, "function old.f(abstime)", "aggregate old.f(abstime)"),
            (Code::RemovedOperator, "policy old.t.sees", "table old.t"),
            (Code::WithOids, "table old.t", "table old.t"),
        ] {
            assert_eq!(both(code, seen, failed).len(), 2, "{seen} and {failed}");
        }
        let mut other = finding(Code::RemovedName, "view old.a", "gone");
        other.database = "another".to_owned();
        assert_eq!(told_once(vec![other, finding(Code::StatementFailed, "view old.a", "no")]).len(), 2);
    }

    #[test]
    fn each_overload_is_joined_to_its_own_cause() {
        let told = told_once(vec![
            finding(Code::RemovedType, "function old.f(abstime)", "gone"),
            finding(Code::RemovedSetting, "function old.f(text)", "unknown"),
            finding(Code::StatementFailed, "function old.f(text)", "of text"),
            finding(Code::StatementFailed, "function old.f(abstime)", "of abstime"),
            finding(Code::StatementFailed, "function old.f(integer)", "of integer"),
        ]);
        let told: Vec<_> = told.iter().map(|f| (f.object.as_str(), f.reason.as_str())).collect();
        let expected = [
            ("function old.f(abstime)", "gone; of abstime"),
            ("function old.f(text)", "unknown; of text"),
            ("function old.f(integer)", "of integer"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_guess_about_a_body_gives_way_to_what_the_server_says_of_it() {
        let guess = |object: &str, name: &str| {
            finding(
                Code::RemovedName,
                object,
                &format!("it names {name}, which is gone since version 17; if that is the catalogs'"),
            )
        };
        let told = told_once(vec![
            finding(Code::FunctionBodyFails, "function b.f()", "column \"checkpoints_timed\" does not exist"),
            finding(Code::FunctionBodyFails, "function b.g()", "operator does not exist: !! bigint"),
            guess("function b.f()", "checkpoints_timed"),
            guess("function b.g()", "checkpoints_req"),
            guess("function b.h()", "checkpoints_timed"),
        ]);
        let codes: Vec<_> = told.iter().map(|f| (f.code, f.object.as_str())).collect();
        let expected = [
            (Code::FunctionBodyFails, "function b.f()"),
            (Code::FunctionBodyFails, "function b.g()"),
            (Code::RemovedName, "function b.g()"),
            (Code::RemovedName, "function b.h()"),
        ];
        assert_eq!(codes, expected);
        let reason = "column \"checkpoints_timed\" does not exist; it names checkpoints_timed, which is gone since version 17";
        assert_eq!(told[0].reason, reason);
    }

    #[test]
    fn a_table_that_fails_for_two_reasons_is_one_failure() {
        let told = told_once(vec![
            finding(Code::RemovedOperator, "default of column old.t.a", "gone"),
            finding(Code::RemovedOperator, "constraint old.t.c", "gone as well"),
            finding(Code::StatementFailed, "table old.t", "no"),
        ]);
        let reasons: Vec<&str> = told.iter().map(|f| f.reason.as_str()).collect();
        assert_eq!(reasons, ["gone; table old.t fails for it: no", "gone as well"]);
    }

    #[test]
    fn what_an_object_has_several_of_is_told_together() {
        let told = told_once(vec![
            finding(Code::LabelProviderMissing, "p", "table a"),
            finding(Code::LabelProviderMissing, "q", "table a"),
            finding(Code::LabelProviderMissing, "p", "publication b"),
        ]);
        let reasons: Vec<&str> = told.iter().map(|f| f.reason.as_str()).collect();
        assert_eq!(reasons, ["table a; publication b", "table a"]);
    }
}
