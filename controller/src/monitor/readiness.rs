//! When a switch is safe: a list of facts, each with what it found and what to do if it does not hold. Pure.

use std::time::Duration;

use serde::Serialize;

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: stable, for people and scripts.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do if it does not hold; empty where waiting is all there is to do.
    pub fix: String,
}

/// What was observed of a streaming database.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Tables on the source that are to be carried.
    pub tables: usize,
    /// Those of them that are in step.
    pub tables_ready: usize,
    /// Names of some that are not.
    pub tables_not_ready: Vec<String>,
    /// Whether a walsender serves our slot.
    pub slot_active: bool,
    /// Whether the apply worker runs.
    pub worker_running: bool,
    /// The latest error of the apply worker, if it has not proved since that it got past it.
    pub recent_error: Option<String>,
    /// Age of the youngest marker that the destination has confirmed, if any was.
    pub marker_age: Option<Duration>,
    /// The oldest a marker may be: it was emitted after the question.
    pub marker_limit: Duration,
    /// Bytes behind.
    pub lag_bytes: u64,
    /// The most that is allowed.
    pub max_lag_bytes: u64,
    /// For how long the lag has been below that.
    pub below_limit_for: Duration,
    /// How long it has to be.
    pub stable_for: Duration,
    /// How the two schemas differ, where they do.
    pub drift: Vec<String>,
    /// Sequences carried over at the last look.
    pub sequences: usize,
    /// Whether carrying them over succeeded.
    pub sequences_error: Option<String>,
    /// Prepared transactions open in the source database.
    pub prepared_transactions: Vec<String>,
    /// Statements that are still to be executed or validated.
    pub statements_open: usize,
    /// Findings of severity error.
    pub errors: Vec<String>,
    /// What travels beside the stream, once it was looked at.
    pub beside: Option<Beside>,
    /// What had to be proved equal, once that was tried.
    pub proof: Option<Proof>,
}

/// What was found of the tables of which a stream may not have carried everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Whether they could be compared.
    pub compared: bool,
    /// Those that are not equal, or what went wrong.
    pub troubles: Vec<String>,
    /// What cures them.
    pub fix: String,
    /// What there is, and how much longer it makes the block of a cutover.
    pub detail: String,
}

/// What was found of that which the stream does not carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Whether it was copied, the last time.
    pub copied: bool,
    /// What keeps both sides from being alike.
    pub troubles: Vec<String>,
    /// What there is, and how much longer it makes the block of a cutover.
    pub detail: String,
}

fn check(name: &'static str, ok: bool, detail: String, fix: &str) -> Check {
    Check { name, ok, detail, fix: if ok { String::new() } else { fix.to_owned() } }
}

