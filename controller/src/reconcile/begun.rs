//! Streams that have begun while tables of others are still being copied are looked after like any other: what goes wrong with them is told, and
//! a table that one of them fails at is taken out of it, as if nothing else were going on.

use std::time::Duration;

use tokio::sync::mpsc;

use super::database::{Database, Error};
use super::decide;
use super::isolate::Detached;
use super::watch::{self, Outcome};
use crate::finding::Finding;
use crate::ledger::{self, Kind};
use crate::postgres::retry;
use crate::stream::{slot, subscription};

/// A failed look is followed by another one after this long at most.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is known of the streams of a database.
struct Begun {
    /// OIDs of the subscriptions of those that have begun, by the streams' numbers.
    subscriptions: Vec<Option<u32>>,
    /// What keeps some from going on for good.
    refusals: Vec<Finding>,
}

impl Database {
    /// Another one for the same database, with sessions of its own, for what is done beside a pass.
    pub(super) fn second(&self) -> Self {
        let second = Self::new(self.context.clone(), self.name.clone(), self.source_oid, self.mode.clone());
        Self { names: self.names.clone(), ..second }
    }

    /// Looks after streams by their numbers, as it is told of them; for ever. `subscribed`: OIDs of the subscriptions of all streams.
    pub(super) async fn watch_begun(&mut self, subscribed: &[Option<u32>], mut told: mpsc::UnboundedReceiver<usize>) {
        let Some(first) = told.recv().await else { return std::future::pending().await };
        let room = std::sync::Arc::clone(&self.context.gentle.room);
        let _seat = room.seats(1).await;
        let mut begun = Begun { subscriptions: vec![None; subscribed.len()], refusals: Vec::new() };
        begun.subscriptions[first] = subscribed[first];
        let mut waits = retry::backoff();
        loop {
            while let Ok(stream) = told.try_recv() {
                begun.subscriptions[stream] = subscribed[stream];
            }
            let pause = match Box::pin(self.look_at_begun(&mut begun)).await {
                Ok(()) => {
                    waits = retry::backoff();
                    self.failing_since = None;
                    self.context.board.set_findings(&self.name, "step", Vec::new());
                    self.context.tick
                }
                Err(error) => {
                    self.fail(&error);
                    waits.next().unwrap_or(AGAIN_AFTER).min(AGAIN_AFTER)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look_at_begun(&mut self, begun: &mut Begun) -> Result<(), Error> {
        if begun.subscriptions.iter().all(Option::is_none) {
            return Ok(());
        }
        self.source().await?;
        self.destination().await?;
        let (Some(source), Some(destination)) = (&self.source, &self.destination) else { return Ok(()) };
        let stream = watch::Stream {
            context: &self.context,
            database: &self.name,
            names: &self.names,
            subscriptions: &begun.subscriptions,
            source,
            destination,
        };
        // Others are still to come: so there is something to be done at least.
        let outcome = self.watcher.tick(&stream, 1).await.map_err(Error::doing("watching the streams that have begun"))?;
        self.show_riddles();
        self.keep_searching();
        match outcome {
            Outcome::Failing(stream) if !self.is_riddle(stream) => {
                self.isolate(stream).await?;
                let effects = ledger::in_force_of(&self.context.control, &self.context.mapping, &[Kind::Detached]).await?;
                self.detached = Detached::of(&effects, &self.name);
                self.show_detached();
            }
            Outcome::Same | Outcome::Failing(_) => return Ok(()),
            Outcome::Unsafe(stream) => self.leave_binary(stream).await?,
            Outcome::Changed => self.refuse_begun(begun).await?,
        }
        self.go_on(begun).await
    }

    /// Tells of streams that can't go on, which nobody looks after any more then. What is to be done about them is decided when the pass is over.
    async fn refuse_begun(&mut self, begun: &mut Begun) -> Result<(), Error> {
        let effects = ledger::in_force_of(&self.context.control, &self.context.mapping, &[Kind::Slot]).await?;
        let names = self.names.clone();
        let slots = slot::observe_all(self.source().await?, &names).await.map_err(Error::doing("looking at the slots"))?;
        for (stream, slot) in slots.iter().enumerate() {
            if begun.subscriptions[stream].is_none() {
                continue;
            }
            let is_ours = effects.iter().any(|e| e.object == names[stream].slot);
            if let Some(refusal) = decide::unusable(stream, slot, is_ours) {
                begun.refusals.push(self.refusal(refusal));
                begun.subscriptions[stream] = None;
            }
        }
        self.context.board.set_findings(&self.name, "refusal", begun.refusals.clone());
        Ok(())
    }

    /// Starts what was stopped.
    async fn go_on(&mut self, begun: &Begun) -> Result<(), Error> {
        let names = self.names.clone();
        let destination = self.destination().await?;
        for (names, _) in names.iter().zip(&begun.subscriptions).filter(|(_, subscription)| subscription.is_some()) {
            let found = subscription::observe(destination, names).await.map_err(Error::doing("looking at the subscriptions"))?;
            if found.is_some_and(|subscription| !subscription.enabled) {
                subscription::enable(destination, names).await?;
            }
        }
        // What was measured before says nothing any more.
        self.watcher = watch::Watcher::default();
        Ok(())
    }
}
