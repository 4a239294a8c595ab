//! The table of what is carried over, made from [`CLASSES`] for `docs/objects.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Beyond, CLASSES};

const HEAD: &str = "\
# What is carried over

This table is made from the source (`object/class/`); a test fails when it is stale, and `UPDATE_DOCS=1 cargo test -p pg-migrator
coverage` writes it anew. \"Sources\" are the versions that have such objects, and those that brought more of the class. \"Fixtures\" are files in
`tests/fixtures` with the oddest objects of the class that the server lets be; a number in a file's name is the oldest version that can load it.
`tests/tests/schema_dump.rs` carries all of them from 10, 13, 15 and 17, and compares what `pg_dump` says of both sides and of what psql makes of
the plan; `labels.rs` does so with a security label on every object that may have one.

Objects that an extension made come with the extension, and their changed privileges are carried over; like `pg_dump`, not labels and comments
that were put on them later. What is made after the rows, or only at the cutover, `pg-migrator plan` shows section by section. What version 18
does not have any more is told as a finding.

| class | made | states | comment | label | privileges | owner | sources | fixtures |
|---|---|---|---|---|---|---|---|---|
";

/// What belongs to the instance, and is no class.
struct Kind {
    name: &'static str,
    /// What it may have besides its definition.
    beyond: &'static [Beyond],
    /// What else is carried.
    states: &'static str,
    /// The oldest version that has it, and those that brought more of it.
    since: &'static [u32],
    /// The file in `tests/tests`, without `.rs`.
    test: &'static str,
}

const INSTANCE: &[Kind] = &[
    Kind {
        name: "role",
        beyond: &[Beyond::Comment, Beyond::Label],
        states: "attributes, password hash, validity, memberships with their options and grantors, settings",
        since: &[10, 16],
        test: "instance",
    },
    Kind {
        name: "database",
        beyond: &[Beyond::Owner, Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "encoding, locale, tablespace, settings; connection limit, IS_TEMPLATE and settings that would hinder a stream at the cutover",
        since: &[10, 15, 16, 17],
        test: "instance",
    },
    Kind {
        name: "tablespace",
        beyond: &[Beyond::Comment, Beyond::Label, Beyond::Privileges],
        states: "none is made: what is in it goes where the mapping says",
        since: &[10],
        test: "tablespaces",
    },
    Kind { name: "parameter", beyond: &[Beyond::Privileges], states: "", since: &[15], test: "instance" },
];

/// The heading of what belongs to the instance.
const INSTANCE_HEAD: &str = "
What belongs to the instance is no class of `object/class/`, and is compared with what `pg_dumpall` carries.

| kind | states | comment | label | privileges | owner | sources | test |
|---|---|---|---|---|---|---|---|
";

/// The document.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for class in CLASSES {
        let fixtures: Vec<String> = class.covers.fixtures.iter().map(|name| format!("`{name}`")).collect();
        let numbers: Vec<u32> = class.covers.fixtures.iter().filter_map(|name| since(name)).collect();
        let has_all = class.covers.fixtures.iter().any(|name| since(name).is_none());
        let (oldest, more) = if has_all { (10, &numbers[..]) } else { (numbers[0], &numbers[1..]) };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {} | yes | {} | {} | {} | {} |",
            class.name.replace('_', " "),
            class.covers.states,
            marks(class.covers.beyond),
            sources(oldest, more),
            fixtures.join(", ")
        );
    }
    text.push_str(INSTANCE_HEAD);
    for Kind { name, beyond, states, since, test } in INSTANCE {
        let _ = writeln!(text, "| {name} | {states} | {} | {} | `{test}.rs` |", marks(beyond), sources(since[0], &since[1..]));
    }
    // Without one of these there is an empty cell.
    text.replace("|  |", "| |").replace("|  |", "| |")
}

/// The cells of comment, label, privileges and owner.
fn marks(beyond: &[Beyond]) -> String {
    let has = |one| if beyond.contains(&one) { "yes" } else { "" };
    [Beyond::Comment, Beyond::Label, Beyond::Privileges, Beyond::Owner].map(has).join(" | ")
}

/// The oldest version that can load a fixture, if not all can.
fn since(fixture: &str) -> Option<u32> {
    fixture.rsplit_once('_').and_then(|(_, number)| number.parse().ok())
}

fn sources(oldest: u32, more: &[u32]) -> String {
    let more: BTreeSet<u32> = more.iter().copied().collect();
    let more: Vec<String> = more.iter().map(u32::to_string).collect();
    if more.is_empty() { format!("{oldest}–17") } else { format!("{oldest}–17, more since {}", more.join(", ")) }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_fixtures_name_says_which_versions_can_load_it() {
        for name in CLASSES.iter().flat_map(|class| class.covers.fixtures) {
            let path = root().join(format!("tests/fixtures/{name}.sql"));
            let sql = fs::read_to_string(&path).expect("the fixture is there");
            let needs = sql.lines().next().and_then(|line| line.strip_prefix("-- needs: ")).and_then(|n| n.trim().parse().ok());
            assert_eq!(since(name), needs, "{name}");
        }
    }

    #[test]
    fn the_tests_that_the_page_names_are_there() {
        let names = ["schema_dump", "labels"].into_iter().chain(INSTANCE.iter().map(|kind| kind.test));
        for name in names {
            assert!(root().join(format!("tests/tests/{name}.rs")).exists(), "{name}");
        }
    }
}
