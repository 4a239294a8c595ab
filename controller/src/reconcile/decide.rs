//! Deciding: from what was observed of one database to the next step. Pure, and tested to the last branch.

use crate::stream::slot::Slot;

/// What stands at the destination under the database's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    Missing,
    /// A database that the ledger does not name as ours.
    Foreign,
    /// Our database.
    Ours,
}

/// What was observed of one database on both sides.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and all combinations occur
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The destination's database.
    pub target: Target,
    /// Whether this process made that database and nothing has been built in it, so that it need not be made anew.
    pub target_is_fresh: bool,
    /// Whether this process has built the schema up to the data. Not to be told from the catalogs before the subscription is there.
    pub schema_built: bool,
    /// Whether this process has published the tables. As above.
    pub published: bool,
    /// Our slot on the source.
    pub slot: Slot,
    /// Whether the ledger names that slot.
    pub slot_is_ours: bool,
    /// Whether the ledger says that there was a subscription once.
    pub was_subscribed: bool,
    /// Our subscription: none, or whether it is enabled.
    pub subscription: Option<bool>,
    /// Published tables that are not attached and have not failed lately.
    pub tables_to_copy: usize,
    /// Published tables that failed lately: another try comes later.
    pub tables_cooling: usize,
    /// Whether this process has executed what comes after the data.
    pub built: bool,
    /// Whether every attached table is in step.
    pub all_in_step: bool,
    /// Whether foreign keys are valid and materialized views filled.
    pub finished: bool,
    /// Whether the operator asked to pause.
    pub paused: bool,
}

/// Why a database can't be migrated as things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The destination has a database of that name that is not ours.
    DatabaseExists,
    /// The source has a slot of that name that is not ours.
    SlotExists,
    /// The source has discarded log that the stream needs.
    SlotLost,
    /// The subscription is there, its slot is not.
    SlotGone,
    /// There was a subscription, and now there is none.
    SubscriptionGone,
}

/// The next thing to do. Each is safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Say why, touch nothing, look again later.
    Refuse(Refusal),
    /// Nothing before the operator resumes.
    Pause,
    /// Drop our own half-built database.
    DropDatabase,
    /// Make the database.
    CreateDatabase,
    /// Execute the plan up to the data.
    BuildSchema,
    /// Replica identities and publication on the source.
    Publish,
    /// The permanent slot.
    CreateSlot,
    /// The subscription, disabled: from here on the catalogs tell what is done.
    Subscribe,
    /// Stop the stream, so that tables can be attached behind its position.
    Disable,
    /// A pass over the tables not attached, building indexes as tables are done.
    Copy,
    /// What comes after the data, for tables that were attached before.
    Build,
    /// Start the stream.
    Enable,
    /// Foreign keys and materialized views.
    Finish,
    /// Nothing to do but watch the stream.
    Watch,
}

/// Decides.
pub fn decide(o: &Observed) -> Step {
    match o.target {
        Target::Foreign => return Step::Refuse(Refusal::DatabaseExists),
        Target::Missing if o.paused => return Step::Pause,
        Target::Missing => return Step::CreateDatabase,
        Target::Ours => {}
    }
    let Some(enabled) = o.subscription else {
        return without_subscription(o);
    };
    match o.slot {
        Slot::Foreign => return Step::Refuse(Refusal::SlotExists),
        Slot::Lost => return Step::Refuse(Refusal::SlotLost),
        Slot::Missing => return Step::Refuse(Refusal::SlotGone),
        Slot::Present { .. } => {}
    }
    if o.tables_to_copy > 0 {
        return match (enabled, o.paused) {
            // A stream that runs goes on while paused.
            (true, true) => Step::Watch,
            (false, true) => Step::Pause,
            // An apply worker that is ahead of a table's position would have skipped its changes already.
            (true, false) => Step::Disable,
            (false, false) => Step::Copy,
        };
    }
    if !enabled {
        return if o.built { Step::Enable } else { Step::Build };
    }
    if o.all_in_step && o.tables_cooling == 0 && !o.finished && !o.paused {
        return Step::Finish;
    }
    Step::Watch
}

