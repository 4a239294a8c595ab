//! Sessions: how many the source has for us, and who gets them.
//!
//! Some sessions are needed for as long as a mapping runs: one for each database, and a few for the mapping itself. They never
//! wait for anybody. What is left is for copying; a copy takes what is free, at least one, and gives it back in the end. Nobody
//! who holds a session for copying ever waits for another, so there is no deadlock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::finding::{Code, Finding, Severity};

/// Sessions of a mapping beside those of its databases: one to look around, one to measure, one to look after the others.
const OF_A_MAPPING: usize = 3;

/// The sessions on a source instance.
#[derive(Debug)]
pub struct Room {
    limit: Option<usize>,
    state: Mutex<State>,
    freed: Notify,
    /// Who holds it waits for room; the others queue up in order.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Needed all the time, by mapping.
    reserved: BTreeMap<String, usize>,
    copying: usize,
}

/// Sessions for copying; free again when dropped.
#[derive(Debug)]
pub struct Seats {
    room: Arc<Room>,
    count: usize,
}

impl Seats {
    /// How many sessions may be opened.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.room.state().copying -= self.count;
        self.room.freed.notify_one();
    }
}

/// Sessions that a copy may need at once: what travels beside the stream is looked for by one, and read by another.
pub const TO_COPY: usize = 2;

/// What a mapping with so many databases needs at least: what a copy needs, beside what it always needs.
pub fn least(databases: usize) -> usize {
    databases + OF_A_MAPPING + TO_COPY
}

/// The finding about a limit under which nothing could be copied.
pub fn finding(mapping: &str, limit: Option<usize>, databases: usize) -> Option<Finding> {
    let limit = limit.filter(|limit| *limit < least(databases))?;
    Some(Finding {
        severity: Severity::Error,
        database: String::new(),
        code: Code::MaxSourceConnections,
        object: format!("mappings.{mapping}.max_source_connections"),
        reason: format!(
            "{limit} sessions on the source are not enough: {databases} databases need one each, the mapping {OF_A_MAPPING}, and \
             copying at least {TO_COPY}"
        ),
        fix: format!("set max_source_connections of [mappings.{mapping}] to at least {}", least(databases)),
        statement: None,
    })
}

impl Room {
    /// Room for so many sessions.
    pub fn new(limit: Option<usize>) -> Self {
        Self { limit, state: Mutex::default(), freed: Notify::new(), turn: tokio::sync::Mutex::default() }
    }

    /// How many sessions there are room for.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts aside what a mapping with so many databases always needs. False if too little is left to copy with.
    pub fn reserve(&self, mapping: &str, databases: usize) -> bool {
        let mut state = self.state();
        state.reserved.insert(mapping.to_owned(), databases + OF_A_MAPPING);
        self.limit.is_none_or(|limit| state.reserved.values().sum::<usize>() + TO_COPY <= limit)
    }

    /// Gives back what a mapping that is over had put aside.
    pub fn release(&self, mapping: &str) {
        self.state().reserved.remove(mapping);
        self.freed.notify_one();
    }

    /// Takes sessions to copy with, at least one and up to `wanted`, if any is free.
    pub fn take(self: &Arc<Self>, wanted: usize) -> Option<Seats> {
        self.take_at_least(1, wanted)
    }

    fn take_at_least(self: &Arc<Self>, least: usize, wanted: usize) -> Option<Seats> {
        let mut state = self.state();
        let free = self.limit.map_or(usize::MAX, |limit| {
            limit.saturating_sub(state.reserved.values().sum::<usize>()).saturating_sub(state.copying)
        });
        let count = wanted.max(least).min(free);
        if count < least {
            return None;
        }
        state.copying += count;
        Some(Seats { room: Arc::clone(self), count })
    }

    /// Waits for a session to copy with, and takes more, up to `wanted`, as far as they are free.
    pub async fn seats(self: &Arc<Self>, wanted: usize) -> Seats {
        self.seats_at_least(1, wanted).await
    }

    /// Waits for so many sessions at once, no more than [`TO_COPY`], and takes more, up to `wanted`, as far as they are free.
    pub async fn seats_at_least(self: &Arc<Self>, least: usize, wanted: usize) -> Seats {
        let _turn = self.turn.lock().await;
        loop {
            if let Some(seats) = self.take_at_least(least, wanted) {
                return seats;
            }
            self.freed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn copies_share_what_the_databases_leave() {
        let room = Arc::new(Room::new(Some(8)));
        assert!(room.reserve("m", 2));
        let first = room.seats(2).await;
        let second = room.seats(4).await;
        assert_eq!((first.count(), second.count()), (2, 1));
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.seats(4).await.count() }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.expect("a task"), 2);
    }

    #[tokio::test]
    async fn without_a_limit_everybody_gets_what_he_wants() {
        let room = Arc::new(Room::new(None));
        assert!(room.reserve("m", 1000));
        assert_eq!(room.seats(64).await.count(), 64);
        assert_eq!(room.seats(0).await.count(), 1);
    }

    #[tokio::test]
    async fn who_needs_two_sessions_waits_until_both_are_free() {
        let room = Arc::new(Room::new(Some(least(1))));
        assert!(room.reserve("m", 1));
        let first = room.seats(1).await;
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.seats_at_least(2, 5).await.count() }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished(), "one is free, and not taken alone");
        drop(first);
        assert_eq!(waiting.await.expect("a task"), 2);
    }

    #[test]
    fn a_limit_that_leaves_nothing_to_copy_with_is_told() {
        assert!(finding("m", None, 100).is_none());
        assert!(finding("m", Some(7), 2).is_none());
        let told = finding("m", Some(6), 2).expect("one too few");
        assert!(told.fix.contains("at least 7"), "{}", told.fix);
        let room = Room::new(Some(11));
        assert!(room.reserve("a", 2));
        assert!(!room.reserve("b", 2), "two mappings share the room");
        room.release("a");
        assert!(room.reserve("b", 2));
    }
}
