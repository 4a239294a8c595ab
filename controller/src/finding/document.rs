//! The page about all kinds of findings, made from [`GROUPS`] for `docs/findings.md`.

use std::fmt::Write as _;

use super::code::GROUPS;

const HEAD: &str = "\
# Findings

Everything that stands in the way, or is not as one may expect, is a finding: in `pg-migrator check`, in `pg-migrator plan`, in the view
`migrator.findings` and on the dashboard. A finding has a severity, a code, an object, a reason, a fix and, where one failed, the statement.
`error` means that what it names can't be migrated as things stand (and that `check` ends with exit status 1); `warning`, that it will
work, but not as one may expect; `info`, that it is worth knowing. Codes are stable: scripts and alerts may rely on them.

This page is made from the list in `controller/src/finding/code.rs`; a test fails when it is stale, and `UPDATE_DOCS=1 cargo test -p
pg-migrator findings` writes it anew. To add a kind, add an entry to that list: nothing else can be a finding's code.
";

/// The document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for (group, definitions) in GROUPS {
        // Writing to a String can't fail.
        let _ = writeln!(text, "\n## {group}\n\n| code | severity | what it means | what to do |\n|---|---|---|---|");
        for definition in *definitions {
            let severities: Vec<&str> = definition.severities.iter().map(|s| s.as_str()).collect();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                definition.code,
                severities.join(", "),
                definition.meaning,
                definition.remedy
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documented_findings_are_the_findings() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, markdown()).expect("docs/findings.md can be written");
        }
        let documented = fs::read_to_string(&path).unwrap_or_default();
        assert!(documented == markdown(), "docs/findings.md is stale: UPDATE_DOCS=1 cargo test -p pg-migrator findings");
    }
}
