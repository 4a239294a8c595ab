//! Acting: the steps that make a database, its schema, and what connects it to the source. Each is safe to repeat.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::database::{Database, Error};
use super::decide::Refusal;
use super::fill::telling_blockers;
use super::watch::Watcher;
use crate::copy::table;
use crate::finding::{Code, Finding, Severity};
use crate::ledger::{self, Kind, Side, SideEffect};
use crate::plan::{self, Plan};
use crate::postgres::{Session, quote};
use crate::provision::{carry, databases, schema};
use crate::stream::slot;
use crate::stream::subscription::{self};
use crate::stream::{publication, resync};
use crate::{object, preflight};

impl Database {
    pub(super) fn refusal(&self, refusal: Refusal) -> Finding {
        let (code, object, reason, fix) = match refusal {
            Refusal::DatabaseExists => return preflight::database_exists(&self.name),
            Refusal::SlotExists => (
                Code::SlotExists,
                format!("slot {}", self.names.slot),
                format!("{} has a replication slot of this name that was not made by this mapping", self.context.source.name),
                "give the mapping another name, or drop the slot on the source if nobody needs it".to_owned(),
            ),
            Refusal::SlotLost => (
                Code::SlotLost,
                format!("slot {}", self.names.slot),
                "the source has discarded log that the stream still needed (max_slot_wal_keep_size): changes are missing, so the \
                 stream can't go on"
                    .to_owned(),
                format!(
                    "drop subscription and database {} on the destination and the slot on the source, then start again; give the \
                     source more room for log first",
                    self.name
                ),
            ),
            Refusal::SubscriptionGone => (
                Code::SubscriptionGone,
                format!("subscription {}", self.names.subscription()),
                "the stream's subscription was here and is gone: the database is left as it is, for it may be in use".to_owned(),
                format!(
                    "if it has been switched over: SELECT migrator.mark_complete('{}'); otherwise drop database {} on the \
                     destination and give the mapping another name, to begin anew",
                    self.context.mapping, self.name
                ),
            ),
            Refusal::SlotGone => (
                Code::SlotGone,
                format!("slot {}", self.names.slot),
                "the stream's slot is no longer on the source: changes may be missing, so the stream can't go on".to_owned(),
                format!("drop subscription and database {} on the destination, then start again", self.name),
            ),
        };
        Finding { severity: Severity::Error, database: self.name.clone(), code, object, reason, fix, statement: None }
    }

