//! Whether two databases look the same to `pg_dump` 18.
//!
//! What may differ between two dumps of the same thing is taken out, and nothing else:
//!
//! 1. The lines `-- Dumped from …` and `-- Dumped by …`, which name the servers' versions.
//! 2. The lines `\restrict …` and `\unrestrict …`, whose key is random.
//! 3. In dumps of globals: roles that the caller names, since each server has its own password for its superuser.

use std::fmt::Write as _;

use crate::cluster::{Cluster, output_of, tool18};
use crate::error::{Error, Result};

/// `pg_dump -s --create` of a database: definition, settings, privileges, schema.
pub fn schema(cluster: &Cluster, database: &str) -> Result<String> {
    let mut command = cluster.program(&tool18("pg_dump")?);
    command.args(["--schema-only", "--create", "--no-sync", "--dbname"]).arg(conninfo_dbname(database));
    output_of(command).map(|dump| normalised(&dump))
}

/// `pg_dumpall --globals-only`: roles, memberships, settings. Lines that name one of the roles in `without` are left out.
pub fn globals(cluster: &Cluster, without: &[&str]) -> Result<String> {
    let mut command = cluster.program(&tool18("pg_dumpall")?);
    command.args(["--globals-only", "--no-sync"]);
    let dump = normalised(&output_of(command)?);
    let names = |line: &str| without.iter().any(|role| line.split([' ', ';', '"']).any(|word| word == *role));
    Ok(dump.lines().filter(|line| !names(line)).fold(String::new(), |mut kept, line| {
        kept.push_str(line);
        kept.push('\n');
        kept
    }))
}

/// Copies the roles as an administrator would: `pg_dumpall | psql`.
pub fn copy_globals(source: &Cluster, destination: &Cluster) -> Result<()> {
    let mut dump = source.program(&tool18("pg_dumpall")?);
    dump.args(["--globals-only", "--no-sync"]);
    // The superuser is there already, and must keep its password.
    let roles = output_of(dump)?.lines().filter(|line| !line.contains(" ROLE postgres")).fold(String::new(), |mut kept, line| {
        kept.push_str(line);
        kept.push('\n');
        kept
    });
    psql(destination, "postgres", &roles)
}

/// Copies a database as an administrator would: `pg_dump | psql`. The yardstick for what we make.
pub fn copy_database(source: &Cluster, destination: &Cluster, database: &str) -> Result<()> {
    let mut dump = source.program(&tool18("pg_dump")?);
    dump.args(["--create", "--no-sync", "--dbname"]).arg(conninfo_dbname(database));
    psql(destination, "postgres", &output_of(dump)?)
}

/// Feeds a script to psql and fails at its first error.
pub fn psql(cluster: &Cluster, database: &str, script: &str) -> Result<()> {
    use std::io::Write as _;
    use std::process::Stdio;

    use crate::error::Doing;

    let mut command = cluster.program(&tool18("psql")?);
    command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname"]).arg(conninfo_dbname(database));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(|| "starting psql".to_owned())?;
    let mut stdin = child.stdin.take().ok_or_else(|| Error::Broken("psql has no standard input".to_owned()))?;
    // A broken pipe means that psql stopped at an error: its own words are better.
    let written = stdin.write_all(script.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().doing(|| "running psql".to_owned())?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Program { program: "psql".to_owned(), status: output.status.to_string(), output: words });
    }
    written.doing(|| "writing to psql".to_owned())
}

/// Two dumps are the same; if not, the error shows where.
pub fn same(what: &str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Broken(format!("{what} differs (- expected, + found):\n{}", difference(expected, found))))
}

/// The lines that only one side has, with the nearest heading of `pg_dump` above them.
fn difference(expected: &str, found: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut text = String::new();
    for (sign, lines, others) in [('-', &left, &right), ('+', &right, &left)] {
        let mut counts = std::collections::HashMap::new();
        for line in others {
            *counts.entry(*line).or_insert(0_usize) += 1;
        }
        let mut heading = "";
        for line in lines {
            if line.starts_with("-- Name: ") {
                heading = line;
            }
            match counts.get_mut(line) {
                Some(count) if *count > 0 => *count -= 1,
                _ => {
                    // Writing to a String can't fail.
                    let _ = writeln!(text, "{sign} {line}    [{heading}]");
                }
            }
        }
    }
    if text.is_empty() {
        let at = left.iter().zip(&right).position(|(a, b)| a != b).unwrap_or(0);
        let _ = writeln!(text, "the same lines in another order, from line {}: {:?} / {:?}", at + 1, left.get(at), right.get(at));
    }
    text.lines().take(200).collect::<Vec<_>>().join("\n")
}

fn normalised(dump: &str) -> String {
    let varying = ["-- Dumped from ", "-- Dumped by ", "\\restrict ", "\\unrestrict "];
    let mut text = String::with_capacity(dump.len());
    for line in dump.lines().filter(|line| !varying.iter().any(|start| line.starts_with(start))) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A database's name as a connection string, so that one with `=` in it is not taken for one.
fn conninfo_dbname(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_varies_is_taken_out() {
        let dump = "-- Dumped from database version 15.1\n\\restrict abc\nCREATE TABLE t ();\n\\unrestrict abc\n";
        assert_eq!(normalised(dump), "CREATE TABLE t ();\n");
    }

    #[test]
    fn a_difference_names_its_object() {
        let found = difference("-- Name: t; Type: TABLE\nCREATE TABLE t ();\n", "-- Name: t; Type: TABLE\nCREATE TABLE u ();\n");
        assert!(found.contains("- CREATE TABLE t ();    [-- Name: t; Type: TABLE]"), "{found}");
        assert!(found.contains("+ CREATE TABLE u ();"), "{found}");
    }
}
