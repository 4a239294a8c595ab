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

/// What was observed of one stream of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its slot on the source.
    pub slot: Slot,
    /// Whether the ledger names that slot.
    pub slot_is_ours: bool,
    /// Whether the ledger says that there was a subscription once.
    pub was_subscribed: bool,
    /// Its subscription: none, or whether it is enabled.
    pub subscription: Option<bool>,
    /// Tables published in it that are not attached and have not failed lately.
    pub tables_to_copy: usize,
    /// Tables attached to it.
    pub attached: usize,
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
    /// Its streams, at least one.
    pub streams: Vec<Stream>,
    /// Whether the ledger says that any subscription was ever made for a database of this name: also one of another name, for a source
    /// database that was made anew since.
    pub once_subscribed: bool,
    /// Published tables that failed lately: another try comes later, by itself or when the operator asks for it.
    pub tables_cooling: usize,
    /// Whether this process has executed what comes after the data.
    pub built: bool,
    /// Whether every attached table is in step.
    pub all_in_step: bool,
    /// Whether foreign keys are valid and materialized views filled.
    pub finished: bool,
    /// Whether the operator asked to pause.
    pub paused: bool,
    /// Whether no further table is to be copied for now, to be gentle on the source.
    pub held: bool,
}

/// Why a database can't be migrated as things stand; of a stream, by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The destination has a database of that name that is not ours.
    DatabaseExists,
    /// The source has a slot of that name that is not ours.
    SlotExists(usize),
    /// The source has discarded log that the stream needs.
    SlotLost(usize),
    /// The subscription is there, its slot is not.
    SlotGone(usize),
    /// The subscription is there, its slot was dropped by us to protect the source.
    SlotDropped(usize),
    /// There was a subscription, and now there is none.
    SubscriptionGone(usize),
    /// The source's database was made anew under its name; what was carried over of the former one is on the destination.
    MadeAnew,
}

/// The next thing to do. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Replica identities and publications on the source.
    Publish,
    /// The permanent slot of a stream.
    CreateSlot(usize),
    /// A stream's subscription, disabled: from here on the catalogs tell what is done.
    Subscribe(usize),
    /// Stop these streams, so that tables can be attached behind their positions.
    Disable(Vec<usize>),
    /// A pass over the tables not attached, building indexes as tables are done.
    Copy,
    /// What comes after the data, for tables that were attached before.
    Build,
    /// Start these streams.
    Enable(Vec<usize>),
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
    // The slots of all streams come before the first copy: each must be at or before the position of the pass.
    if let Some(step) = connect(o) {
        return step;
    }
    let enabled = |stream: &Stream| stream.subscription == Some(true);
    let waiting = numbers(o, |s| !enabled(s));
    if o.streams.iter().any(|s| s.tables_to_copy > 0) {
        // An apply worker that is ahead of a table's position would have skipped its changes already. The other streams go on.
        let ahead = numbers(o, |s| s.tables_to_copy > 0 && enabled(s));
        return match (ahead.is_empty(), o.paused, o.held) {
            // Streams that run go on while paused or held.
            (_, true, _) | (_, _, true) if waiting.is_empty() => Step::Watch,
            (_, true, _) => Step::Pause,
            // The streams of what is attached run meanwhile, so that the source need not keep its log for them.
            (_, false, true) if o.built => Step::Enable(waiting),
            (_, false, true) => Step::Build,
            (true, false, false) => Step::Copy,
            (false, false, false) => Step::Disable(ahead),
        };
    }
    if !waiting.is_empty() {
        return if o.built { Step::Enable(waiting) } else { Step::Build };
    }
    if o.all_in_step && o.tables_cooling == 0 && !o.finished && !o.paused {
        return Step::Finish;
    }
    Step::Watch
}

/// The numbers of the streams of which something holds.
fn numbers(o: &Observed, holds: impl Fn(&Stream) -> bool) -> Vec<usize> {
    o.streams.iter().enumerate().filter(|(_, s)| holds(s)).map(|(i, _)| i).collect()
}

