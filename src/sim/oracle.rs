//! What must hold at each write, whatever the controllers had seen. An action is legal when it is
//! legal under one of the specs between the one that its controller had read and the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::clocks::Clocks;
use super::cluster::Cluster;
use super::controller::{Intent, Read, Request, Verb};
use super::facts;
use super::oracle_rules::{
    claim_ordinal, judge_claim, judge_claim_owners, judge_create, judge_hooks, judge_revision, judge_revision_delete,
    means, short,
};
use super::store::{Change, Kind, Object, Store, timestamp};
use super::world::SET;
use crate::api::{Disruption, names};
use crate::model::pod::is_newer;
use crate::model::{ClaimFacts, Gate, Ordinal, PodFacts, Ranges, ValidSpec, canonical};
use crate::plan::action::{Action, DeleteWhy, GateWhy, PatchWhy, RevisionAction};

#[derive(Default)]
pub struct Oracle {
    pub violation: Option<String>,
    /// For mutants that have none: what else would be noticed?
    pub blind_to_preconditions: bool,
    /// How far the controllers' clocks are ahead: what is available is so that much earlier for them, and no more.
    pub clocks_ms: Clocks,
    /// Every state that the set had.
    history: Vec<Arc<SetState>>,
    /// Pods that a controller took down while they were Ready, until their ordinal is available.
    outstanding: BTreeMap<Ordinal, Outstanding>,
    /// What the request under way takes down, should it be done.
    taking_down: Option<Outstanding>,
    /// Every template that a revision ever had, by its hash and its full name.
    templates: BTreeMap<Box<str>, Value>,
    pub writes: u64,
    /// What each life of a controller saw of the set, live, since its present plan: the UIDs of those that were not being
    /// deleted.
    looks: BTreeMap<(usize, u64), BTreeSet<Box<str>>>,
    /// Verb and object of the writes that changed something; of statuses, none.
    pub counts: BTreeMap<(&'static str, String), u64>,
    /// UIDs of Pods whose creation came after its controller had given it up, or was gone: no look could foresee them.
    pub made_late: BTreeSet<Box<str>>,
    /// How often something was seen: a check that never has a case checks nothing.
    pub seen: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug)]
pub struct SetState {
    version: u64,
    uid: Box<str>,
    terminating: bool,
    pub spec: Arc<ValidSpec>,
    /// The template, canonical.
    pub text: Arc<str>,
    pub current: Option<String>,
    pub updated: Ranges,
}

#[derive(Clone, Debug)]
struct Outstanding {
    ordinal: Ordinal,
    uid: Box<str>,
    /// The version of the set that it rests on.
    read_version: u64,
    /// States of the Pod from before the write say nothing.
    done_version: u64,
    /// Controllers by whose clock it was over already.
    over_for: BTreeSet<usize>,
}

impl Oracle {
    pub fn of_clocks(clocks_ms: Clocks) -> Oracle {
        Oracle { clocks_ms, ..Oracle::default() }
    }

