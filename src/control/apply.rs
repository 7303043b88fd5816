//! Carries a plan's actions out: bounded, creates with a slow start, and what each failure means
//! for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::actions::Done;
use super::backoff::Chance;
use super::client::{At, Kind, Verb, WRITES_IN_FLIGHT_MAX};
use super::error::{CallError, Failure, Refused};
use super::events::Subject;
use super::memory::{CREATES, LABELS, SetMemory, Sort, is_shared};
use super::queue::{Next, Verdict};
use super::reconcile::{DOUBT_PAUSE, Reconciler};
use crate::control::cache::set::SetObject;
use crate::model::SetFacts;
use crate::plan::action::{Action, PatchWhy, Plan, PlannedEvent, RevisionAction};

/// Calls of one set and sort at the same time: as many as the manager makes at all, which all sets share fairly.
const CALLS_MAX: usize = WRITES_IN_FLIGHT_MAX;

/// Creates of one look: so few that the Pods made before are seen to, and their gates opened, meanwhile. The
/// events of those that were made bring the next look.
pub const CREATES_MAX: usize = 64;

/// Writes of one sort that are tried first, where the sort can be refused as a whole.
const TRIALS: usize = 8;

/// How many Pods of a set are made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtOnce(usize);

impl Default for AtOnce {
    fn default() -> Self {
        AtOnce(1)
    }
}

/// What the calls of one look came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub events: Vec<PlannedEvent>,
    conflict: bool,
    failed: bool,
    throttled: Option<Duration>,
    not_leading: bool,
    /// What the rest has to wait for was refused, and is tried again after its pause.
    pub retries_later: bool,
}

impl Outcome {
    /// Something went wrong that the next plan must see before more is done.
    pub fn must_stop(&self) -> bool {
        self.conflict || self.failed || self.throttled.is_some() || self.not_leading || self.retries_later
    }

    pub fn verdict(&self) -> Verdict {
        if self.not_leading {
            Verdict::REST.wake_after(DOUBT_PAUSE)
        } else if let Some(pause) = self.throttled {
            Verdict { next: Next::Pause(pause), wake_after: None }
        } else if self.failed {
            Verdict::BACKOFF
        } else if self.conflict {
            Verdict::AGAIN
        } else {
            Verdict::REST
        }
    }

    /// Takes in a failure. A conflict without anything to wait for is a failure: else it would spin.
    pub fn note(&mut self, error: &CallError, waits: bool) {
        match error.failure {
            Failure::Conflict | Failure::NotFound if waits => self.conflict = true,
            Failure::Throttled => {
                let pause = error.retry_after.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(30));
                self.throttled = Some(self.throttled.map_or(pause, |longest| longest.max(pause)));
            }
            Failure::NotLeading => self.not_leading = true,
            Failure::Refused(_) => {}
            _ => self.failed = true,
        }
    }

    /// The same where nothing can go on without it: a refusal is a failure too, or nobody would try again.
    pub fn note_needed(&mut self, error: &CallError, waits: bool) {
        self.note(error, waits);
        self.failed |= matches!(error.failure, Failure::Refused(_));
    }
}

impl Reconciler {
    /// Group after group, then what the ledger had to be written for.
    pub(super) async fn apply(&self, set: &SetFacts, plan: &Plan, memory: &mut SetMemory) -> Outcome {
        let mut outcome = Outcome::default();
        let all = || plan.actions.iter().flatten().chain(&plan.disruptions);
        let revisions = plan.revisions.iter().map(RevisionAction::object);
        let wanted: BTreeSet<String> = all().map(Action::object).chain(revisions).collect();
        memory.refusals.keep_only(&wanted);
        let mut adoption = Adoption::Unknown;
        if all().any(|action| matches!(action, Action::AdoptPod { .. })) {
            adoption = self.may_adopt(set, &mut outcome).await;
        }
        for group in &plan.actions {
            let claims_failed = self.apply_group(set, group, adoption, memory, &mut outcome).await;
            if outcome.must_stop() || claims_failed {
                return outcome;
            }
        }
        self.apply_group(set, &plan.disruptions, adoption, memory, &mut outcome).await;
        outcome
    }

