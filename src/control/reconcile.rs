//! One look at one set: what is seen → the plan → the calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::abilities::AbilityCache;
use super::actions::Owed;
use super::apply::{self, Outcome};
use super::cache::claim::ClaimObject;
use super::cache::pod::PodObject;
use super::cache::revision::RevisionObject;
use super::cache::set::SetObject;
use super::cache::table::Indexed;
use super::cache::{CachedSet, SetKey, SetView, SharedStore, Watched};
use super::client::{Apiserver, At, Kind, Verb};
use super::error::{CallError, Failure};
use super::events::EventSender;
use super::inflight::{Expectation, Shows, Standing};
use super::memory::SetMemory;
use super::metrics::Metrics;
use super::pace::StatusPace;
use super::queue::{Queue, Verdict};
use super::template_cache::{TemplateCache, UnknownFields};
use crate::api::{AdvancedStatefulSetStatus, names};
use crate::model::{Patterns, SetFacts, Snapshot, TemplateAnswer};
use crate::plan::action::{Plan, StatusWrite};
use crate::plan::prepull::pulled_by_helpers;

/// Rounds of questions within one look.
const QUESTION_ROUNDS_MAX: usize = 4;
/// Between looks while nobody knows whether this process may write.
pub(super) const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// Looks at sets.
pub struct Reconciler {
    pub(super) apiserver: Arc<Apiserver>,
    pub(super) store: Arc<SharedStore>,
    pub(super) queue: Arc<Queue>,
    pub(super) templates: TemplateCache<TemplateAnswer>,
    pub(super) unknown_fields: TemplateCache<UnknownFields>,
    pub(super) events: EventSender,
    pub(super) metrics: Arc<Metrics>,
    pub(super) abilities: Arc<AbilityCache>,
    injectors: Patterns,
    planner: Planner,
    memories: Mutex<HashMap<SetKey, SetMemory>>,
    pace: Mutex<StatusPace>,
}

/// What decides: [`crate::plan::plan`], or that with somebody who looks on.
pub type Planner = Arc<dyn Fn(&Snapshot) -> Plan + Send + Sync>;

/// What decisions are made by, beside what is seen.
#[derive(Clone)]
pub struct Rules {
    pub abilities: Arc<AbilityCache>,
    pub injectors: Patterns,
    pub planner: Planner,
}

impl Reconciler {
    pub fn new(
        apiserver: Arc<Apiserver>,
        store: Arc<SharedStore>,
        queue: Arc<Queue>,
        events: EventSender,
        metrics: Arc<Metrics>,
        rules: Rules,
    ) -> Self {
        let Rules { abilities, injectors, planner } = rules;
        Reconciler {
            apiserver,
            store,
            queue,
            templates: TemplateCache::default(),
            unknown_fields: TemplateCache::default(),
            events,
            metrics,
            abilities,
            injectors,
            planner,
            memories: Mutex::default(),
            pace: Mutex::default(),
        }
    }

    /// Takes sets from the queue until it is dropped.
    pub async fn work(&self) {
        loop {
            let key = self.queue.next().await;
            let verdict = self.reconcile(&key).await;
            self.queue.done(&key, verdict);
        }
    }

    /// One look at one set.
    pub async fn reconcile(&self, key: &SetKey) -> Verdict {
        if !self.apiserver.may_write() {
            // The lease is in doubt: this process ends soon, or goes on soon.
            return Verdict::REST.wake_after(DOUBT_PAUSE);
        }
        let started = Instant::now();
        let Some(set) = self.store.lock().sets.get(&key.namespace, &key.name).cloned() else {
            self.memories().remove(key);
            return Verdict::REST;
        };
        let remembered = self.memories().remove(key).filter(|memory| *memory.uid == *set.uid());
        let mut memory = remembered.unwrap_or_else(|| SetMemory::of(set.uid()));
        let verdict = match &*set {
            CachedSet::Poisoned(poisoned) => self.report_poisoned(key, poisoned, &mut memory).await,
            CachedSet::Sound(_) => self.look(key, &mut memory).await,
        };
        self.memories().insert(key.clone(), memory);
        self.metrics.count_reconcile(verdict.next.name(), started.elapsed());
        verdict
    }

    async fn look(&self, key: &SetKey, memory: &mut SetMemory) -> Verdict {
        if let Some(verdict) = self.settle(key, memory).await {
            return verdict;
        }
        let view = self.store.lock().view(key, self.apiserver.clock.now());
        let Some(SetView::Sound(mut snapshot)) = view else { return Verdict::AGAIN };
        memory.heard.look(&mut snapshot.pods, snapshot.now);
        snapshot.abilities = self.abilities.abilities();
        memory.add_denials(&mut snapshot.abilities);
        snapshot.injectors = self.injectors.clone();
        snapshot.creates_max = apply::CREATES_MAX;
        snapshot.answers.refusals = memory.refusals.list();
        snapshot.answers.refused_patches = memory.refused_patches();
        memory.remember_pulled(&pulled_by_helpers(&snapshot));
        snapshot.answers.held_updates = memory.held_updates();
        memory.whole_pods.keep_only(&snapshot.pods);
        snapshot.answers.pulled_images = memory.pulled_images();
        memory.templates.retain(|hash| match self.templates.get(hash) {
            Some(answer) => {
                snapshot.answers.templates.insert(hash.clone(), answer);
                true
            }
            None => false,
        });
        match self.plan_with_answers(&mut snapshot, memory).await {
            Ok(plan) => self.carry_out(&snapshot, &plan, memory).await,
            Err(error) => {
                tracing::debug!(set = %key, "a question was not answered: {error}");
                let mut outcome = Outcome::default();
                outcome.note_needed(&error, false);
                outcome.verdict()
            }
        }
    }

