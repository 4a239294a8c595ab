//! Proving, while the stream is watched, that those tables are equal of which it may not have carried everything; so that whoever asks
//! whether a switch is safe is not told so by mistake. The cutover proves it once more, when nobody writes.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::database::{Database, Error};
use super::stall::naming_lockers;
use crate::monitor::readiness::Proof;
use crate::verify::carried::Place;
use crate::verify::history::Seen;
use crate::verify::{self, Comparison, Difference};

/// They are compared again after this long …
const EVERY: Duration = Duration::from_mins(1);
/// … and after so many times as long as the last time took.
const SHARE: u32 = 20;
/// … but no longer than this while a table stays in doubt for it: what something has happened to is not left alone for days.
const LONGEST_IN_DOUBT: Duration = Duration::from_mins(10);
/// What was found different, or could not be compared, is looked at again after this long at least.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What cures a comparison that a server refuses.
const MEND: &str = "mend what the message names: it is tried again by itself";

type Compared = Result<Comparison, verify::Error>;

/// What the loop knows of it.
#[derive(Debug, Default)]
pub(super) struct Prover {
    /// The comparison that is under way.
    task: JoinSet<Compared>,
    due: Option<Instant>,
}

impl Prover {
    /// The end of the comparison that is under way; never, if there is none.
    pub async fn ended(&mut self) -> Compared {
        match self.task.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => std::future::pending().await,
        }
    }
}

impl Prover {
    /// Whether a comparison has come to its end, or none was needed.
    pub fn has_compared(&self) -> bool {
        self.due.is_some()
    }
}

impl Database {
    /// Begins a comparison when one is due, and there is something to compare.
    pub(super) async fn keep_proving(&mut self) -> Result<(), Error> {
        if !self.prover.task.is_empty() || self.prover.due.is_some_and(|due| Instant::now() < due) {
            return Ok(());
        }
        let (context, name, names) = (self.context.clone(), self.name.clone(), self.names.clone());
        let source = self.source().await?;
        let mut doubts = verify::doubts(source, &context.control, &context.mapping, &name, &names).await?;
        let missing = context.board.database(&name, |view| view.missing_doubts.clone());
        verify::add(&mut doubts, verify::by_their_names(source, &names, missing).await?);
        // One that is not attached is copied first.
        doubts.retain(|doubt| self.watcher.is_attached(&doubt.schema, &doubt.name));
        if doubts.is_empty() {
            self.note_comparison(&Ok(Comparison::default()));
            return Ok(());
        }
        let compare = async move {
            let _seat = context.gentle.room.seats(1).await;
            let comparing = async {
                verify::Pair::open(&context.source, &context.destination, &name).await?.compare_what_can_be(&names, doubts).await
            };
            let compared = naming_lockers(&context, &name, |by| verify::Error::Locked { by }, Box::pin(comparing)).await?;
            let place = Place { control: &context.control, mapping: &context.mapping, database: &name };
            // While a stream leaves out what comes, nothing is over.
            if !context.board.database(&name, |view| view.history.as_ref().is_some_and(Seen::is_ahead)) {
                place.proved(&compared.over).await.map_err(verify::Error::noting)?;
            }
            Ok(compared)
        };
        self.prover.task.spawn(compare.in_current_span());
        Ok(())
    }

    /// Tells what a comparison found.
    pub(super) fn note_comparison(&mut self, compared: &Compared) {
        let (context, name) = (self.context.clone(), self.name.clone());
        let (proof, findings, pause) = match compared {
            Ok(found) => {
                let findings = found.different.iter().map(|d| d.finding(&context.mapping, &name)).collect();
                (proof(found, &context.mapping, &name), findings, pause(found))
            }
            Err(error) => {
                (Proof { troubles: vec![error.to_string()], fix: MEND.to_owned(), ..Proof::default() }, Vec::new(), AGAIN_AFTER)
            }
        };
        context.board.set_findings(&name, "proof", findings);
        context.board.database(&name, |view| view.proof = Some(proof));
        self.prover.due = Some(Instant::now() + pause);
    }

