//! The end of a mapping: cutover, the wait for completion, cleanup; each beside the views, which go on being written.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::Context;
use super::request::{self, Kind, Request};
use crate::ledger;
use crate::monitor::board::Phase;
use crate::monitor::projection::Projection;
use crate::postgres::Session;
use crate::{cleanup, cutover};

use super::mapping::{Error, Mapping, doing};

impl Mapping {
    /// Whether a request that needs readiness may be carried out now. One that has waited too long is answered with no.
    pub(super) async fn ready_or_late(&self, control: &Session, request: &Request, limit: Duration) -> Result<bool, Error> {
        if request.started && request.kind != Kind::Complete {
            let effects = ledger::in_force(control, &self.name).await?;
            if effects.iter().any(|e| e.kind == ledger::Kind::WriteBlock) {
                // Begun by a controller that is gone: it is brought to an end, one way or the other.
                return Ok(true);
            }
        }
        let row = control
            .query_opt("SELECT ready, blockers FROM migrator.cutover_ready() WHERE mapping = $1", &[&self.name])
            .await
            .map_err(doing("looking at the readiness"))?;
        let Some(row) = row else { return Ok(false) };
        if row.get("ready") || request.keep && self.ready_but_for_proof(control).await? {
            return Ok(true);
        }
        if request.age > limit {
            let blockers: Vec<String> = row.get("blockers");
            self.answer(control, request, false, &json!({ "error": "not ready within the time limit", "blockers": blockers }))
                .await?;
        }
        Ok(false)
    }

    /// Whether nothing but a table that is not equal stands in the way: it may be in use on the destination, and is to stay as it is.
    async fn ready_but_for_proof(&self, control: &Session) -> Result<bool, Error> {
        let row = control
            .query_one(
                "SELECT migrator.controller_seen($1) AND COALESCE(bool_and(ok OR name = 'proved_equal'), false)
                 FROM migrator.cutover_check WHERE mapping = $1",
                &[&self.name],
            )
            .await
            .map_err(doing("looking at the readiness"))?;
        Ok(row.get(0))
    }

    pub(super) async fn answer(
        &self,
        control: &Session,
        request: &Request,
        ok: bool,
        report: &serde_json::Value,
    ) -> Result<(), Error> {
        request::finished(control, request.id, ok, report).await.map_err(doing("answering a request"))
    }

    pub(super) async fn cut_over(
        &self,
        context: &Context,
        control: &mut Session,
        projection: &mut Projection,
        request: &Request,
        limit: Duration,
    ) -> Result<(), Error> {
        request::started(control, request.id).await.map_err(doing("beginning the cutover"))?;
        self.board.lock().phase = Some(Phase::CuttingOver);
        projection.write(control).await.map_err(doing("writing the projection"))?;
        // Beside it the views go on being written: whoever looks sees that somebody is at it. Should they not answer, the cutover, which keeps
        // writers out and has a time limit, goes on all the same.
        let views = async {
            loop {
                tokio::time::sleep(self.tick).await;
                if let Err(error) = projection.write(control).await {
                    tracing::warn!(%error, "the views can't be written");
                }
            }
        };
        let outcome = tokio::select! {
            outcome = cutover::run(context, limit) => outcome,
            () = views => unreachable!("the views are written for ever"),
        };
        projection.forget();
        match outcome {
            Ok(report) => {
                self.answer(control, request, true, &json!(report)).await?;
                self.board.event("", "info", format!("cut over in {:.3} s", report.seconds));
                let mut view = self.board.lock();
                view.phase = Some(Phase::CutOver);
                for database in view.databases.values_mut() {
                    database.phase = Phase::CutOver;
                }
            }
            Err(error) => {
                self.answer(control, request, false, &json!({ "error": error.to_string() })).await?;
                self.board.event("", "error", format!("the cutover was undone: {error}"));
                let mut view = self.board.lock();
                view.phase = None;
                // What was established before the attempt says nothing any more.
                for database in view.databases.values_mut() {
                    database.phase = Phase::Pending;
                    database.checks.clear();
                }
            }
        }
        projection.write(control).await.map_err(doing("writing the projection"))
    }