    /// Creates one batch after another, the rest beside them. True: a claim's owners could not be
    /// written, so that no Pod may be deleted after it.
    async fn apply_group(
        &self,
        set: &SetFacts,
        group: &[Action],
        adoption: Adoption,
        memory: &mut SetMemory,
        outcome: &mut Outcome,
    ) -> bool {
        let may_try = |action: &&Action| {
            memory.refusals.may_send(sort_of(action))
                && memory.refusals.may_try(&action.object())
                && (!matches!(action, Action::AdoptPod { .. }) || adoption == Adoption::Allowed)
        };
        let is_create = |action: &&Action| matches!(action, Action::CreatePod { .. } | Action::CreateClaim { .. });
        let (mut creates, mut others): (Vec<&Action>, Vec<&Action>) = group.iter().filter(may_try).partition(is_create);
        // Those that were never refused first: one that always is must not hold them up.
        for actions in [&mut creates, &mut others] {
            actions.sort_by_cached_key(|action| memory.refusals.tries(&action.object()));
        }
        let create = self.create_slowly(set, &creates, &mut memory.creates_at_once);
        let (created, acted) = tokio::join!(create, self.act_on_all(set, &others));
        if created.iter().any(|done| is_shared_refusal(&done.result)) {
            memory.refusals.pause(CREATES, &self.apiserver.chance);
        } else if created.iter().any(|done| done.result.is_ok()) {
            memory.refusals.resume(CREATES);
        }
        for (sort, tried) in tried(&acted) {
            match tried {
                Tried::Other => memory.refusals.resume(sort),
                Tried::Refused(count) if count >= TRIALS => memory.refusals.pause(sort, &self.apiserver.chance),
                Tried::Refused(_) => {}
            }
        }
        let mut claims_failed = false;
        for done in created.into_iter().chain(acted) {
            claims_failed |= matches!(done.action, Action::PatchClaim { .. }) && done.result.is_err();
            note_done(set, done, memory, outcome, &self.apiserver.chance);
        }
        claims_failed
    }

    /// One at first, and one more at once for each that was made, also by the next look; no more after the first that is
    /// refused or fails, and one again after that.
    async fn create_slowly<'a>(&self, set: &SetFacts, creates: &[&'a Action], at_once: &mut AtOnce) -> Vec<Done<'a>> {
        let mut waiting = creates.iter();
        let mut running = FuturesUnordered::new();
        let mut all = Vec::with_capacity(creates.len());
        loop {
            let room = at_once.0.saturating_sub(running.len());
            running.extend(waiting.by_ref().take(room).map(|action| self.act(set, action)));
            let Some(done) = running.next().await else { return all };
            let stop = is_shared_refusal(&done.result)
                || done.result.as_ref().is_err_and(|error| !matches!(error.failure, Failure::Refused(_)));
            if stop {
                waiting = [].iter();
            }
            at_once.0 = if done.result.is_ok() { CALLS_MAX.min(at_once.0 + 1) } else { 1 };
            all.push(done);
        }
    }

    /// All at once; of a sort that is refused, a few. Labels and annotations go one after another: they keep the rollout's
    /// order, and no budget does it for them.
    async fn act_on_all<'a>(&self, set: &SetFacts, actions: &[&'a Action]) -> Vec<Done<'a>> {
        let mut sorts: BTreeMap<Sort, Vec<&'a Action>> = BTreeMap::new();
        for action in actions {
            sorts.entry(sort_of(action)).or_default().push(action);
        }
        let all = sorts.into_iter().map(|(sort, actions)| {
            let at_once = if sort == LABELS { 1 } else { CALLS_MAX };
            act_on_sort(actions, at_once, |action| self.act(set, action))
        });
        futures::future::join_all(all).await.into_iter().flatten().collect()
    }

    /// Taking an orphan needs a live look: the set may be gone, or be another of the same name.
    pub(super) async fn may_adopt(&self, set: &SetFacts, outcome: &mut Outcome) -> Adoption {
        let at = At::one(Kind::Set, &set.namespace, &set.name);
        match self.apiserver.read::<SetObject>(Verb::Get, at).await {
            Ok(live) => {
                let meta = &live.metadata;
                let same = meta.uid.as_deref() == Some(&*set.uid) && meta.deletion_timestamp.is_none();
                if same { Adoption::Allowed } else { Adoption::Denied }
            }
            Err(error) if error.failure == Failure::NotFound => Adoption::Denied,
            Err(error) => {
                outcome.note_needed(&error, false);
                Adoption::Unknown
            }
        }
    }

    /// Publishes what was done and what was planned to be said.
    pub(super) fn tell(&self, set: &SetFacts, planned: &[PlannedEvent], outcome: &Outcome) {
        let subject = Subject { namespace: set.namespace.clone(), name: set.name.clone(), uid: set.uid.clone() };
        self.events.send(&subject, planned);
        self.events.send(&subject, &outcome.events);
    }
}

