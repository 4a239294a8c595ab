//! One cause, one finding: what was seen beforehand in the source's catalogs, and what the destination said when the statement was tried.
//!
//! The first knows the remedy, the second the server's words and what needs the object. Both name the object, each in its way; where they
//! mean the same, the second becomes part of the first. Where that can't be told for sure both stay.

use std::collections::HashMap;

use crate::finding::{Code, Finding, Severity};

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
const REPEATED: [Code; 5] =
    [Code::DatabaseSettingFailed, Code::LabelProviderMissing, Code::RoleFailed, Code::SettingRefused, Code::SettingUnknown];

/// The findings with each cause told once, in their order.
pub fn told_once(findings: Vec<Finding>) -> Vec<Finding> {
    let mut told: Vec<Finding> = Vec::with_capacity(findings.len());
    let mut failed = Vec::new();
    let mut causes: HashMap<(String, String), usize> = HashMap::new();
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
            for name in names_of_cause(&finding.object) {
                causes.entry((finding.database.clone(), name)).or_insert(told.len());
            }
        }
        told.push(finding);
    }
    for finding in failed {
        let names = names_of_failed(&finding.object);
        match names.into_iter().find_map(|name| causes.get(&(finding.database.clone(), name))) {
            Some(&cause) => join(&mut told[cause], finding),
            None => told.push(finding),
        }
    }
    told
}

fn same_kind(one: &Finding, other: &Finding) -> bool {
    (one.code, &one.database, &one.object) == (other.code, &other.database, &other.object)
}

fn join(cause: &mut Finding, failed: Finding) {
    cause.severity = Severity::Error;
    let what =
        if plain(&cause.object) == plain(&failed.object) { String::new() } else { format!("{} fails for it: ", failed.object) };
    cause.reason = format!("{}; {what}{}", cause.reason, failed.reason);
    add_statement(cause, failed.statement);
}

fn add_statement(finding: &mut Finding, more: Option<String>) {
    finding.statement = match (finding.statement.take(), more) {
        (Some(one), Some(other)) => Some(format!("{one};\n{other}")),
        (one, other) => one.or(other),
    };
}

/// A name without what differs between the catalogs' ways of writing it and ours.
fn plain(object: &str) -> String {
    object.replace('"', "").replace('_', " ").replace(", ", ",")
}

/// By what a finding of the catalogs may be found again.
fn names_of_cause(object: &str) -> Vec<String> {
    let object = plain(object);
    // What is defined within its table.
    let within = object.strip_prefix("default of column ").or_else(|| object.strip_prefix("constraint "));
    let parent = within.and_then(|name| name.rsplit_once('.')).map(|(parent, _)| format!("within {parent}"));
    let call = with_arity(&object);
    std::iter::once(object).chain(parent).chain(call).collect()
}

/// By what the finding of a failed statement may be found among those of the catalogs, the surest first.
fn names_of_failed(object: &str) -> Vec<String> {
    let object = plain(object);
    let mut names = Vec::new();
    names.extend(with_arity(&object));
    if let Some(("index", name)) = object.split_once(' ')
        && let [schema, _, index] = name.split('.').collect::<Vec<_>>()[..]
    {
        // Indexes are named with their tables by us, and are of their schema in the catalogs.
        names.push(format!("index {schema}.{index}"));
    }
    if let Some(("composite" | "domain" | "enum" | "range", name)) = object.split_once(' ') {
        names.push(format!("type {name}"));
    }
    if let Some(("table", name)) = object.split_once(' ') {
        names.push(format!("within {name}"));
    }
    names.insert(0, object);
    names
}

/// A function by its name and the number of its arguments: the catalogs give their types alone, we their names as well.
fn with_arity(object: &str) -> Option<String> {
    let (class, _) = object.split_once(' ')?;
    let (name, arguments) = object.split_once('(')?;
    let count = if arguments == ")" { 0 } else { arguments.matches(',').count() + 1 };
    matches!(class, "function" | "aggregate").then(|| format!("{name}/{count}"))
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
            statement: (code == Code::StatementFailed).then(|| "CREATE".to_owned()),
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
            (Code::RemovedName, "materialized view old.v", "materialized_view old.v"),
            (Code::RemovedType, "function old.takes(abstime,text)", "function old.takes(a abstime, b text)"),
            (Code::RemovedType, "type old.pair", "composite old.pair"),
            (Code::PostfixOperator, "operator old.!!!(bigint,NONE)", "operator old.!!!(bigint, NONE)"),
            (Code::RemovedOperator, "index old.by_factorial", "index old.factorials.by_factorial"),
            (Code::RemovedOperator, "default of column old.factorials.f", "table old.factorials"),
            (Code::RemovedOperator, "constraint old.factorials.at_most", "table old.factorials"),
            (Code::RemovedOperator, "constraint old.factorials.at_most", "constraint old.factorials.at_most"),
            (Code::ExtensionMissing, "extension \"citext\"", "extension citext"),
        ] {
            let told = both(code, seen, failed);
            assert_eq!(told.len(), 1, "{seen} and {failed}: {told:?}");
            assert_eq!((told[0].code, told[0].severity, told[0].object.as_str()), (code, Severity::Error, seen));
            assert!(told[0].reason.starts_with("gone; ") && told[0].reason.ends_with("the server's words"), "{}", told[0].reason);
            assert_eq!(told[0].statement.as_deref(), Some("CREATE"));
        }
    }

    #[test]
    fn what_may_be_another_cause_is_told_apart() {
        for (code, seen, failed) in [
            (Code::RemovedName, "view old.a", "view old.b"),
            (Code::RemovedName, "view old.a", "table old.a"),
            (Code::RemovedType, "function old.f(abstime)", "function old.f(a integer, b integer)"),
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
