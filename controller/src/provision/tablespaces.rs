//! Tablespaces: which of the destination's each of the source's becomes. Names are mapped onto tablespaces that are there; nothing
//! is ever made, since only an administrator knows which disks a directory should be on.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::Setting;
use crate::finding::{Code, Finding, Severity};
use crate::postgres::quote::{ident, literal};
use crate::postgres::retry;

/// The tablespaces can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read the tablespaces: {}", retry::message(.0))]
pub struct Error(#[source] tokio_postgres::Error);

/// A tablespace of the source.
#[derive(Debug, Clone)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// The directory on the source's machine; empty for the one that every instance has.
    pub location: String,
}

/// Where a database and its relations go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The database's own tablespace on the destination, if not the destination's default one.
    pub database: Option<String>,
    /// By tablespace of the source: that of the destination, for relations that are to be put there by name. All others go to
    /// the database's own.
    pub relations: BTreeMap<String, String>,
}

impl Placement {
    /// The placement of a database that is in the tablespace `own` on the source (the default one if none is given), where the
    /// source's tablespaces become what `names` says.
    pub fn new(own: Option<&str>, names: &BTreeMap<String, String>) -> Self {
        let own = own.and_then(|own| names.get(own)).map_or(DEFAULT, String::as_str);
        // What is in the database's own tablespace must not be put there by name: the server refuses that for partitioned tables.
        let relations = names.iter().filter(|(_, to)| *to != own).map(|(from, to)| (from.clone(), to.clone())).collect();
        Self { database: (own != DEFAULT).then(|| own.to_owned()), relations }
    }
}

/// The tablespace that every instance has.
const DEFAULT: &str = "pg_default";

/// Reads both sides' tablespaces. Gives the destination's name by the source's, without those that go to the default one for
/// lack of another, and what to know.
pub async fn read(
    source: &Client,
    destination: &Client,
    configured: &BTreeMap<String, String>,
) -> Result<(BTreeMap<String, String>, Vec<Finding>), Error> {
    const QUERY: &str = include_str!("tablespaces/tablespaces.sql");
    let on_source = source.query(QUERY, &[]).await.map_err(Error)?;
    let on_source: Vec<Tablespace> =
        on_source.iter().map(|row| Tablespace { name: row.get("name"), location: row.get("location") }).collect();
    let there = destination.query(QUERY, &[]).await.map_err(Error)?;
    let there = there.iter().map(|row| row.get("name")).collect();
    Ok(resolve(&on_source, &there, configured))
}

fn resolve(
    source: &[Tablespace],
    destination: &BTreeSet<String>,
    configured: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<Finding>) {
    let mut names = BTreeMap::new();
    let mut findings = Vec::new();
    let mut find = |severity, code, object, reason, fix| {
        findings.push(Finding { severity, database: String::new(), code, object, reason, fix, statement: None });
    };
    for Tablespace { name, location } in source {
        let location = if location.is_empty() { "/a/directory/of/the/server" } else { location };
        match configured.get(name) {
            Some(to) if destination.contains(to) => {
                names.insert(name.clone(), to.clone());
            }
            Some(to) => find(
                Severity::Error,
                Code::TablespaceMissing,
                format!("destination: tablespace {}", ident(to)),
                format!(
                    "the mapping puts there what is in {} on the source, and the destination has no such tablespace",
                    ident(name)
                ),
                format!("on the destination: CREATE TABLESPACE {} LOCATION {};", ident(to), literal(location).trim_start()),
            ),
            None if destination.contains(name) => {
                names.insert(name.clone(), name.clone());
            }
            None => find(
                Severity::Warning,
                Code::TablespaceUnmapped,
                format!("source: tablespace {}", ident(name)),
                "the destination has no tablespace of this name and the mapping names none for it: what is in it goes to the \
                 database's default one"
                    .to_owned(),
                format!(
                    "on the destination: CREATE TABLESPACE {} LOCATION {}; or name another one under tablespaces of the mapping \
                     (pg_default, if that is what you want)",
                    ident(name),
                    literal(location).trim_start()
                ),
            ),
        }
    }
    for name in configured.keys().filter(|name| !source.iter().any(|t| t.name == **name)) {
        find(
            Severity::Warning,
            Code::TablespaceMissing,
            format!("source: tablespace {}", ident(name)),
            "the mapping names it, and the source has no such tablespace".to_owned(),
            "look at tablespaces of the mapping: names are as in pg_tablespace, case included".to_owned(),
        );
    }
    (names, findings)
}

/// A statement that a tablespace of the destination lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// The tablespace on the destination.
    pub tablespace: String,
    /// The provider, if the statement sets a security label.
    pub label_of: Option<String>,
    /// The statement.
    pub sql: String,
}