/// A few first, and the rest where not all of these were refused.
async fn act_on_sort<'a, Acts: Future<Output = Done<'a>>>(
    actions: Vec<&'a Action>,
    at_once: usize,
    act: impl Fn(&'a Action) -> Acts,
) -> Vec<Done<'a>> {
    let mut all = Vec::with_capacity(actions.len());
    let mut waiting = actions.into_iter();
    let mut running = FuturesUnordered::new();
    let mut only_refused = true;
    loop {
        let most = if only_refused { TRIALS.saturating_sub(all.len()) } else { CALLS_MAX };
        let room = most.min(at_once).saturating_sub(running.len());
        // Begun one by one: a call that waits takes kilobytes.
        running.extend(waiting.by_ref().take(room).map(&act));
        let Some(done) = running.next().await else { return all };
        only_refused &= is_refused_as_others(&done);
        all.push(done);
    }
}

/// What came of the writes of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// All were refused: this many.
    Refused(usize),
    Other,
}

fn tried(all: &[Done<'_>]) -> BTreeMap<Sort, Tried> {
    let mut sorts = BTreeMap::new();
    for done in all {
        let sort = sorts.entry(sort_of(done.action)).or_insert(Tried::Refused(0));
        *sort = match *sort {
            Tried::Refused(count) if is_refused_as_others(done) => Tried::Refused(count + 1),
            _ => Tried::Other,
        };
    }
    sorts
}

/// Refused, for a cause that others of its sort may share, and wanted again by the next plan.
fn is_refused_as_others(done: &Done<'_>) -> bool {
    is_shared_refusal(&done.result) && !done.result.as_ref().is_err_and(|error| turns_plan(done.action, error))
}

/// A policy that denies says nothing about what a running Pod can take: only a 422 does, and its resourceVersion was
/// fresh, or it were a conflict. The next plan takes another way then.
fn turns_plan(action: &Action, error: &CallError) -> bool {
    error.failure == Failure::Refused(Refused::Invalid)
        && matches!(action, Action::PatchPod { why: PatchWhy::InPlace | PatchWhy::Live, .. })
}

/// What is refused together.
fn sort_of(action: &Action) -> Sort {
    match action {
        Action::CreatePod { .. } | Action::CreateClaim { .. } => CREATES,
        Action::CreateHelper { .. } => "creates of helpers",
        Action::DeletePod { .. } => "deletes",
        Action::DeleteHelper { .. } => "deletes of helpers",
        Action::PatchPod { why: PatchWhy::InPlace | PatchWhy::Live, .. } => "updates in place",
        Action::PatchPod { why: PatchWhy::Metadata, .. } => LABELS,
        Action::PatchPod { why: PatchWhy::HookState, .. } => "states of hooks",
        Action::PatchPod { why: PatchWhy::Fence, .. } => "fences",
        Action::PatchPodStatus { .. } => "gates",
        Action::PatchClaim { .. } => "owners of claims",
        Action::GrowClaim { .. } => "growth of claims",
        Action::AdoptPod { .. } => "adoptions",
        Action::ReleasePod { .. } => "releases",
    }
}

/// Whether orphans may be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    Unknown,
    Allowed,
    Denied,
}

fn is_shared_refusal(result: &Result<(), CallError>) -> bool {
    matches!(result, Err(CallError { failure: Failure::Refused(refused), .. }) if is_shared(*refused))
}

fn note_done(set: &SetFacts, done: Done<'_>, memory: &mut SetMemory, outcome: &mut Outcome, chance: &Chance) {
    let Done { action, shows, result } = done;
    let waits = !shows.is_empty();
    for (kind, name, shows) in shows {
        memory.inflight.expect(kind, &name, shows);
    }
    let object = action.object();
    match result {
        Ok(()) => {
            tracing::info!(namespace = %set.namespace, set = %set.name, object, what = verb_of(action), "{}", action.reason());
            memory.refusals.made(&object);
            outcome.events.extend(success(action));
        }
        Err(error) => {
            outcome.note(&error, waits);
            if let Failure::Refused(refused) = error.failure {
                tracing::warn!(namespace = %set.namespace, set = %set.name, object, what = verb_of(action), "refused: {}", error.message);
                memory.refusals.refused(&object, sort_of(action), &error, chance);
                match action {
                    Action::PatchPod { target, revision, .. } if turns_plan(action, &error) => {
                        memory.refuse_patch(&target.uid, revision, &error.message);
                    }
                    // A policy that denies says nothing about what a running Pod can take.
                    Action::PatchPod { why: PatchWhy::InPlace, revision, .. } => {
                        let message = format!("{object}: {}", error.message);
                        memory.deny_update(revision, refused.reason(), &message, false);
                    }
                    _ => {}
                }
                outcome.events.push(failure(action, &error));
            }
        }
    }
}