/// Why a stream that has begun can't go on with its slot; none if it can. `is_ours`: whether the ledger names that slot.
pub fn unusable(stream: usize, slot: &Slot, is_ours: bool) -> Option<Refusal> {
    match slot {
        Slot::Present { .. } => None,
        Slot::Foreign => Some(Refusal::SlotExists(stream)),
        Slot::Lost => Some(Refusal::SlotLost(stream)),
        Slot::Missing if is_ours => Some(Refusal::SlotGone(stream)),
        Slot::Missing => Some(Refusal::SlotDropped(stream)),
    }
}

/// What is to be done before every stream has its slot and its subscription; nothing once they have.
fn connect(o: &Observed) -> Option<Step> {
    for (i, stream) in o.streams.iter().enumerate() {
        let refusal = match (stream.subscription, &stream.slot) {
            // The tables hold rows, and by now perhaps some that are nowhere else.
            (None, _) if stream.was_subscribed => Refusal::SubscriptionGone(i),
            (None, _) => continue,
            // Nothing was copied that a new slot could leave without changes: so it is after a resync of the whole database.
            (Some(enabled), Slot::Missing) if stream.slot_is_ours && stream.attached == 0 => {
                return Some(match (enabled, o.paused) {
                    (true, _) => Step::Disable(vec![i]),
                    (false, true) => Step::Pause,
                    (false, false) => Step::CreateSlot(i),
                });
            }
            (Some(_), slot) => match unusable(i, slot, stream.slot_is_ours) {
                Some(refusal) => refusal,
                None => continue,
            },
        };
        return Some(Step::Refuse(refusal));
    }
    if o.streams.iter().all(|s| s.subscription.is_some()) {
        return None;
    }
    if o.paused {
        return Some(Step::Pause);
    }
    // With one subscription made, the schema was built and published: that it was is no longer known after a restart.
    if o.streams.iter().all(|s| s.subscription.is_none()) {
        if !o.schema_built {
            return Some(match (o.target_is_fresh, o.once_subscribed) {
                (true, _) => Step::BuildSchema,
                // It may hold the rows of the database that had the name before.
                (false, true) => Step::Refuse(Refusal::MadeAnew),
                // Built in part by a controller that is gone: there is no telling how far. No row is in it yet.
                (false, false) => Step::DropDatabase,
            });
        }
        if !o.published {
            return Some(Step::Publish);
        }
    }
    for (i, stream) in o.streams.iter().enumerate().filter(|(_, s)| s.subscription.is_none()) {
        match stream.slot {
            Slot::Missing => return Some(Step::CreateSlot(i)),
            // The same name and not in the ledger, or of another kind: somebody else's.
            _ if !stream.slot_is_ours => return Some(Step::Refuse(Refusal::SlotExists(i))),
            Slot::Foreign => return Some(Step::Refuse(Refusal::SlotExists(i))),
            Slot::Lost => return Some(Step::Refuse(Refusal::SlotLost(i))),
            Slot::Present { .. } => {}
        }
    }
    numbers(o, |s| s.subscription.is_none()).first().map(|i| Step::Subscribe(*i))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Lsn;

    const PRESENT: Slot = Slot::Present { active: false, confirmed: Lsn(1), restart: Lsn(1) };

    fn no_stream() -> Stream {
        Stream {
            slot: Slot::Missing,
            slot_is_ours: false,
            was_subscribed: false,
            subscription: None,
            tables_to_copy: 0,
            attached: 0,
        }
    }

    fn nothing() -> Observed {
        Observed {
            target: Target::Missing,
            target_is_fresh: false,
            schema_built: false,
            published: false,
            streams: vec![no_stream()],
            once_subscribed: false,
            tables_cooling: 0,
            built: false,
            all_in_step: false,
            finished: false,
            paused: false,
            held: false,
        }
    }

    fn stream(enabled: bool) -> Stream {
        Stream {
            slot: PRESENT,
            slot_is_ours: true,
            was_subscribed: true,
            subscription: Some(enabled),
            tables_to_copy: 0,
            attached: 1,
        }
    }

    fn subscribed(enabled: bool) -> Observed {
        Observed { target: Target::Ours, streams: vec![stream(enabled)], ..nothing() }
    }

    /// The same with one stream's facts changed.
    fn with(mut o: Observed, change: impl FnOnce(&mut Stream)) -> Observed {
        change(&mut o.streams[0]);
        o
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
        assert_eq!(decide(&o), Step::CreateSlot(0));
        o.streams[0].slot = PRESENT;
        o.streams[0].slot_is_ours = true;
        assert_eq!(decide(&o), Step::Subscribe(0));
        o.streams[0].was_subscribed = true;
        o.streams[0].subscription = Some(false);
        o.streams[0].tables_to_copy = 3;
        assert_eq!(decide(&o), Step::Copy);
        o.streams[0].tables_to_copy = 0;
        assert_eq!(decide(&o), Step::Build);
        o.built = true;
        assert_eq!(decide(&o), Step::Enable(vec![0]));
        o.streams[0].subscription = Some(true);
        assert_eq!(decide(&o), Step::Watch);
        o.all_in_step = true;
        assert_eq!(decide(&o), Step::Finish);
        o.finished = true;
        assert_eq!(decide(&o), Step::Watch);
    }

    #[test]
    fn every_slot_is_made_before_the_first_subscription_and_every_subscription_before_the_first_copy() {
        let ours = Stream { slot: PRESENT, slot_is_ours: true, ..no_stream() };
        let mut o = Observed {
            target: Target::Ours,
            schema_built: true,
            published: true,
            streams: vec![ours.clone(), no_stream()],
            ..nothing()
        };
        assert_eq!(decide(&o), Step::CreateSlot(1));
        o.streams[1] = ours.clone();
        assert_eq!(decide(&o), Step::Subscribe(0));
        // Killed between the two: what was built and published is not known any more, and need not be.
        o.streams = vec![Stream { tables_to_copy: 2, ..stream(false) }, ours];
        (o.schema_built, o.published) = (false, false);
        assert_eq!(decide(&o), Step::Subscribe(1));
        o.streams[1] = stream(false);
        assert_eq!(decide(&o), Step::Copy);
    }

    #[test]
    fn only_the_streams_of_tables_to_be_copied_are_stopped() {
        let busy = Stream { tables_to_copy: 1, ..stream(true) };
        let o = Observed { streams: vec![stream(true), busy, stream(true)], ..subscribed(true) };
        assert_eq!(decide(&o), Step::Disable(vec![1]));
        let stopped = Stream { tables_to_copy: 1, ..stream(false) };
        let o = Observed { streams: vec![stream(true), stopped, stream(true)], ..o };
        assert_eq!(decide(&o), Step::Copy);
        let o = Observed { streams: vec![stream(true), stream(false), stream(true)], built: true, ..o };
        assert_eq!(decide(&o), Step::Enable(vec![1]));
    }

    #[test]
    fn what_is_wrong_with_one_stream_is_told_of_that_stream() {
        let lost = Stream { slot: Slot::Lost, ..stream(true) };
        let o = Observed { streams: vec![stream(true), lost], ..subscribed(true) };
        assert_eq!(decide(&o), Step::Refuse(Refusal::SlotLost(1)));
        let gone = Stream { subscription: None, ..stream(true) };
        let o = Observed { streams: vec![stream(true), gone], ..o };
        assert_eq!(decide(&o), Step::Refuse(Refusal::SubscriptionGone(1)));
    }

    #[test]
    fn a_database_that_is_not_ours_is_never_touched() {
        for subscription in [None, Some(true), Some(false)] {
            let o = Observed { target: Target::Foreign, schema_built: true, ..nothing() };
            let o = with(o, |s| s.subscription = subscription);
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
            let o = Observed { schema_built, published, paused, ..with(subscribed(true), |s| s.subscription = None) };
            assert_eq!(decide(&o), Step::Refuse(Refusal::SubscriptionGone(0)));
        }
    }

    #[test]
    fn what_was_carried_over_of_a_database_is_not_dropped_for_one_made_anew_under_its_name() {
        let o = Observed { target: Target::Ours, once_subscribed: true, ..nothing() };
        assert_eq!(decide(&o), Step::Refuse(Refusal::MadeAnew));
        // Dropped by the operator, and so made anew on the destination as well.
        assert_eq!(decide(&Observed { target: Target::Missing, ..o.clone() }), Step::CreateDatabase);
        assert_eq!(decide(&Observed { target_is_fresh: true, ..o }), Step::BuildSchema);
    }

    #[test]
    fn a_slot_of_somebody_else_is_left_alone() {
        let o = Observed { target: Target::Ours, schema_built: true, published: true, ..nothing() };
        let o = with(o, |s| s.slot = PRESENT);
        assert_eq!(decide(&o), Step::Refuse(Refusal::SlotExists(0)));
        let ours = with(o, |s| s.slot_is_ours = true);
        assert_eq!(decide(&with(ours.clone(), |s| s.slot = Slot::Foreign)), Step::Refuse(Refusal::SlotExists(0)));
        assert_eq!(decide(&with(ours, |s| s.slot = Slot::Lost)), Step::Refuse(Refusal::SlotLost(0)));
        let streaming = with(subscribed(true), |s| s.slot = Slot::Foreign);
        assert_eq!(decide(&streaming), Step::Refuse(Refusal::SlotExists(0)));
    }

    #[test]
    fn a_stream_without_its_log_is_refused_not_restarted() {
        assert_eq!(decide(&with(subscribed(true), |s| s.slot = Slot::Lost)), Step::Refuse(Refusal::SlotLost(0)));
        assert_eq!(decide(&with(subscribed(true), |s| s.slot = Slot::Missing)), Step::Refuse(Refusal::SlotGone(0)));
    }

    #[test]
    fn a_table_that_comes_late_is_attached_with_the_stream_stopped() {
        let o = Observed { all_in_step: true, ..with(subscribed(true), |s| s.tables_to_copy = 1) };
        assert_eq!(decide(&o), Step::Disable(vec![0]));
        assert_eq!(decide(&with(o, |s| s.subscription = Some(false))), Step::Copy);
    }

    #[test]
    fn failed_tables_do_not_stop_the_stream_but_nothing_is_finished_without_them() {
        let o = Observed { tables_cooling: 1, built: true, ..subscribed(false) };
        assert_eq!(decide(&o), Step::Enable(vec![0]));
        assert_eq!(decide(&Observed { tables_cooling: 1, all_in_step: true, ..subscribed(true) }), Step::Watch);
    }

    #[test]
    fn a_slot_is_made_anew_only_for_a_stream_without_tables_that_is_ours() {
        let gone = |enabled| with(subscribed(enabled), |s| (s.slot, s.attached, s.tables_to_copy) = (Slot::Missing, 0, 3));
        assert_eq!(decide(&gone(true)), Step::Disable(vec![0]));
        assert_eq!(decide(&gone(false)), Step::CreateSlot(0));
        assert_eq!(decide(&Observed { paused: true, ..gone(false) }), Step::Pause);
        assert_eq!(decide(&with(gone(false), |s| s.attached = 1)), Step::Refuse(Refusal::SlotGone(0)));
        assert_eq!(decide(&with(gone(false), |s| s.slot_is_ours = false)), Step::Refuse(Refusal::SlotDropped(0)));
    }

    #[test]
    fn while_copying_is_held_back_the_stream_of_what_is_attached_runs() {
        let held = |enabled, built| {
            let o = with(subscribed(enabled), |s| s.tables_to_copy = 2);
            Observed { held: true, built, all_in_step: true, ..o }
        };
        assert_eq!(decide(&held(false, false)), Step::Build);
        assert_eq!(decide(&held(false, true)), Step::Enable(vec![0]));
        assert_eq!(decide(&held(true, true)), Step::Watch, "nothing is finished before the rest is copied");
        assert_eq!(decide(&Observed { paused: true, ..held(false, false) }), Step::Pause);
        assert_eq!(decide(&Observed { held: false, ..held(true, true) }), Step::Disable(vec![0]));
    }

    #[test]
    fn a_pause_begins_nothing_and_lets_the_stream_run() {
        let paused = |o: Observed| Observed { paused: true, ..o };
        assert_eq!(decide(&paused(nothing())), Step::Pause);
        assert_eq!(decide(&Observed { target: Target::Ours, ..paused(nothing()) }), Step::Pause);
        assert_eq!(decide(&paused(with(subscribed(false), |s| s.tables_to_copy = 1))), Step::Pause);
        assert_eq!(decide(&paused(with(subscribed(true), |s| s.tables_to_copy = 1))), Step::Watch);
        assert_eq!(decide(&Observed { all_in_step: true, ..paused(subscribed(true)) }), Step::Watch);
    }
}