    /// Between cutover and completion nothing is to be done but to wait for the operator.
    pub(super) async fn await_completion(
        &self,
        context: &Context,
        control: &mut Session,
        notifications: &mut mpsc::UnboundedReceiver<String>,
        phase: &str,
    ) -> Result<(), Error> {
        loop {
            self.settle(control, "synced", phase).await?;
            for request in request::open(control, &self.name).await.map_err(doing("reading the requests"))? {
                if request.kind == Kind::Complete {
                    return self.clean_up(context, control, &request, phase == "completing").await;
                }
                let report = json!({ "error": "only mark_complete is left to do for this mapping" });
                self.answer(control, &request, false, &report).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(self.tick) => {}
                Some(_) = notifications.recv() => {}
            }
            if control.is_closed() {
                return Err(Error::Lost);
            }
        }
    }

    pub(super) async fn complete(
        &self,
        context: &Context,
        control: &mut Session,
        projection: &mut Projection,
        request: &Request,
        finish_first: bool,
    ) -> Result<(), Error> {
        self.board.lock().phase = Some(Phase::Completing);
        projection.write(control).await.map_err(doing("writing the projection"))?;
        if finish_first && !request.started {
            // Nothing has been changed yet: what is refused now leaves the mapping as it is.
            if let Err(error) = cutover::may_finish_by_hand(context, request.keep).await {
                self.board.lock().phase = None;
                let report = json!({ "error": error.to_string() });
                return request::refused(control, request.id, &report).await.map_err(doing("answering a request"));
            }
        }
        self.clean_up(context, control, request, finish_first).await?;
        self.board.lock().phase = None;
        projection.write(control).await.map_err(doing("writing the projection"))
    }

    pub(super) async fn clean_up(
        &self,
        context: &Context,
        control: &Session,
        request: &Request,
        finish_first: bool,
    ) -> Result<(), Error> {
        request::started(control, request.id).await.map_err(doing("beginning the cleanup"))?;
        let mut cleaning = Box::pin(cleanup::run(context, finish_first, request.keep));
        let outcome = loop {
            tokio::select! {
                outcome = &mut cleaning => break outcome,
                () = tokio::time::sleep(self.tick) => {
                    self.settle(control, "synced", "completing").await?;
                    self.still_answers(&context.control).await?;
                }
            }
        };
        match outcome {
            Ok(report) => {
                self.answer(control, request, true, &json!(report)).await?;
                self.settle(control, "complete", "complete").await
            }
            Err(error) => {
                self.board.event("", "error", format!("the cleanup is not done: {error}"));
                self.answer(control, request, false, &json!({ "error": error.to_string() })).await
            }
        }
    }

    /// Makes sure that the session which everything shares is still one.
    pub(super) async fn still_answers(&self, shared: &Session) -> Result<(), Error> {
        shared.simple_query("").await.map(drop).map_err(|_| Error::Lost)
    }

    /// Keeps the rows of a mapping that no task looks after any more: what they say of the data stays as it was last seen.
    pub(super) async fn settle(&self, control: &Session, status: &str, phase: &str) -> Result<(), Error> {
        let failed = "bringing the status up to date";
        for statement in [
            "UPDATE migrator.mapping SET status = $2::text::migrator.status, phase = $3, updated_at = clock_timestamp() WHERE mapping = $1",
            "UPDATE migrator.database SET status = $2::text::migrator.status, phase = $3, waiting_for = NULL, eta = NULL,
                    updated_at = clock_timestamp() WHERE mapping = $1",
        ] {
            control.execute(statement, &[&self.name, &status, &phase]).await.map_err(doing(failed))?;
        }
        if phase == "complete" {
            control
                .execute("UPDATE migrator.table_state SET status = 'complete' WHERE mapping = $1", &[&self.name])
                .await
                .map_err(doing(failed))?;
        }
        Ok(())
    }
}