fn verb_of(action: &Action) -> &'static str {
    match action {
        Action::CreatePod { .. } | Action::CreateClaim { .. } => "Create",
        Action::DeletePod { .. } => "Delete",
        Action::PatchPod { .. } | Action::PatchClaim { .. } | Action::GrowClaim { .. } => "Update",
        Action::CreateHelper { .. } | Action::DeleteHelper { .. } => "PrePull",
        Action::PatchPodStatus { .. } => "UpdateStatus",
        Action::AdoptPod { .. } => "Adopt",
        Action::ReleasePod { .. } => "Release",
    }
}

/// What users are told of a success: not of gates and fences, which come with what they are told.
fn success(action: &Action) -> Option<PlannedEvent> {
    let (reason, done) = match action {
        Action::CreatePod { .. } | Action::CreateClaim { .. } => ("SuccessfulCreate", "created"),
        Action::DeletePod { .. } => ("SuccessfulDelete", "deleted"),
        Action::CreateHelper { .. } => ("PullingImage", "made"),
        Action::DeleteHelper { pulled, .. } if !pulled.is_empty() => ("PulledImage", "removed"),
        Action::DeleteHelper { .. } => return None,
        Action::GrowClaim { .. } => ("GrowingClaim", "asked for more storage for"),
        Action::PatchPod { why: PatchWhy::InPlace | PatchWhy::Live, .. } => {
            ("SuccessfulUpdateInPlace", "updated in place")
        }
        Action::AdoptPod { .. } => ("SuccessfulAdopt", "adopted"),
        Action::ReleasePod { .. } => ("SuccessfulRelease", "released"),
        Action::PatchPod { .. } | Action::PatchPodStatus { .. } | Action::PatchClaim { .. } => return None,
    };
    let message = format!("{done} {}: {}", action.object(), action.reason());
    Some(PlannedEvent { warning: false, reason, action: verb_of(action), message })
}