    /// The checks of this database, before anything is made of it.
    pub(super) async fn sound(&mut self) -> Result<bool, Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let (definition, _) = carry::definition(self.source().await?, &control, &name).await?;
        let findings = preflight::database(self.source().await?, &control, &definition).await?;
        let sound = findings.iter().all(|f| f.severity != Severity::Error);
        self.context.board.set_findings(&self.name, "preflight", findings);
        Ok(sound)
    }

    /// Makes the database under a name of our own, writes down its OID, and gives it its real name: so that at no moment
    /// one that somebody else made in between could be taken for ours.
    pub(super) async fn create_database(&mut self) -> Result<(), Error> {
        let name = self.name.clone();
        let control = Arc::clone(&self.context.control);
        let (definition, unknown) = carry::definition(self.source().await?, &control, &name).await?;
        let effect =
            ledger::record(&control, &self.context.mapping, Side::Destination, &name, Kind::Database, &name, &json!({})).await?;
        let temporary = format!("pg_migrator_new_{effect}");
        let run = |sql: String| {
            let control = Arc::clone(&control);
            async move { control.batch_execute(&sql).await.map_err(Error::doing("creating the database")) }
        };
        // Left by a controller that was killed right here.
        run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote::ident(&temporary))).await?;
        run(databases::create(&definition, &temporary)).await?;
        let oid: u32 = control
            .query_one("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&temporary])
            .await
            .map_err(Error::doing("creating the database"))?
            .get(0);
        ledger::amend(&control, effect, &json!({ "oid": oid })).await?;
        run(format!("ALTER DATABASE {} RENAME TO {}", quote::ident(&temporary), quote::ident(&name))).await?;
        let (mapping, settings) = (self.context.mapping.clone(), self.context.settings.clone());
        let findings = carry::settle_database(&mapping, &settings, self.source().await?, &control, &definition, &unknown).await?;
        self.context.board.set_findings(&self.name, "database", findings);
        self.target_is_fresh = true;
        self.schema_built = false;
        Ok(())
    }

    /// Drops our own database, which a controller that is gone left half built and without a row in it.
    pub(super) async fn drop_database(&mut self) -> Result<(), Error> {
        self.context.board.event(&self.name, "info", "beginning anew: the schema was left half built".to_owned());
        self.destination = None;
        self.context
            .control
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", quote::ident(&self.name)))
            .await
            .map_err(Error::doing("dropping the half-built database"))
    }

    /// The plan, read from the source once in this process.
    pub(super) async fn plan(&mut self) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = &self.plan {
            return Ok(Arc::clone(plan));
        }
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let policy = self.context.settings.replica_identity;
        let name = self.name.clone();
        let ours = [self.names.publication.clone()];
        let plan = Arc::new(read_plan(self.source().await?, &name, &ours, &effects, policy).await?);
        self.context.board.set_findings(&self.name, "plan", plan.findings.clone());
        self.context.board.database(&self.name, |view| view.statements_total = plan.statements.len());
        self.plan = Some(Arc::clone(&plan));
        Ok(plan)
    }

    pub(super) async fn build_schema(&mut self) -> Result<(), Error> {
        // Read anew: what was read for an earlier attempt may have changed since.
        self.plan = None;
        let plan = self.plan().await?;
        self.target_is_fresh = false;
        let board = self.context.board.clone();
        let name = self.name.clone();
        board.database(&name, |view| view.statements_done = 0);
        let session = self.destination().await?;
        let findings = schema::before_data(session, &name, &plan.statements, |n| {
            board.database(&name, |view| view.statements_done += n);
        })
        .await?;
        // A restarted controller must know of what is missing: the catalogs do not tell why.
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        if let Some(effect) = effects.iter().find(|e| e.kind == Kind::Database && e.object == name) {
            ledger::amend(&self.context.control, effect.id, &json!({ "failed": findings })).await?;
        }
        board.set_findings(&name, "schema", findings);
        self.schema_built = true;
        Ok(())
    }

    /// Tries once more what failed before the data: the operator may have mended it, or made the object by hand. Gives
    /// what is still missing.
    pub(super) async fn retry_failed(&mut self) -> Result<usize, Error> {
        let name = self.name.clone();
        let effects = ledger::in_force(&self.context.control, &self.context.mapping).await?;
        let Some(effect) = effects.iter().find(|e| e.kind == Kind::Database && e.object == name) else { return Ok(0) };
        let failed: Vec<schema::Failed> =
            effect.detail.get("failed").cloned().and_then(|f| serde_json::from_value(f).ok()).unwrap_or_default();
        if failed.is_empty() {
            return Ok(0);
        }
        let plan = self.plan().await?;
        let session = self.destination().await?;
        let (still, findings) = schema::retry(session, &name, failed, &plan.statements).await?;
        ledger::amend(&self.context.control, effect.id, &json!({ "failed": still })).await?;
        self.context.board.set_findings(&name, "schema", findings);
        Ok(still.len())
    }

    pub(super) async fn publish(&mut self) -> Result<(), Error> {
        let (names, name, policy) = (self.names.clone(), self.name.clone(), self.context.settings.replica_identity);
        let (control, mapping) = (Arc::clone(&self.context.control), self.context.mapping.clone());
        let destination = table::read(self.destination().await?).await.map_err(Error::doing("reading the tables made"))?;
        let made: HashSet<(String, String)> = destination.into_iter().map(|t| (t.schema, t.name)).collect();
        let source = self.source().await?;
        let mut tables = table::read(source).await.map_err(Error::doing("reading the source's tables"))?;
        // A table whose statement failed has its finding; the others go on.
        tables.retain(|t| made.contains(&(t.schema.clone(), t.name.clone())));
        let outcome = publication::ensure(source, &control, &mapping, &name, &names, &tables, policy).await?;
        self.context.board.set_findings(&name, "publication", outcome.refused.into_values().collect());
        self.published = true;
        Ok(())
    }

    pub(super) async fn create_slot(&mut self) -> Result<(), Error> {
        let (names, name) = (self.names.clone(), self.name.clone());
        ledger::record(&self.context.control, &self.context.mapping, Side::Source, &name, Kind::Slot, &names.slot, &json!({}))
            .await?;
        let context = self.context.clone();
        // A session of its own: a slot waits for running transactions, as long as they run.
        let source = context.source.connect(&name).await?;
        telling_blockers(&context, &name, slot::create(&source, &names)).await?;
        Ok(())
    }

    pub(super) async fn subscribe(&mut self) -> Result<(), Error> {
        let context = &self.context;
        ledger::record(
            &context.control,
            &context.mapping,
            Side::Destination,
            &self.name,
            Kind::Subscription,
            self.names.subscription(),
            &json!({}),
        )
        .await?;
        subscription::create(&context.destination, &self.name, &context.source, &self.name, &self.names).await?;
        self.note_subscription().await
    }

    /// From here on the tables may hold rows.
    pub(super) async fn note_subscription(&self) -> Result<(), Error> {
        let effect = ledger::record(
            &self.context.control,
            &self.context.mapping,
            Side::Destination,
            &self.name,
            Kind::Subscription,
            self.names.subscription(),
            &json!({}),
        )
        .await?;
        Ok(ledger::amend(&self.context.control, effect, &json!({ "made": true })).await?)
    }

    /// Carries out what was ordered of this database: only its own task may, since it is the one that starts the stream.
    pub(super) async fn carry_out_orders(&mut self) -> Result<(), Error> {
        let orders = self.context.orders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name).unwrap_or_default();
        for order in orders {
            // Whoever asked may be gone; then the request is open still, and asked again at the next start.
            match self.order_beside(order.table.as_deref()).await {
                Ok(true) if order.table.is_some() => {
                    let _ = order.answer.send(Ok(1));
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    let _ = order.answer.send(Err(error.to_string()));
                    continue;
                }
            }
            let names = self.names.clone();
            let (name, policy) = (self.name.clone(), self.context.settings.replica_identity);
            self.source().await?;
            let mut destination = schema::session(&self.context.destination, &name).await?;
            let Some(source) = &self.source else { return Ok(()) };
            let context = &self.context;
            let detached = async {
                let failed = |e| resync::Error::Statement(e);
                let Some(found) = subscription::observe(&destination, &names).await.map_err(failed)? else { return Ok(0) };
                let detached = resync::detach(&mut destination, &names, found, order.table.as_deref()).await?;
                // A table that was made anew on the source is not in the publication: it is put in again.
                let mut tables = table::read(source).await.map_err(failed)?;
                tables.retain(|t| detached.contains(&(t.schema.clone(), t.name.clone())));
                publication::ensure(source, &context.control, &context.mapping, &name, &names, &tables, policy).await?;
                Ok::<_, resync::Error>(detached.len())
            };
            let outcome = detached.await.map_err(|error| error.to_string());
            let _ = order.answer.send(outcome);
            self.finished = false;
            self.watcher = Watcher::default();
        }
        Ok(())
    }
}