fn without_subscription(o: &Observed) -> Step {
    if o.was_subscribed {
        // The tables hold rows, and by now perhaps some that are nowhere else.
        return Step::Refuse(Refusal::SubscriptionGone);
    }
    if o.paused {
        return Step::Pause;
    }
    if !o.schema_built {
        // Built in part by a controller that is gone: there is no telling how far. No row is in it yet.
        return if o.target_is_fresh { Step::BuildSchema } else { Step::DropDatabase };
    }
    if !o.published {
        return Step::Publish;
    }
    match o.slot {
        Slot::Missing => Step::CreateSlot,
        // The same name and not in the ledger, or of another kind: somebody else's.
        _ if !o.slot_is_ours => Step::Refuse(Refusal::SlotExists),
        Slot::Foreign => Step::Refuse(Refusal::SlotExists),
        Slot::Lost => Step::Refuse(Refusal::SlotLost),
        Slot::Present { .. } => Step::Subscribe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Lsn;

    const PRESENT: Slot = Slot::Present { active: false, confirmed: Lsn(1), restart: Lsn(1) };

    fn nothing() -> Observed {
        Observed {
            target: Target::Missing,
            target_is_fresh: false,
            schema_built: false,
            published: false,
            slot: Slot::Missing,
            slot_is_ours: false,
            was_subscribed: false,
            subscription: None,
            tables_to_copy: 0,
            tables_cooling: 0,
            built: false,
            all_in_step: false,
            finished: false,
            paused: false,
        }
    }

    fn subscribed(enabled: bool) -> Observed {
        Observed {
            target: Target::Ours,
            slot: PRESENT,
            slot_is_ours: true,
            was_subscribed: true,
            subscription: Some(enabled),
            ..nothing()
        }
    }

    #[test]
    fn from_nothing_to_the_stream_in_order() {
        let mut o = nothing();
        assert_eq!(decide(&o), Step::CreateDatabase);
        o.target = Target::Ours;
        o.target_is_fresh = true;
        assert_eq!(decide(&o), Step::BuildSchema);
        o.schema_built = true;
        assert_eq!(decide(&o), Step::Publish);
        o.published = true;
        assert_eq!(decide(&o), Step::CreateSlot);
        o.slot = PRESENT;
        o.slot_is_ours = true;
        assert_eq!(decide(&o), Step::Subscribe);
        o.was_subscribed = true;
        o.subscription = Some(false);
        o.tables_to_copy = 3;
        assert_eq!(decide(&o), Step::Copy);
        o.tables_to_copy = 0;
        assert_eq!(decide(&o), Step::Build);
        o.built = true;
        assert_eq!(decide(&o), Step::Enable);
        o.subscription = Some(true);
        assert_eq!(decide(&o), Step::Watch);
        o.all_in_step = true;
        assert_eq!(decide(&o), Step::Finish);
        o.finished = true;
        assert_eq!(decide(&o), Step::Watch);
    }

    #[test]
    fn a_database_that_is_not_ours_is_never_touched() {
        for subscription in [None, Some(true), Some(false)] {
            let o = Observed { target: Target::Foreign, subscription, schema_built: true, ..nothing() };
            assert_eq!(decide(&o), Step::Refuse(Refusal::DatabaseExists));
        }
    }

    #[test]
    fn only_a_half_built_database_without_subscription_is_dropped() {
        let o = Observed { target: Target::Ours, ..nothing() };
        assert_eq!(decide(&o), Step::DropDatabase);
        for enabled in [true, false] {
            assert_ne!(decide(&subscribed(enabled)), Step::DropDatabase);
        }
    }

    #[test]
    fn a_database_that_once_had_a_subscription_is_never_dropped_or_filled_anew() {
        for (schema_built, published, paused) in [(false, false, false), (true, true, false), (false, false, true)] {
            let o = Observed {
                target: Target::Ours,
                was_subscribed: true,
                slot: PRESENT,
                slot_is_ours: true,
                schema_built,
                published,
                paused,
                ..nothing()
            };
            assert_eq!(decide(&o), Step::Refuse(Refusal::SubscriptionGone));
        }
    }

    #[test]
    fn a_slot_of_somebody_else_is_left_alone() {
        let o = Observed { target: Target::Ours, schema_built: true, published: true, slot: PRESENT, ..nothing() };
        assert_eq!(decide(&o), Step::Refuse(Refusal::SlotExists));
        assert_eq!(decide(&Observed { slot: Slot::Foreign, slot_is_ours: true, ..o.clone() }), Step::Refuse(Refusal::SlotExists));
        assert_eq!(decide(&Observed { slot: Slot::Lost, slot_is_ours: true, ..o }), Step::Refuse(Refusal::SlotLost));
        assert_eq!(decide(&Observed { slot: Slot::Foreign, ..subscribed(true) }), Step::Refuse(Refusal::SlotExists));
    }

    #[test]
    fn a_stream_without_its_log_is_refused_not_restarted() {
        assert_eq!(decide(&Observed { slot: Slot::Lost, ..subscribed(true) }), Step::Refuse(Refusal::SlotLost));
        assert_eq!(decide(&Observed { slot: Slot::Missing, ..subscribed(true) }), Step::Refuse(Refusal::SlotGone));
    }

    #[test]
    fn a_table_that_comes_late_is_attached_with_the_stream_stopped() {
        let o = Observed { tables_to_copy: 1, all_in_step: true, ..subscribed(true) };
        assert_eq!(decide(&o), Step::Disable);
        assert_eq!(decide(&Observed { subscription: Some(false), ..o }), Step::Copy);
    }

    #[test]
    fn failed_tables_do_not_stop_the_stream_but_nothing_is_finished_without_them() {
        let o = Observed { tables_cooling: 1, built: true, ..subscribed(false) };
        assert_eq!(decide(&o), Step::Enable);
        assert_eq!(decide(&Observed { tables_cooling: 1, all_in_step: true, ..subscribed(true) }), Step::Watch);
    }

    #[test]
    fn a_pause_begins_nothing_and_lets_the_stream_run() {
        assert_eq!(decide(&Observed { paused: true, ..nothing() }), Step::Pause);
        assert_eq!(decide(&Observed { paused: true, target: Target::Ours, ..nothing() }), Step::Pause);
        assert_eq!(decide(&Observed { paused: true, tables_to_copy: 1, ..subscribed(false) }), Step::Pause);
        assert_eq!(decide(&Observed { paused: true, tables_to_copy: 1, ..subscribed(true) }), Step::Watch);
        assert_eq!(decide(&Observed { paused: true, all_in_step: true, ..subscribed(true) }), Step::Watch);
    }
}
