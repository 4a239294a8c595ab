//! Drift: whether both sides' tables are still alike. To compare them is to read whole catalogs; so at most looks only a fingerprint of those
//! is asked for, and the tables are compared when it is another one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::copy::Table;
use crate::stream::subscription::TableState;

/// So many names are told of what is amiss.
const NAMES_TOLD: usize = 5;
/// Fingerprints are not asked for again before so many times as long as asking took.
const SHARE: u32 = 20;

/// The fingerprint of what [`differences`] depends on in the catalogs of a database. Any insert, update or delete of such a row changes it,
/// whoever commits first; analyzing, truncating or granting does not.
const FINGERPRINT: &str = include_str!("drift.sql");

/// What is known of the catalogs since the tables were compared.
#[derive(Debug, Default)]
pub struct Watch {
    compared: Option<[String; 2]>,
    due: Option<Instant>,
}

impl Watch {
    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// Looks. Gives both sides' fingerprints if they are others than when the tables were compared.
    pub async fn look(&mut self, source: &Client, destination: &Client) -> Result<Option<[String; 2]>, tokio_postgres::Error> {
        let began = Instant::now();
        let (ours, theirs) = tokio::try_join!(source.query_one(FINGERPRINT, &[]), destination.query_one(FINGERPRINT, &[]))?;
        Ok(self.note(Instant::now(), began.elapsed(), [ours.get(0), theirs.get(0)]))
    }

    fn note(&mut self, now: Instant, took: Duration, found: [String; 2]) -> Option<[String; 2]> {
        self.due = Some(now + SHARE * took);
        (self.compared.as_ref() != Some(&found)).then_some(found)
    }

    /// The tables have been compared, as they were at these fingerprints or later.
    pub fn compared(&mut self, found: Option<[String; 2]>) {
        if found.is_some() {
            self.compared = found;
        }
    }
}

/// The tables of both sides without those that are `elsewhere`: in streams that nobody compares yet.
pub fn without(source: &[Table], destination: &[Table], elsewhere: &HashSet<u32>) -> (Vec<Table>, Vec<Table>) {
    let (left_out, source): (Vec<&Table>, Vec<&Table>) = source.iter().partition(|table| elsewhere.contains(&table.oid));
    let names: HashSet<_> = left_out.iter().map(|table| (&table.schema, &table.name)).collect();
    let destination = destination.iter().filter(|table| !names.contains(&(&table.schema, &table.name)));
    (source.into_iter().cloned().collect(), destination.cloned().collect())
}