fn failure(action: &Action, error: &CallError) -> PlannedEvent {
    let reason = match action {
        Action::CreatePod { .. } | Action::CreateClaim { .. } => "FailedCreate",
        Action::CreateHelper { .. } => "FailedPrePull",
        Action::DeletePod { .. } => "FailedDelete",
        Action::AdoptPod { .. } => "FailedAdopt",
        Action::ReleasePod { .. } => "FailedRelease",
        _ => "FailedUpdate",
    };
    let message = format!("{}: {}", action.object(), error.message);
    PlannedEvent { warning: true, reason, action: verb_of(action), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::HeldUpdate;
    use crate::plan::action::Target;

    fn outcome(failure: Failure, waits: bool) -> Outcome {
        let mut outcome = Outcome::default();
        let error = CallError {
            failure,
            code: 0,
            verb: "patch",
            object: "Pod web-0".to_owned(),
            message: String::new(),
            retry_after: Some(Duration::from_secs(7)),
        };
        outcome.note(&error, waits);
        outcome
    }

    /// What is remembered of updates to `hash` after a Pod's update was refused.
    fn held_after(refused: Refused, why: PatchWhy) -> Option<HeldUpdate> {
        let set = SetFacts {
            namespace: "space".into(),
            name: "web".into(),
            uid: "set".into(),
            resource_version: "1".into(),
            generation: 1,
            terminating: false,
            spec: std::sync::Arc::default(),
            status: std::sync::Arc::default(),
        };
        let target = Target { name: "web-0".into(), uid: "uid".into(), resource_version: "1".into() };
        let action = Action::PatchPod {
            ordinal: 0,
            target,
            why,
            revision: "hash".into(),
            resize: None,
            patch: Box::default(),
            reason: String::new(),
        };
        let error = CallError {
            failure: Failure::Refused(refused),
            code: 403,
            verb: "patch",
            object: "Pod web-0".to_owned(),
            message: "images are frozen".to_owned(),
            retry_after: None,
        };
        let done = Done { action: &action, shows: Vec::new(), result: Err(error) };
        let mut memory = SetMemory::of("set");
        note_done(&set, done, &mut memory, &mut Outcome::default(), &Chance::system());
        memory.held_updates().remove("hash")
    }

    #[tokio::test]
    async fn a_refused_update_holds_others_to_its_revision() {
        let denied =
            HeldUpdate::Denied { reason: "AdmissionDenied".into(), message: "Pod web-0: images are frozen".into() };
        assert_eq!(held_after(Refused::AdmissionDenied, PatchWhy::InPlace), Some(denied));
        assert_eq!(held_after(Refused::Invalid, PatchWhy::InPlace), Some(HeldUpdate::Ask));
        assert_eq!(held_after(Refused::Forbidden, PatchWhy::Fence), None);
    }

    fn label_patches(count: i64) -> Vec<Action> {
        let patch = |ordinal: i64| Action::PatchPod {
            ordinal,
            target: Target { name: format!("web-{ordinal}").into(), uid: "u".into(), resource_version: "1".into() },
            why: PatchWhy::Metadata,
            revision: "hash".into(),
            resize: None,
            patch: Box::default(),
            reason: String::new(),
        };
        (0..count).map(patch).collect()
    }

    fn denied(action: &Action) -> CallError {
        CallError {
            failure: Failure::Refused(Refused::AdmissionDenied),
            code: 403,
            verb: "patch",
            object: action.object(),
            message: "no".to_owned(),
            retry_after: None,
        }
    }

    #[tokio::test]
    async fn of_writes_that_are_all_refused_a_few_are_sent() {
        let actions = label_patches(2000);
        let sent = act_on_sort(actions.iter().collect(), CALLS_MAX, |action| async move {
            Done { action, shows: Vec::new(), result: Err(denied(action)) }
        })
        .await;
        assert_eq!(sent.len(), TRIALS);
        assert_eq!(tried(&sent), [("labels", Tried::Refused(TRIALS))].into());
    }

    #[tokio::test]
    async fn all_are_sent_where_one_of_the_first_goes_well() {
        let actions = label_patches(200);
        let sent = act_on_sort(actions.iter().collect(), CALLS_MAX, |action| async move {
            let result = if action.object() == "Pod web-7" { Ok(()) } else { Err(denied(action)) };
            Done { action, shows: Vec::new(), result }
        })
        .await;
        assert_eq!(sent.len(), 200);
        assert_eq!(tried(&sent), [("labels", Tried::Other)].into());
    }

    #[tokio::test]
    async fn labels_go_in_order_one_after_another() {
        let actions = label_patches(20);
        let begun = std::cell::RefCell::new(Vec::new());
        let under_way = std::cell::Cell::new(0);
        act_on_sort(actions.iter().collect(), 1, |action| {
            begun.borrow_mut().push(action.object());
            let under_way = &under_way;
            async move {
                under_way.set(under_way.get() + 1);
                tokio::task::yield_now().await;
                assert_eq!(under_way.replace(under_way.get() - 1), 1);
                Done { action, shows: Vec::new(), result: Ok(()) }
            }
        })
        .await;
        assert_eq!(*begun.borrow(), (0..20).map(|ordinal| format!("Pod web-{ordinal}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_decides_what_comes_next() {
        let pause = Verdict { next: Next::Pause(Duration::from_secs(7)), wake_after: None };
        for (failure, waits, verdict, stops) in [
            (Failure::Conflict, true, Verdict::AGAIN, true),
            (Failure::Conflict, false, Verdict::BACKOFF, true),
            (Failure::NotFound, true, Verdict::AGAIN, true),
            (Failure::Throttled, false, pause, true),
            (Failure::Unknown, true, Verdict::BACKOFF, true),
            (Failure::NotLeading, false, Verdict::REST.wake_after(DOUBT_PAUSE), true),
            (Failure::Refused(Refused::QuotaExceeded), false, Verdict::REST, false),
        ] {
            let outcome = outcome(failure, waits);
            assert_eq!(outcome.verdict(), verdict, "{failure:?}");
            assert_eq!(outcome.must_stop(), stops, "{failure:?}");
        }
        let mut needed = outcome(Failure::Conflict, true);
        needed.note_needed(&denied(&label_patches(1)[0]), false);
        assert_eq!((needed.verdict(), needed.must_stop()), (Verdict::BACKOFF, true));
    }
}