    /// Something has happened to tables: they are not left to the next turn.
    pub(super) fn prove_at_once(&mut self) {
        self.prover.due = None;
    }

    /// Begins anew: what was found says nothing any more.
    pub(super) fn forget_comparison(&mut self) {
        self.prover = Prover::default();
        self.context.board.set_findings(&self.name, "proof", Vec::new());
        self.context.board.database(&self.name, |view| view.proof = None);
    }
}

/// How long after a comparison the next one begins.
fn pause(found: &Comparison) -> Duration {
    let settled = found.different.is_empty() && found.refused.is_empty();
    let share = Duration::from_secs_f64(found.seconds) * SHARE;
    let share = if found.leaves_doubt || !found.refused.is_empty() { share.min(LONGEST_IN_DOUBT) } else { share };
    share.max(if settled { EVERY } else { AGAIN_AFTER })
}

/// What a comparison says about a switch.
fn proof(found: &Comparison, mapping: &str, database: &str) -> Proof {
    let (equal, undecided) = (found.equal, found.undecided.len());
    let detail = if equal + undecided + found.different.len() + found.refused.len() == 0 {
        "the stream carries every change of every table".to_owned()
    } else {
        let undecided = if undecided == 0 {
            String::new()
        } else {
            format!(", {undecided} could not be compared while they are written to ({})", found.undecided.join(", "))
        };
        format!(
            "of tables whose changes are not all carried, {equal} are equal{undecided}; the block of a cutover is longer by about {:.1} s for \
             comparing them once more",
            found.seconds
        )
    };
    let refused = found.refused.iter().map(|(table, error)| format!("{table} could not be compared: {error}"));
    let cure = found.different.first().map(|d| d.fix(mapping, database));
    Proof {
        compared: true,
        troubles: found.different.iter().map(Difference::words).chain(refused).collect(),
        fix: cure.or_else(|| (!found.refused.is_empty()).then(|| MEND.to_owned())).unwrap_or_default(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Doubt, Error, Why};

    #[test]
    fn what_stays_in_doubt_is_compared_again_soon_however_long_it_takes() {
        let hours = |leaves_doubt| Comparison { seconds: 5.0 * 3600.0, leaves_doubt, ..Comparison::default() };
        assert_eq!(pause(&hours(false)), Duration::from_hours(100), "it is a load");
        assert_eq!(pause(&hours(true)), LONGEST_IN_DOUBT);
        assert_eq!(pause(&Comparison { leaves_doubt: true, ..Comparison::default() }), EVERY);
    }

    #[test]
    fn what_could_not_be_compared_keeps_a_switch_back() {
        let refused = vec![("a.log".to_owned(), Error::Locked { by: "nobody".into() })];
        let told = proof(&Comparison { equal: 3, refused, ..Comparison::default() }, "m", "d");
        assert!(told.troubles[0].starts_with("a.log could not be compared: ") && told.fix == MEND, "{told:?}");
        assert!(told.detail.contains("3 are equal"), "{}", told.detail);
    }

    #[test]
    fn what_is_undecided_is_told_and_what_differs_is_cured() {
        assert!(proof(&Comparison::default(), "m", "d").detail.starts_with("the stream carries every change"));
        let busy = Comparison { equal: 2, undecided: vec!["a.busy".into()], seconds: 1.5, ..Comparison::default() };
        let told = proof(&busy, "m", "d");
        assert!(told.troubles.is_empty(), "the block decides");
        assert!(
            told.detail.contains("2 are equal, 1 could not") && told.detail.contains("a.busy") && told.detail.contains("1.5 s")
        );
        let doubt = Doubt { oid: 1, schema: "a".into(), name: "log".into(), why: Why::Rewritten, incident: None };
        let found = Comparison { different: vec![Difference { doubt, ours: 0, theirs: 9 }], ..Comparison::default() };
        let told = proof(&found, "m", "d");
        assert!(told.troubles[0].contains("a.log") && told.fix.contains("'a.log'"), "{told:?}");
    }
}