/// Reads the source's objects in one snapshot, and makes the plan. What the ledger says we changed there is planned as it
/// was before us.
pub async fn read_plan(
    source: &mut Session,
    database: &str,
    our_publications: &[String],
    effects: &[SideEffect],
    policy: crate::config::ReplicaIdentityPolicy,
) -> Result<Plan, Error> {
    let version = source.version();
    let reading = "reading the source's schema";
    let transaction = source
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(Error::doing(reading))?;
    let tables = table::read(transaction.client()).await.map_err(Error::doing(reading))?;
    let catalog = object::introspect(transaction.client(), version, our_publications).await?;
    transaction.commit().await.map_err(Error::doing(reading))?;
    let mut options = plan::Options::default();
    let mut left_out = Vec::new();
    for table in &tables {
        let changed = effects.iter().find(|e| {
            e.kind == Kind::ReplicaIdentity
                && e.database == database
                && e.detail.get("oid").and_then(serde_json::Value::as_u64) == Some(u64::from(table.oid))
        });
        let original = changed.and_then(publication::original_identity);
        let original = original.unwrap_or_else(|| table.replica_identity.clone());
        match publication::wanted_identity(table, policy) {
            Ok(streaming) if streaming != original => {
                options.replica_identity.insert(table.oid, plan::ReplicaIdentityChange { original, streaming });
            }
            Ok(_) => {}
            Err(why) => left_out.push(publication::no_identity(database, table, &why)),
        }
    }
    let mut plan = plan::plan(&catalog, &options);
    plan.findings.extend(left_out);
    for finding in &mut plan.findings {
        finding.database.clear();
        finding.database.push_str(database);
    }
    Ok(plan)
}