/// What the destination's tablespaces lack of privileges, comments, options and security labels that the source's have. Nothing is taken away;
/// `is_carried` says of which roles privileges are.
pub async fn additions(
    source: &Client,
    destination: &Client,
    names: &BTreeMap<String, String>,
    is_carried: impl Fn(&str) -> bool,
) -> Result<Vec<Addition>, Error> {
    let (from, there) = (described(source).await?, described(destination).await?);
    let mut additions = Vec::new();
    for (name, to) in names {
        let (Some(wanted), Some(present)) = (from.get(name), there.get(to)) else { continue };
        let target = ident(to);
        let mut add = |label_of: Option<&String>, sql| {
            additions.push(Addition { tablespace: to.clone(), label_of: label_of.cloned(), sql });
        };
        for (grantee, grantable) in &wanted.grants {
            let held = present.grants.iter().any(|(other, more)| other == grantee && more >= grantable);
            if held || !is_carried(grantee) {
                continue;
            }
            let role = if grantee.is_empty() { "PUBLIC".to_owned() } else { ident(grantee) };
            let option = if *grantable { " WITH GRANT OPTION" } else { "" };
            add(None, format!("GRANT CREATE ON TABLESPACE {target} TO {role}{option}"));
        }
        if let (Some(comment), None) = (&wanted.comment, &present.comment) {
            let comment = literal(comment);
            add(None, format!("COMMENT ON TABLESPACE {target} IS {}", comment.trim_start()));
        }
        // The planner's estimates are of the disk that the name stands for; what the destination's administrator has said of its own is left.
        if name == to && present.options.is_empty() && !wanted.options.is_empty() {
            let options = wanted.options.iter().filter_map(|option| Setting::parse(option));
            let options: Vec<String> =
                options.map(|o| format!("{} = {}", ident(&o.name), literal(&o.value).trim_start())).collect();
            add(None, format!("ALTER TABLESPACE {target} SET ({})", options.join(", ")));
        }
        for (provider, label) in wanted.labels.iter().filter(|(provider, _)| !present.labels.contains_key(*provider)) {
            let sql = format!("SECURITY LABEL FOR {} ON TABLESPACE {target} IS {}", ident(provider), literal(label).trim_start());
            add(Some(provider), sql);
        }
    }
    Ok(additions)
}

/// What a tablespace has beside its place.
struct Description {
    /// Who may create in it, by name (empty for PUBLIC), and whether they may pass it on; without its owner.
    grants: Vec<(String, bool)>,
    comment: Option<String>,
    /// What the planner goes by: `seq_page_cost=2`.
    options: Vec<String>,
    /// Security labels by provider.
    labels: BTreeMap<String, String>,
}

async fn described(client: &Client) -> Result<BTreeMap<String, Description>, Error> {
    let rows = client.query(include_str!("tablespaces/described.sql"), &[]).await.map_err(Error)?;
    let description = |row: &tokio_postgres::Row| {
        let (grantees, grantable): (Vec<String>, Vec<bool>) = (row.get("grantees"), row.get("grantable"));
        let (providers, labels): (Vec<String>, Vec<String>) = (row.get("label_providers"), row.get("labels"));
        Description {
            grants: grantees.into_iter().zip(grantable).collect(),
            comment: row.get("comment"),
            options: row.get("options"),
            labels: providers.into_iter().zip(labels).collect(),
        }
    };
    Ok(rows.iter().map(|row| (row.get("name"), description(row))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tablespaces(names: &[&str]) -> Vec<Tablespace> {
        names.iter().map(|&name| Tablespace { name: name.to_owned(), location: format!("/disk/{name}") }).collect()
    }

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect()
    }

    #[test]
    fn a_name_is_mapped_as_configured_or_onto_its_like_or_told() {
        let there = ["pg_default", "fast", "nvme"].map(str::to_owned).into();
        let source = tablespaces(&["pg_default", "fast", "ssd", "archive", "old"]);
        let (mapped, findings) = resolve(&source, &there, &names(&[("ssd", "nvme"), ("archive", "tape"), ("typo", "fast")]));
        assert_eq!(mapped, names(&[("pg_default", "pg_default"), ("fast", "fast"), ("ssd", "nvme")]));
        let told: Vec<_> = findings.iter().map(|f| (f.severity, f.code.as_str(), f.object.as_str())).collect();
        assert_eq!(
            told,
            [
                (Severity::Error, "tablespace_missing", "destination: tablespace \"tape\""),
                (Severity::Warning, "tablespace_unmapped", "source: tablespace \"old\""),
                (Severity::Warning, "tablespace_missing", "source: tablespace \"typo\""),
            ]
        );
        assert!(findings[0].fix.contains("CREATE TABLESPACE \"tape\" LOCATION '/disk/archive'"));
    }

    #[test]
    fn what_is_in_the_databases_own_tablespace_is_not_put_there_by_name() {
        let mapped = names(&[("pg_default", "pg_default"), ("fast", "nvme"), ("ssd", "nvme"), ("slow", "slow")]);
        let in_default = Placement::new(None, &mapped);
        assert_eq!(in_default.database, None);
        assert_eq!(in_default.relations, names(&[("fast", "nvme"), ("ssd", "nvme"), ("slow", "slow")]));
        let in_fast = Placement::new(Some("fast"), &mapped);
        assert_eq!(in_fast.database.as_deref(), Some("nvme"));
        assert_eq!(in_fast.relations, names(&[("pg_default", "pg_default"), ("slow", "slow")]));
        assert_eq!(Placement::new(Some("unmapped"), &mapped), in_default);
    }
}