/// Establishes every fact.
pub fn checks(facts: &Facts) -> Vec<Check> {
    let seconds = |d: Duration| format!("{:.1} s", d.as_secs_f64());
    vec![
        check(
            "tables_in_step",
            facts.tables_ready == facts.tables,
            if facts.tables_ready == facts.tables {
                format!("{} of {} tables", facts.tables_ready, facts.tables)
            } else {
                format!("{} of {} tables; not yet: {}", facts.tables_ready, facts.tables, facts.tables_not_ready.join(", "))
            },
            "wait; for a table that failed see migrator.findings",
        ),
        check(
            "stream_running",
            facts.slot_active && facts.worker_running && facts.recent_error.is_none(),
            match (&facts.recent_error, facts.slot_active && facts.worker_running) {
                (Some(error), _) => error.clone(),
                (None, false) => "the apply worker is not connected".to_owned(),
                (None, true) => "apply worker and walsender are connected".to_owned(),
            },
            "look into the destination's server log for the apply worker's message; it is tried again by itself",
        ),
        check(
            "applied_past_marker",
            facts.marker_age.is_some_and(|age| age <= facts.marker_limit),
            match facts.marker_age {
                Some(age) => format!("everything committed until {} ago is applied", seconds(age)),
                None => "no marker has come through yet".to_owned(),
            },
            "",
        ),
        check(
            "lag_small_and_stable",
            facts.lag_bytes <= facts.max_lag_bytes && facts.below_limit_for >= facts.stable_for,
            format!("{} bytes behind, at most {} for {}", facts.lag_bytes, facts.max_lag_bytes, seconds(facts.below_limit_for)),
            "",
        ),
        check(
            "schemas_equal",
            facts.drift.is_empty(),
            if facts.drift.is_empty() { "no difference in tables and columns".to_owned() } else { facts.drift.join("; ") },
            "make the same change on both sides, or take it back; a table whose columns were changed is compared by itself then (carried_in_doubt)",
        ),
        check(
            "sequences_copied",
            facts.sequences_error.is_none(),
            facts.sequences_error.clone().unwrap_or_else(|| format!("{} sequences", facts.sequences)),
            "mend what the message names; sequences are carried over again by themselves",
        ),
        check(
            "no_prepared_transactions",
            facts.prepared_transactions.is_empty(),
            if facts.prepared_transactions.is_empty() { "none".to_owned() } else { facts.prepared_transactions.join(", ") },
            "COMMIT PREPARED or ROLLBACK PREPARED each of them on the source",
        ),
        check(
            "schema_complete",
            facts.statements_open == 0,
            if facts.statements_open == 0 {
                "indexes, keys and foreign keys are built and valid".to_owned()
            } else {
                format!("{} statements still to be executed", facts.statements_open)
            },
            "wait; for a statement that failed see migrator.findings",
        ),
        check(
            "no_errors",
            facts.errors.is_empty(),
            if facts.errors.is_empty() { "no finding of severity error".to_owned() } else { facts.errors.join("; ") },
            "select * from migrator.findings where resolved_at is null and severity = 'error' says what to do about each",
        ),
        check(
            "carried_beside",
            facts.beside.as_ref().is_some_and(|b| b.copied && b.troubles.is_empty()),
            match &facts.beside {
                None => "what the stream does not carry has not been copied yet".to_owned(),
                Some(beside) if beside.troubles.is_empty() => beside.detail.clone(),
                Some(beside) => beside.troubles.join("; "),
            },
            "wait; where a message is shown, mend what it names: it is tried again by itself",
        ),
        check(
            "proved_equal",
            facts.proof.as_ref().is_some_and(|p| p.compared && p.troubles.is_empty()),
            match &facts.proof {
                None => "not compared yet".to_owned(),
                Some(proof) if proof.troubles.is_empty() => proof.detail.clone(),
                Some(proof) => proof.troubles.join("; "),
            },
            facts.proof.as_ref().map_or("", |proof| proof.fix.as_str()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            tables: 2,
            tables_ready: 2,
            slot_active: true,
            worker_running: true,
            marker_age: Some(Duration::from_secs(1)),
            marker_limit: Duration::from_secs(10),
            max_lag_bytes: 100,
            below_limit_for: Duration::from_secs(6),
            stable_for: Duration::from_secs(5),
            beside: Some(Beside { copied: true, ..Beside::default() }),
            proof: Some(Proof { compared: true, ..Proof::default() }),
            ..Facts::default()
        }
    }

    fn failing(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
        let mut facts = good();
        change(&mut facts);
        checks(&facts).into_iter().filter(|c| !c.ok).map(|c| c.name).collect()
    }

    #[test]
    fn ready_when_every_fact_holds() {
        assert!(failing(|_| {}).is_empty());
    }

    #[test]
    fn every_fact_can_fail_alone() {
        assert_eq!(failing(|f| f.tables_ready = 1), ["tables_in_step"]);
        assert_eq!(failing(|f| f.slot_active = false), ["stream_running"]);
        assert_eq!(failing(|f| f.recent_error = Some("duplicate key".into())), ["stream_running"]);
        assert_eq!(failing(|f| f.marker_age = None), ["applied_past_marker"]);
        assert_eq!(failing(|f| f.marker_age = Some(Duration::from_secs(11))), ["applied_past_marker"]);
        assert_eq!(failing(|f| f.lag_bytes = 101), ["lag_small_and_stable"]);
        assert_eq!(failing(|f| f.below_limit_for = Duration::ZERO), ["lag_small_and_stable"]);
        assert_eq!(failing(|f| f.drift.push("table x".into())), ["schemas_equal"]);
        assert_eq!(failing(|f| f.sequences_error = Some("no".into())), ["sequences_copied"]);
        assert_eq!(failing(|f| f.prepared_transactions.push("gid".into())), ["no_prepared_transactions"]);
        assert_eq!(failing(|f| f.statements_open = 1), ["schema_complete"]);
        assert_eq!(failing(|f| f.errors.push("e".into())), ["no_errors"]);
        assert_eq!(failing(|f| f.beside = None), ["carried_beside"]);
        assert_eq!(failing(|f| f.beside = Some(Beside::default())), ["carried_beside"]);
        let trouble = Beside { copied: true, troubles: vec!["t".into()], ..Beside::default() };
        assert_eq!(failing(|f| f.beside = Some(trouble)), ["carried_beside"]);
        assert_eq!(failing(|f| f.proof = None), ["proved_equal"]);
        assert_eq!(failing(|f| f.proof = Some(Proof::default())), ["proved_equal"]);
        let unequal = Proof { compared: true, troubles: vec!["t".into()], ..Proof::default() };
        assert_eq!(failing(|f| f.proof = Some(unequal)), ["proved_equal"]);
    }

    #[test]
    fn what_holds_needs_no_fix() {
        assert!(checks(&good()).iter().all(|c| c.fix.is_empty()));
    }
}
