//! The table of what is carried over, made from [`CLASSES`] for `docs/objects.md`.

use std::fmt::Write as _;

use super::{Beyond, CLASSES};

const HEAD: &str = "\
# What is carried over

This table is made from the source (`object/class/`); a test fails when it is stale, and `UPDATE_DOCS=1 cargo test -p pg-migrator
coverage` writes it anew. Every class is read from sources of version 10 to 17. \"Fixtures\" are files in `tests/fixtures` with the
oddest objects of the class that the server lets be; tests compare what `pg_dump` says of them on both sides. A number in a file's name
is the oldest version that can load it.

Objects that an extension made come with the extension, and their changed privileges are carried over. What is made after the rows, or
only at the cutover, `pg-migrator plan` shows section by section. What version 18 does not have any more is told as a finding.

| class | made | owner | comment | label | privileges | states | fixtures |
|---|---|---|---|---|---|---|---|
";

/// The document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for class in CLASSES {
        let has = |beyond| if class.covers.beyond.contains(&beyond) { "yes" } else { "" };
        let fixtures: Vec<String> = class.covers.fixtures.iter().map(|name| format!("`{name}`")).collect();
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {} | yes | {} | {} | {} | {} | {} | {} |",
            class.name.replace('_', " "),
            has(Beyond::Owner),
            has(Beyond::Comment),
            has(Beyond::Label),
            has(Beyond::Privileges),
            class.covers.states,
            fixtures.join(", ")
        );
    }
    // A class without one of these shows an empty cell.
    text.replace("|  |", "| |").replace("|  |", "| |")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_documented_coverage_is_the_coverage() {
        let path = root().join("docs/objects.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, markdown()).expect("docs/objects.md can be written");
        }
        let documented = fs::read_to_string(&path).unwrap_or_default();
        assert!(documented == markdown(), "docs/objects.md is stale: UPDATE_DOCS=1 cargo test -p pg-migrator coverage");
    }

    #[test]
    fn every_class_has_fixtures_and_every_fixture_a_class() {
        let named: BTreeSet<String> =
            CLASSES.iter().flat_map(|class| class.covers.fixtures).map(|name| format!("{name}.sql")).collect();
        assert!(CLASSES.iter().all(|class| !class.covers.fixtures.is_empty()));
        let folder = fs::read_dir(root().join("tests/fixtures")).expect("the fixtures are there");
        let mut there: BTreeSet<String> =
            folder.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
        assert!(there.remove("roles.sql"));
        assert_eq!(named, there);
    }
}