    pub fn fail(&mut self, message: String) {
        self.violation.get_or_insert(message);
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// A controller has made a plan: what it looked at before says nothing any more.
    pub fn planned(&mut self, controller: usize, epoch: u64) {
        self.looks.remove(&(controller, epoch));
    }

    /// A controller read the set live.
    pub fn looked_at_set(&mut self, controller: usize, epoch: u64, set: Option<&Object>) {
        if let Some(set) = set.filter(|set| !set.is_terminating()) {
            self.looks.entry((controller, epoch)).or_default().insert(set.uid.clone());
        }
    }

    /// S3: what has no owner is taken after a live look that shows the same set.
    fn judge_look(&self, request: &Request) -> Result<(), String> {
        let looks = self.looks.get(&(request.controller, request.epoch));
        // One that was given up is of an earlier plan, whose looks are forgotten.
        if request.abandoned || looks.is_some_and(|looks| looks.contains(&request.read.set_uid)) {
            return Ok(());
        }
        Err(format!("S3: {} is adopted without a live look at the set", request.name))
    }

    fn window(&self, read: &Read) -> Vec<Arc<SetState>> {
        let begin = self.history.iter().rposition(|state| state.version <= read.set_version).unwrap_or(0);
        self.history[begin..].iter().filter(|state| state.uid == read.set_uid).cloned().collect()
    }

    pub fn changed(&mut self, now: i64, kind: Kind, change: &Change, cluster: &Cluster) {
        match (kind, &change.object) {
            (Kind::Set, _) if *change.name != *SET => {}
            (Kind::Set, Some(object)) => self.set_changed(object),
            (Kind::Set, None) => self.outstanding.clear(),
            (Kind::Revision, Some(object)) => {
                if let Some(revision) = object.revision() {
                    let template = canonical::without_nulls(&revision.template());
                    self.templates.insert(revision.hash.clone(), template.clone());
                    self.templates.insert(revision.name.clone(), template);
                }
            }
            (Kind::Pod, _) => {
                for object in [&change.before, &change.object].into_iter().flatten() {
                    self.forget_if_over(now, object, cluster);
                }
            }
            _ => {}
        }
    }

    fn set_changed(&mut self, object: &Object) {
        let Some(set) = object.set() else { return };
        let Ok(spec) = ValidSpec::parse(&set.spec) else { return };
        let last = self.history.last().filter(|last| last.uid == object.uid);
        let text = canonical::text(&spec.template);
        let text =
            last.filter(|last| *last.text == *text).map_or_else(|| text.as_str().into(), |last| Arc::clone(&last.text));
        self.outstanding.retain(|ordinal, _| spec.slots.contains(*ordinal));
        self.history.push(Arc::new(SetState {
            version: object.version,
            uid: object.uid.clone(),
            terminating: set.terminating,
            spec: Arc::new(spec),
            text,
            current: set.status.current_revision.clone(),
            updated: set.status.updated_ordinals.as_deref().map(Ranges::parse_text).unwrap_or_default(),
        }));
    }

    pub fn forget_if_over(&mut self, now: i64, object: &Object, cluster: &Cluster) {
        if self.outstanding.is_empty() {
            return;
        }
        let Some(pod) = object.pod() else { return };
        let Some(entry) = pod.ordinal_of(SET).and_then(|ordinal| self.outstanding.get(&ordinal)) else { return };
        if object.version < entry.done_version {
            return;
        }
        let begin = self.history.iter().rposition(|state| state.version <= entry.read_version).unwrap_or(0);
        let min_ready =
            self.history[begin..].iter().map(|state| state.spec.min_ready_seconds).min().unwrap_or_default();
        let settled = pod.uid != entry.uid
            || (!matches!(pod.gate, Gate::Closed { .. })
                && cluster.pods.get(&pod.uid).is_some_and(|run| run.has_started_spec(&object.value)));
        let ordinal = entry.ordinal;
        if settled && pod.is_available(min_ready, timestamp(now)) {
            self.outstanding.remove(&ordinal);
        } else if settled && let Some(entry) = self.outstanding.get_mut(&ordinal) {
            let by = |ahead: i64| pod.is_available(min_ready, timestamp(now + ahead));
            let early = self.clocks_ms.into_iter().enumerate().filter(|(_, ahead)| by(*ahead));
            entry.over_for.extend(early.map(|(controller, _)| controller));
        }
    }

    /// Looks at a write just before it is done, or refused.
    pub fn before(&mut self, request: &Request, store: &Store, cluster: &Cluster) {
        self.taking_down = None;
        let (guard_uid, guard_version) = match request.verb {
            Verb::Patch | Verb::MergePatch | Verb::PatchStatus | Verb::Resize => (
                Some(facts::text(&request.body, "/metadata/uid")).filter(|uid| !uid.is_empty()),
                Some(facts::text(&request.body, "/metadata/resourceVersion")).filter(|version| !version.is_empty()),
            ),
            _ => (request.guard.uid.clone(), request.guard.version.clone()),
        };
        let complete = match request.verb {
            Verb::Create | Verb::Get | Verb::DryRun => true,
            Verb::PutStatus => guard_version.is_some(),
            _ => guard_uid.is_some() && guard_version.is_some(),
        };
        if !complete && !self.blind_to_preconditions {
            return self.fail(format!("S2: {:?} {} without preconditions", request.verb, request.name));
        }
        if request.verb == Verb::Delete {
            if request.grace_seconds.is_some() {
                return self.fail(format!("S1: {} is deleted by force", request.name));
            }
            if request.kind == Kind::Claim {
                return self.fail(format!("S12: claim {} is deleted", request.name));
            }
        }
        let target = store.get(request.kind, &request.name);
        let passes = target.is_some_and(|target| {
            guard_uid.as_ref().is_none_or(|uid| *uid == target.uid)
                && guard_version.as_ref().is_none_or(|version| **version == *target.version.to_string())
        });
        for (_, pod) in store.all(Kind::Pod) {
            self.forget_if_over(store.now_ms, pod, cluster);
        }
        if let (Intent::Act(Action::PatchPodStatus { why: GateWhy::Open, .. }), Some(target)) =
            (&request.intent, target.filter(|_| passes))
            && cluster.pods.get(&target.uid).is_some_and(|run| run.serves_something_else(&target.value))
        {
            self.fail(format!("S10: the gate of {} is opened while an old container runs", request.name));
        }
        if let Err(message) = self.judge(request, target.filter(|_| passes), store) {
            self.fail(message);
        }
    }

    /// The write was done, and changed something.
    pub fn after(&mut self, request: &Request, version: u64) {
        self.writes += 1;
        let verb = match request.verb {
            Verb::Create => "create",
            Verb::Delete => "delete",
            _ => "patch",
        };
        if request.kind != Kind::Set {
            *self.counts.entry((verb, format!("{:?} {}", request.kind, request.name))).or_default() += 1;
        }
        if let Some(entry) = self.taking_down.take() {
            self.saw(match request.verb {
                Verb::Delete => "a Ready Pod was deleted",
                Verb::PatchStatus => "a gate was closed",
                _ => "a Ready Pod was patched",
            });
            self.outstanding.insert(entry.ordinal, Outstanding { done_version: version, ..entry });
        }
    }

    fn judge(&mut self, request: &Request, target: Option<&Arc<Object>>, store: &Store) -> Result<(), String> {
        let window = self.window(&request.read);
        if window.is_empty() {
            return Err(format!("{} rests on a set that never was", request.name));
        }
        if request.verb == Verb::PutStatus {
            return target.map_or(Ok(()), |target| self.judge_status(request, &window, target, store));
        }
        if window.iter().all(|state| state.terminating) {
            return Err(format!("S16: {:?} {} although the set is being deleted", request.verb, request.name));
        }
        match &request.intent {
            Intent::Revision(action) => {
                let Some(revision) = target.and_then(|target| target.revision()) else { return Ok(()) };
                judge_revision(action, revision, &request.read.set_uid)?;
                match action {
                    RevisionAction::Adopt { .. } => self.judge_look(request),
                    RevisionAction::Delete { hash, name, .. } => {
                        judge_revision_delete(hash, name, store, &self.made_late)
                    }
                    _ => Ok(()),
                }
            }
            Intent::Claim => judge_claim_owners(request, &window),
            Intent::Act(Action::PatchClaim { .. } | Action::GrowClaim { .. }) if target.is_some() => {
                judge_claim(request, target)?;
                judge_claim_owners(request, &window)
            }
            Intent::Act(action) => self.judge_action(request, action, &window, target, store),
            _ => Ok(()),
        }
    }

    fn judge_action(
        &mut self,
        request: &Request,
        action: &Action,
        window: &[Arc<SetState>],
        target: Option<&Arc<Object>>,
        store: &Store,
    ) -> Result<(), String> {
        if let Action::CreatePod { ordinal, pod, .. } = action {
            if store.get(Kind::Pod, &request.name).is_some() {
                return Ok(());
            }
            let hash = facts::pod(pod).revision_label().to_owned();
            return judge_create(*ordinal, &hash, window, &self.templates);
        }
        let Some(pod) = target.and_then(|target| target.pod()) else { return Ok(()) };
        let owner = pod.controller.as_ref().map(|owner| &owner.uid);
        match action {
            Action::AdoptPod { .. } if owner.is_some() => return Err(format!("S3: {} is no orphan", pod.name)),
            Action::AdoptPod { .. } if !window.iter().any(|state| state.spec.selector.matches_map(&pod.labels)) => {
                return Err(format!("S3: {} is adopted and the selector never matched it", pod.name));
            }
            Action::AdoptPod { .. } => {
                self.saw("an orphan was adopted");
                return self.judge_look(request);
            }
            Action::CreateHelper { .. } => return Ok(()),
            Action::DeleteHelper { .. } => {
                let owner = pod.helper.as_ref().map(|helper| &helper.owner_uid);
                let ours = owner == Some(&request.read.set_uid);
                return if ours { Ok(()) } else { Err(format!("S3: helper {} is not ours", pod.name)) };
            }
            _ if owner != Some(&request.read.set_uid) => {
                return Err(format!("S3: {:?} of {}, which is not ours", request.verb, pod.name));
            }
            _ => {}
        }
        self.judge_revision_change(action, pod, window)?;
        self.judge_reason(action, pod, window)?;
        judge_hooks(action, pod, window)?;
        self.judge_budget(request, action, pod, window, store)
    }

    /// Partition, pause and OnDelete: no Pod leaves its revision that may not.
    fn judge_revision_change(&self, action: &Action, pod: &PodFacts, window: &[Arc<SetState>]) -> Result<(), String> {
        let templates = &self.templates;
        let (ordinal, to) = match action {
            Action::DeletePod { ordinal, why: DeleteWhy::Update, .. } => (*ordinal, None),
            Action::PatchPod { ordinal, why: PatchWhy::InPlace | PatchWhy::Live, revision, .. } => {
                (*ordinal, Some(revision))
            }
            Action::PatchPod { ordinal, why: PatchWhy::Metadata, revision, .. }
                if templates.get(revision) != templates.get(pod.revision_label())
                    && templates.get(pod.revision_label()).is_some() =>
            {
                (*ordinal, Some(revision))
            }
            _ => return Ok(()),
        };
        let legal = window.iter().any(|state| {
            let rolling = &state.spec.rolling;
            let moves = !rolling.paused && !state.spec.on_delete;
            let by_priority = rolling.priority.is_some() && rolling.partition < state.spec.slots.len();
            let index = state.spec.slots.index_of(ordinal);
            let wanted = to.is_none_or(|revision| means(templates, revision, state));
            moves && wanted && index.is_some_and(|index| by_priority || index >= rolling.partition)
        });
        if legal {
            return Ok(());
        }
        Err(format!("S8/S9: {} leaves its revision by {:?} under no spec that allows it", pod.name, short(action)))
    }

    fn judge_reason(&self, action: &Action, pod: &PodFacts, window: &[Arc<SetState>]) -> Result<(), String> {
        let Action::DeletePod { ordinal, why, .. } = action else { return Ok(()) };
        match why {
            DeleteWhy::ScaleDown | DeleteWhy::Reserved => {
                if window.iter().all(|state| state.spec.slots.contains(*ordinal)) {
                    return Err(format!("{} is deleted by {why:?} and is wanted", pod.name));
                }
                Ok(())
            }
            DeleteWhy::Terminal if !pod.is_terminal() => Err(format!("{} has not ended", pod.name)),
            _ => Ok(()),
        }
    }

    /// S4, and that each disruption stands in the ledger.
    fn judge_budget(
        &mut self,
        request: &Request,
        action: &Action,
        pod: &PodFacts,
        window: &[Arc<SetState>],
        store: &Store,
    ) -> Result<(), String> {
        let ordinal = match action {
            Action::DeletePod {
                ordinal,
                why: DeleteWhy::Update | DeleteWhy::InPlaceTimeout | DeleteWhy::SpecifiedDelete,
                ..
            } => *ordinal,
            Action::PatchPodStatus { ordinal, why: GateWhy::Close, .. } => *ordinal,
            Action::PatchPod { ordinal, why: PatchWhy::InPlace | PatchWhy::Live, .. } => *ordinal,
            _ => return Ok(()),
        };
        if let Action::PatchPod { why, .. } = action {
            let labels = request.body.pointer("/metadata/labels");
            let is_patch = request.verb != Verb::Resize;
            if is_patch
                && request.body.get("spec").is_some()
                && labels.and_then(|all| all.get(names::REVISION_LABEL)).is_none()
            {
                return Err(format!("S10: {} gets images and not their revision's label", pod.name));
            }
            if *why == PatchWhy::InPlace && matches!(pod.gate, Gate::Open) && pod.is_ready() {
                return Err(format!("{} is patched while its gate is open", pod.name));
            }
        }
        let outside = matches!(action, Action::PatchPodStatus { .. })
            && window.iter().any(|state| !state.spec.slots.contains(ordinal));
        if !pod.is_ready() || pod.is_terminal() || outside {
            return Ok(());
        }
        let set = store.get(Kind::Set, SET).and_then(|set| set.set()).filter(|set| set.uid == request.read.set_uid);
        let is_it = |entry: &Disruption| entry.ordinal == ordinal && *entry.uid == *pod.uid;
        if set.is_some_and(|set| !set.status.disrupted.iter().any(is_it)) {
            return Err(format!("ledger: {} is taken down and does not stand in it", pod.name));
        }
        // It is out of service already, though its kubelet has not said so: another step of the same disruption.
        let goes_on = matches!(pod.gate, Gate::Closed { .. })
            && self.outstanding.get(&ordinal).is_some_and(|entry| entry.uid == pod.uid);
        let legal = goes_on
            || window.iter().any(|state| {
                let others =
                    self.outstanding.keys().filter(|other| **other != ordinal && state.spec.slots.contains(**other));
                others.count() < state.spec.rolling.max_unavailable
            });
        if !legal {
            let others: Vec<&Ordinal> = self.outstanding.keys().collect();
            return Err(format!("S4: {} is taken down while {others:?} are down", pod.name));
        }
        self.taking_down = Some(Outstanding {
            ordinal,
            uid: pod.uid.clone(),
            read_version: request.read.set_version,
            done_version: 0,
            over_for: BTreeSet::new(),
        });
        Ok(())
    }

    fn judge_status(
        &mut self,
        request: &Request,
        window: &[Arc<SetState>],
        target: &Arc<Object>,
        store: &Store,
    ) -> Result<(), String> {
        let Some(set) = target.set() else { return Ok(()) };
        let Ok(status) = serde_json::from_value::<crate::api::AdvancedStatefulSetStatus>(request.body.clone()) else {
            return Err("a status that cannot be read".to_owned());
        };
        if status.observed_generation.is_some_and(|generation| generation > set.generation) {
            return Err("S17: observedGeneration is ahead".to_owned());
        }
        if [
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.updated_replicas,
            status.current_replicas,
        ]
        .iter()
        .any(|count| *count < 0)
        {
            return Err("S17: a negative count".to_owned());
        }
        for entry in &set.status.disrupted {
            let kept = status.disrupted.contains(entry);
            // A Pod that hooks keep down goes on as another disruption of the same ordinal.
            let replaced = window.iter().any(|state| !state.spec.hooks.is_empty())
                && status.disrupted.iter().any(|new| new.ordinal == entry.ordinal);
            let wanted = window.iter().all(|state| state.spec.slots.contains(entry.ordinal));
            if kept || !wanted {
                continue;
            }
            self.saw("an entry left the ledger");
            let pod = store.get(Kind::Pod, &format!("{SET}-{}", entry.ordinal)).and_then(|pod| pod.pod());
            if pod.is_some_and(|pod| *pod.uid == *entry.uid && *pod.resource_version == *entry.resource_version) {
                return Err(format!("ledger: the entry of {} leaves, and could still be carried out", entry.ordinal));
            }
            // Another step of the same Pod's disruption keeps the slot.
            let goes_on = status.disrupted.iter().any(|new| {
                new.ordinal == entry.ordinal
                    && new.uid == entry.uid
                    && is_newer(&new.resource_version, &entry.resource_version)
            });
            if goes_on || replaced {
                continue;
            }
            match self.outstanding.get(&entry.ordinal).filter(|open| *open.uid == *entry.uid) {
                Some(open) if !open.over_for.contains(&request.controller) => {
                    return Err(format!("ledger: the entry of {} leaves before it is over", entry.ordinal));
                }
                Some(_) => {
                    self.saw("an entry left early, by a clock that is ahead");
                    self.outstanding.remove(&entry.ordinal);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The garbage collector took a claim: somebody must have asked for it, for the owners that it had.
    pub fn claim_collected(&mut self, claim: &ClaimFacts) {
        let of_pod = claim.owners.iter().any(|owner| &*owner.kind == "Pod");
        let asked = |state: &Arc<SetState>| {
            let spec = &state.spec;
            let condemned = claim_ordinal(&claim.name).is_some_and(|ordinal| !spec.slots.contains(ordinal));
            if of_pod { spec.delete_claims_when_scaled && condemned } else { spec.delete_claims_with_set }
        };
        if !self.history.iter().any(asked) {
            self.fail(format!("S12: claim {} is collected and no policy ever said so", claim.name));
        }
    }
}