/// How the two sides' tables differ, in words, a few of them.
pub fn differences(
    source: &[Table],
    destination: &[Table],
    attached: &HashMap<(String, String), TableState>,
    published: &HashSet<u32>,
) -> Vec<String> {
    let key = |t: &Table| (t.schema.clone(), t.name.clone());
    let there: HashMap<_, _> = destination.iter().map(|t| (key(t), t)).collect();
    let here: HashSet<_> = source.iter().map(key).collect();
    let mut differences = Vec::new();
    for table in source {
        let label = table.label();
        match there.get(&key(table)) {
            None => differences.push(format!("table {label} is only on the source")),
            Some(other) if other.fingerprint != table.fingerprint => {
                differences.push(format!(
                    "columns of {label}: source has ({}), destination has ({})",
                    table.fingerprint, other.fingerprint
                ));
            }
            Some(other) if other.ancestors != table.ancestors => {
                let of = |ancestors: &str| {
                    if ancestors.is_empty() {
                        "it is nobody's partition or child".to_owned()
                    } else {
                        format!("it is one of {ancestors}")
                    }
                };
                differences.push(format!(
                    "{label} does not belong to the same tables: on the source {}, on the destination {}",
                    of(&table.ancestors),
                    of(&other.ancestors)
                ));
            }
            // The name is the same, the table is another one: dropped and made anew, or taken out of the publication.
            Some(_) if !published.contains(&table.oid) => {
                differences.push(format!("table {label} is not in our publication: it was made anew, or somebody took it out"));
            }
            Some(_) if !attached.contains_key(&key(table)) => {
                differences.push(format!("table {label} is on both sides, but is not carried over"));
            }
            Some(_) => {}
        }
    }
    for (schema, name) in attached.keys().filter(|k| !here.contains(*k)) {
        differences.push(format!("table {schema}.{name} is no longer on the source"));
    }
    // Dropped on the source before it was carried over, or made here by somebody else.
    for table in destination.iter().filter(|t| !here.contains(&key(t)) && !attached.contains_key(&key(t))) {
        differences.push(format!("table {} is only on the destination", table.label()));
    }
    differences.sort();
    let more = differences.len().saturating_sub(NAMES_TOLD);
    differences.truncate(NAMES_TOLD);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::table::sample;

    fn table(name: &str, fingerprint: &str) -> Table {
        Table { fingerprint: fingerprint.into(), ..sample(name, 0) }
    }

    #[test]
    fn drift_names_tables_and_columns_that_differ() {
        let attached = HashMap::from([
            (("s".to_owned(), "a".to_owned()), TableState::Ready),
            (("s".to_owned(), "gone".to_owned()), TableState::Ready),
        ]);
        let told = differences(
            &[table("a", "x integer"), table("new", ""), table("left", "")],
            &[table("a", "x text"), table("left", ""), table("gone", ""), table("extra", "")],
            &attached,
            &HashSet::from([1]),
        );
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told.iter().any(|d| d.contains("s.extra is only on the destination")));
        assert!(told.iter().any(|d| d.contains("columns of s.a")));
        assert!(told.iter().any(|d| d.contains("s.new is only on the source")));
        assert!(told.iter().any(|d| d.contains("s.left is on both sides")));
        assert!(told.iter().any(|d| d.contains("s.gone is no longer")));
    }

    #[test]
    fn a_partition_that_was_attached_on_one_side_alone_is_drift() {
        let attached = HashMap::from([(("s".to_owned(), "a".to_owned()), TableState::Ready)]);
        let of = |ancestors: &str| [Table { ancestors: ancestors.into(), ..table("a", "x integer") }];
        let published = HashSet::from([1]);
        assert!(differences(&of("s.root"), &of("s.root"), &attached, &published).is_empty());
        let told = differences(&of("s.root"), &of(""), &attached, &published);
        assert!(told.len() == 1 && told[0].contains("on the source it is one of s.root"), "{told:?}");
    }

    #[test]
    fn tables_of_streams_that_have_not_begun_are_not_compared() {
        let source = [table("begun", "x integer"), Table { oid: 2, ..table("elsewhere", "x integer") }];
        let destination = [table("begun", "x integer"), table("elsewhere", "x text"), table("extra", "")];
        let (ours, theirs) = without(&source, &destination, &HashSet::from([2]));
        let attached = HashMap::from([(("s".to_owned(), "begun".to_owned()), TableState::Ready)]);
        let told = differences(&ours, &theirs, &attached, &HashSet::from([1]));
        assert_eq!(told, ["table s.extra is only on the destination"]);
    }

    #[test]
    fn a_table_made_anew_under_its_old_name_is_drift() {
        let attached = HashMap::from([(("s".to_owned(), "a".to_owned()), TableState::Ready)]);
        let (source, destination) = ([table("a", "x integer")], [table("a", "x integer")]);
        assert!(differences(&source, &destination, &attached, &HashSet::from([1])).is_empty());
        let told = differences(&source, &destination, &attached, &HashSet::from([2]));
        assert!(told.len() == 1 && told[0].contains("not in our publication"), "{told:?}");
    }

    #[test]
    fn tables_are_compared_again_until_it_is_known_that_they_were_at_this_fingerprint() {
        let print = |one: &str| [one.to_owned(), "theirs".to_owned()];
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let took = Duration::from_millis(10);
        let mut watch = Watch::default();
        assert!(watch.is_due(start));
        let found = watch.note(start, took, print("a"));
        assert_eq!(found, Some(print("a")));
        assert!(!watch.is_due(at(199)) && watch.is_due(at(200)), "looking takes a twentieth of the time at most");
        assert!(watch.note(at(200), took, print("a")).is_some(), "the comparison came to nothing");
        watch.compared(found);
        assert_eq!(watch.note(at(400), took, print("a")), None);
        watch.compared(None);
        assert_eq!(watch.note(at(600), took, print("a")), None, "compared once more, for another reason");
        assert!(watch.note(at(800), took, print("b")).is_some());
    }
}