    /// `None`: the cache shows all that was written.
    async fn settle(&self, key: &SetKey, memory: &mut SetMemory) -> Option<Verdict> {
        let standing = memory.inflight.look(&self.store.lock(), &key.namespace, Instant::now());
        match standing {
            Standing::Clear => None,
            Standing::Wait(left) => Some(Verdict::REST.wake_after(left)),
            Standing::Resolve(late) => {
                for expectation in late {
                    self.metrics.live_resolutions.inc();
                    if let Err(error) = self.resolve(key, &expectation).await {
                        tracing::debug!(set = %key, "a live read failed: {error}");
                        return Some(Verdict::BACKOFF);
                    }
                    memory.inflight.resolved(&expectation);
                }
                Some(Verdict::AGAIN)
            }
        }
    }

    async fn resolve(&self, key: &SetKey, expectation: &Expectation) -> Result<(), CallError> {
        match expectation.kind {
            Kind::Pod => self.read_live::<PodObject>(key, expectation).await,
            Kind::Claim => self.read_live::<ClaimObject>(key, expectation).await,
            Kind::Revision => self.read_live::<RevisionObject>(key, expectation).await,
            _ => self.read_live::<SetObject>(key, expectation).await,
        }
    }

    /// Reads an object from the store itself, and lets the cache know.
    async fn read_live<W: Watched>(&self, key: &SetKey, expectation: &Expectation) -> Result<(), CallError> {
        let known = self.store.lock().known_uid(W::KIND, &key.namespace, &expectation.name);
        let at = At::one(W::KIND, &key.namespace, &expectation.name);
        match self.apiserver.read::<W>(Verb::Get, at).await {
            Ok(object) => self.refresh(object),
            Err(error) if error.failure == Failure::NotFound => {
                if let Some(uid) = known {
                    self.vanished::<W>(&key.namespace, &expectation.name, &uid);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Plans, finds what the plan asks for, and plans again.
    async fn plan_with_answers(&self, snapshot: &mut Snapshot, memory: &mut SetMemory) -> Result<Plan, CallError> {
        let mut plan = self.timed_plan(snapshot);
        for _ in 0..QUESTION_ROUNDS_MAX {
            if plan.questions.is_empty() {
                return Ok(plan);
            }
            self.answer(&plan.questions, snapshot, memory).await?;
            plan = self.timed_plan(snapshot);
        }
        Ok(plan)
    }

    fn timed_plan(&self, snapshot: &Snapshot) -> Plan {
        let started = Instant::now();
        let plan = (self.planner)(snapshot);
        self.metrics.plan_seconds.observe(started.elapsed().as_secs_f64());
        plan
    }

    /// Revisions, then the status, then what may be done, then what the status had to be written for.
    async fn carry_out(&self, snapshot: &Snapshot, plan: &Plan, memory: &mut SetMemory) -> Verdict {
        let set = &snapshot.set;
        let outcome = self.apply_revisions(set, &plan.revisions, memory).await;
        self.tell(set, &[], &outcome);
        if outcome.must_stop() {
            self.say_refused(set, plan, memory).await;
            let verdict = outcome.verdict();
            return memory.refusals.retry_after().map_or(verdict, |after| verdict.wake_after(after));
        }
        if !plan.questions.is_empty() {
            tracing::warn!(set = %set.name, "the plan still asks after {QUESTION_ROUNDS_MAX} rounds of answers");
            return Verdict::BACKOFF;
        }
        let mut verdict = Verdict::REST;
        match self.status_turn(plan, memory) {
            StatusTurn::Nothing => {}
            StatusTurn::Later(after) => verdict = verdict.wake_after(after),
            StatusTurn::Write => {
                if let Some(verdict) = self.write_planned_status(set, plan, memory).await {
                    return verdict;
                }
            }
        }
        let outcome = self.apply(set, plan, memory).await;
        self.tell(set, &plan.events, &outcome);
        let applied = outcome.verdict();
        verdict.next = applied.next;
        let wakes = [
            plan.wake_at.map(|at| until(at, self.apiserver.clock.now())),
            memory.refusals.retry_after(),
            applied.wake_after,
        ];
        wakes.into_iter().flatten().fold(verdict, Verdict::wake_after)
    }

    /// Where a revision was refused, nothing of the plan is done; its conditions say so all the same.
    async fn say_refused(&self, set: &SetFacts, plan: &Plan, memory: &mut SetMemory) {
        let stored = &set.status;
        // What later plans go by stays as it is.
        let status = AdvancedStatefulSetStatus {
            current_revision: stored.current_revision.clone(),
            update_revision: stored.update_revision.clone(),
            collision_count: stored.collision_count,
            updated_ordinals: stored.updated_ordinals.clone(),
            disrupted: stored.disrupted.clone(),
            ..plan.status.clone()
        };
        if memory.refusals.list().is_empty() || !plan.questions.is_empty() || status == **stored {
            return;
        }
        let mut shows = Vec::new();
        if let Err(error) = self.write_status(set, &status, &mut shows).await {
            tracing::warn!(set = %set.name, "the status was not written: {error}");
        }
        for (kind, name, show) in shows {
            memory.inflight.expect(kind, &name, show);
        }
    }

    fn status_turn(&self, plan: &Plan, memory: &SetMemory) -> StatusTurn {
        let since = memory.status_written_at.map_or(Duration::MAX, |at| at.elapsed());
        match plan.status_write {
            StatusWrite::None => StatusTurn::Nothing,
            // A disruption stands on what the status says: it may not wait for it.
            StatusWrite::Later | StatusWrite::Soon if plan.disruptions.is_empty() => {
                match self.pace().gap(plan.status_write).saturating_sub(since) {
                    Duration::ZERO => StatusTurn::Write,
                    left => StatusTurn::Later(left),
                }
            }
            StatusWrite::Later | StatusWrite::Soon | StatusWrite::Now => StatusTurn::Write,
        }
    }

    /// `Some`: it was not written, and nothing else may be done.
    async fn write_planned_status(&self, set: &SetFacts, plan: &Plan, memory: &mut SetMemory) -> Option<Verdict> {
        let mut shows = Vec::new();
        let written = self.write_status(set, &plan.status, &mut shows).await;
        let waits = !shows.is_empty();
        for (kind, name, show) in shows {
            memory.inflight.expect(kind, &name, show);
        }
        memory.status_written_at = Some(Instant::now());
        self.pace().count();
        let error = written.err()?;
        if error.failure != Failure::Conflict {
            tracing::warn!(set = %set.name, "the status was not written: {error}");
        }
        let mut outcome = Outcome::default();
        outcome.note_needed(&error, waits);
        Some(outcome.verdict())
    }

    /// A PUT that fails when the set is another than the one that was planned with.
    pub(super) async fn write_status(
        &self,
        set: &SetFacts,
        status: &AdvancedStatefulSetStatus,
        shows: &mut Owed,
    ) -> Result<(), CallError> {
        let body = json!({
            "apiVersion": names::API_VERSION,
            "kind": names::KIND,
            "metadata": {
                "name": set.name,
                "namespace": set.namespace,
                "uid": set.uid,
                "resourceVersion": set.resource_version,
            },
            "status": status,
        });
        let at = At::one(Kind::Set, &set.namespace, &set.name).status();
        let written = self.apiserver.write::<SetObject>(Verb::Replace, at, Some(&body)).await;
        let (uid, resource_version) = (set.uid.clone(), set.resource_version.clone());
        let show = match &written {
            Ok(object) => {
                let version = object.metadata.resource_version.as_deref().unwrap_or_default();
                Some(Shows::AtLeast { uid, resource_version: version.into() })
            }
            Err(error) => match error.failure {
                Failure::Conflict | Failure::NotFound => Some(Shows::OtherThan { uid, resource_version }),
                Failure::Unknown => Some(Shows::LiveRead),
                _ => None,
            },
        };
        shows.extend(show.map(|show| (Kind::Set, set.name.clone(), show)));
        written.map(|object| self.refresh(object))
    }

    /// Takes an object that was read live into the cache.
    pub(super) fn refresh<W: Watched>(&self, object: W) {
        let concerned = self.store.lock().refresh(object);
        for key in concerned {
            self.queue.add(key);
        }
    }

    /// Takes into the cache that an object is gone.
    pub(super) fn vanished<W: Watched>(&self, namespace: &str, name: &str, uid: &str) {
        let concerned = self.store.lock().vanished::<W>(namespace, name, uid);
        for key in concerned {
            self.queue.add(key);
        }
    }

    /// The merge patch of a status that says only what is wrong with the set.
    pub(super) async fn patch_set_status(&self, key: &SetKey, patch: &Value) -> Result<(), CallError> {
        let at = At::one(Kind::Set, &key.namespace, &key.name).status();
        self.apiserver.write::<serde::de::IgnoredAny>(Verb::MergePatch, at, Some(patch)).await.map(|_| ())
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, StatusPace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<SetKey, SetMemory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time until then; never nothing, so that a moment that has passed does not make a spin.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    const LEAST: Duration = Duration::from_millis(50);
    Duration::try_from(at.duration_since(now)).unwrap_or(LEAST).max(LEAST)
}

enum StatusTurn {
    Nothing,
    Write,
    Later(Duration),
}
