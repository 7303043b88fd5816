//! The model: a snapshot that what is done changes, as the apiserver and the controllers of Kubernetes would.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{ClaimMove, kubelet, patched};
use crate::api::{AdvancedStatefulSetStatus, names};
use crate::control::cache::Watched;
use crate::control::cache::claim::ClaimObject;
use crate::control::cache::pod::PodObject;
use crate::model::{ClaimFacts, Hooks, LivePod, OwnerFacts, PodFacts, RevisionFacts, Snapshot, ValidSpec};
use crate::plan::action::{PatchWhy, RevisionAction, Target};
use crate::plan::{Action, Question};

/// Longer than what the planner gives a kubelet to say that a Pod is not Ready, and a container to settle.
const TICK_SECONDS: i64 = 15;

pub struct World {
    pub snapshot: Snapshot,
    pub hooks_answered: bool,
    /// Pods that come up by themselves.
    coming_up: BTreeSet<Box<str>>,
    hooks: Hooks,
    min_ready_seconds: i64,
    tick: SignedDuration,
    /// The server tells which generation its kubelets have seen.
    observes: bool,
    /// Of UIDs, resourceVersions and container IDs.
    number: u64,
}

impl World {
    pub fn new(start: &Snapshot) -> World {
        let pods = start.pods.values().chain(start.orphans.values());
        let coming_up = pods.clone().filter(|pod| kubelet::may_come_up(pod, start.now)).map(|pod| pod.name.clone());
        let versions = pods.clone().map(|pod| &pod.resource_version).chain([&start.set.resource_version]);
        let (min_ready_seconds, grace_seconds) = ValidSpec::parse(&start.set.spec)
            .map_or((0, 0), |spec| (spec.min_ready_seconds, spec.rolling.grace_period_seconds));
        let waits_seconds = min_ready_seconds.max(grace_seconds);
        World {
            hooks_answered: false,
            coming_up: coming_up.collect(),
            hooks: Hooks::of(start.set.spec.lifecycle.as_ref()),
            min_ready_seconds,
            tick: SignedDuration::from_secs(waits_seconds.saturating_add(TICK_SECONDS)),
            observes: start.pods.is_empty() || pods.clone().any(|pod| pod.observed_generation.is_some()),
            number: versions.filter_map(|version| version.parse().ok()).max().unwrap_or(0),
            snapshot: start.clone(),
        }
    }

    /// Whether a question can be answered off the model; then it is.
    pub fn answer(&mut self, question: &Question) -> bool {
        let Question::LivePod { ordinal, name } = question else { return false };
        let snapshot = &mut self.snapshot;
        let held = [&snapshot.pods, &snapshot.orphans, &snapshot.foreign].into_iter().find_map(|pods| pods.get(name));
        let answer = held.map_or(LivePod::Gone, |pod| LivePod::Found(Arc::clone(pod)));
        snapshot.answers.live_pods.insert(*ordinal, answer);
        true
    }

    pub fn write_status(&mut self, status: AdvancedStatefulSetStatus) {
        self.number += 1;
        self.snapshot.set.resource_version = self.number.to_string().into();
        self.snapshot.set.status = Arc::new(status);
    }

    /// Everybody does what is asked of them, and time goes on.
    pub fn pass_time(&mut self) {
        let going: Vec<Box<str>> =
            self.snapshot.pods.values().filter(|pod| pod.is_terminating()).map(|pod| pod.name.clone()).collect();
        for name in going {
            self.remove(&name);
        }
        self.snapshot.orphans.retain(|_, pod| !pod.is_terminating());
        let names: Vec<Box<str>> = self.snapshot.pods.keys().cloned().collect();
        for name in names {
            self.live_on(&name);
        }
        self.snapshot.now = later(self.snapshot.now, self.tick);
    }

    /// Whether time alone makes some Pod available.
    pub fn is_awaiting_pods(&self) -> bool {
        let mut coming = self.coming_up.iter().filter_map(|name| self.snapshot.pods.get(name));
        coming.any(|pod| !pod.is_available(self.min_ready_seconds, self.snapshot.now))
    }

    fn live_on(&mut self, name: &str) {
        let (now, observes) = (self.snapshot.now, self.observes);
        let Some(before) = self.snapshot.pods.get(name) else { return };
        let mut pod = (**before).clone();
        if self.coming_up.contains(name) {
            kubelet::start(&mut pod, now, observes, &mut self.number);
        }
        self.hooks_answered |= kubelet::answer_hooks(&self.hooks, &mut pod);
        kubelet::tell_readiness(&mut pod, now);
        if pod != **before {
            self.put(pod);
        }
    }

    fn put(&mut self, mut pod: PodFacts) {
        self.number += 1;
        pod.resource_version = self.number.to_string().into();
        self.snapshot.pods.insert(pod.name.clone(), Arc::new(pod));
    }

    fn change_pod(&mut self, name: &str, change: impl FnOnce(&mut PodFacts, Timestamp)) {
        let now = self.snapshot.now;
        let Some(pod) = self.snapshot.pods.get(name) else { return };
        let mut pod = (**pod).clone();
        change(&mut pod, now);
        self.put(pod);
    }

    fn change_claim(&mut self, name: &str, change: impl FnOnce(&mut ClaimFacts)) {
        let Some(claim) = self.snapshot.claims.get(name) else { return };
        let mut claim = (**claim).clone();
        change(&mut claim);
        self.put_claim(claim);
    }

    fn put_claim(&mut self, mut claim: ClaimFacts) {
        self.number += 1;
        claim.resource_version = self.number.to_string().into();
        self.snapshot.claims.insert(claim.name.clone(), Arc::new(claim));
    }

    pub fn carry_out(&mut self, action: &Action) {
        match action {
            Action::CreatePod { claims, pod, .. } => {
                claims.iter().for_each(|claim| self.make_claim(claim));
                self.make_pod(pod);
            }
            Action::CreateClaim { claim, .. } => self.make_claim(claim),
            Action::DeletePod { target, .. } => self.remove(&target.name),
            Action::PatchPod { target, why, patch, .. } => self.patch_pod(target, *why, patch),
            Action::PatchPodStatus { target, patch, .. } => self.change_pod(&target.name, |pod, now| {
                patched::gate(pod, patch, now);
                patched::pod(pod, patch);
            }),
            Action::PatchClaim { target, patch, .. } => {
                self.change_claim(&target.name, |claim| patched::owners(claim, patch));
            }
            Action::GrowClaim { target, patch, .. } => self.change_claim(&target.name, |claim| {
                claim.requested_bytes = patched::storage(patch).or(claim.requested_bytes);
                claim.capacity_bytes = claim.requested_bytes;
            }),
            Action::CreateHelper { pod, .. } => self.make_helper(pod),
            Action::DeleteHelper { target, pulled, .. } => {
                self.snapshot.helpers.remove(&target.name);
                self.snapshot.answers.pulled_images.extend(pulled.iter().cloned());
            }
            Action::AdoptPod { target, .. } => self.adopt(&target.name),
            Action::ReleasePod { target, .. } => self.release(&target.name),
        }
    }

    fn patch_pod(&mut self, target: &Target, why: PatchWhy, patch: &Value) {
        let changes_spec = matches!(why, PatchWhy::InPlace | PatchWhy::Live);
        self.change_pod(&target.name, |pod, _| {
            patched::pod(pod, patch);
            if changes_spec {
                patched::bookkeeping(pod);
            }
        });
        if changes_spec {
            self.coming_up.insert(target.name.clone());
        }
    }

    fn make_pod(&mut self, pod: &Value) {
        let Ok(object) = serde_json::from_value::<PodObject>(pod.clone()) else { return };
        self.number += 1;
        let uid = format!("forecast-{}", self.number).into();
        let pod = PodFacts { uid, generation: 1, created_at: Some(self.snapshot.now), ..object.whole() };
        self.coming_up.insert(pod.name.clone());
        self.put(pod);
    }

    /// Its node pulls what it is to pull.
    fn make_helper(&mut self, pod: &Value) {
        let Ok(object) = serde_json::from_value::<PodObject>(pod.clone()) else { return };
        let Some(mut helper) = object.into_facts() else { return };
        for image in helper.helper.iter_mut().flat_map(|facts| &mut facts.images) {
            image.pulled = true;
        }
        self.number += 1;
        helper.uid = format!("forecast-{}", self.number).into();
        self.snapshot.helpers.insert(helper.name.clone(), Arc::new(helper));
    }

    /// With the claims that only it owns.
    fn remove(&mut self, name: &str) {
        let Some(gone) = self.snapshot.pods.remove(name) else { return };
        self.coming_up.remove(name);
        self.snapshot
            .claims
            .retain(|_, claim| claim.owners.is_empty() || claim.owners.iter().any(|owner| owner.uid != gone.uid));
    }

    fn make_claim(&mut self, claim: &Value) {
        let Ok(object) = serde_json::from_value::<ClaimObject>(claim.clone()) else { return };
        let mut claim = object.whole();
        if self.snapshot.claims.contains_key(&claim.name) {
            return;
        }
        claim.capacity_bytes = claim.requested_bytes;
        self.number += 1;
        claim.uid = format!("forecast-{}", self.number).into();
        self.put_claim(claim);
    }

    fn owner(&self) -> OwnerFacts {
        let set = &self.snapshot.set;
        OwnerFacts {
            api_version: names::API_VERSION.into(),
            kind: names::KIND.into(),
            name: set.name.clone(),
            uid: set.uid.clone(),
        }
    }

    fn adopt(&mut self, name: &str) {
        let Some(orphan) = self.snapshot.orphans.remove(name) else { return };
        let controller = Some(self.owner());
        self.put(PodFacts { controller, ..(*orphan).clone() });
    }

    fn release(&mut self, name: &str) {
        let Some(pod) = self.snapshot.pods.remove(name) else { return };
        let orphan = PodFacts { controller: None, ..(*pod).clone() };
        self.snapshot.orphans.insert(name.into(), Arc::new(orphan));
    }

    pub fn revise(&mut self, wanted: &[RevisionAction]) {
        for action in wanted {
            self.revise_one(action);
        }
    }

    fn revise_one(&mut self, action: &RevisionAction) {
        let owner = self.owner();
        match action {
            RevisionAction::Create { name, hash, number, data } => {
                self.number += 1;
                self.snapshot.revisions.push(Arc::new(RevisionFacts {
                    name: name.clone(),
                    uid: format!("forecast-{}", self.number).into(),
                    resource_version: self.number.to_string().into(),
                    hash: hash.clone(),
                    number: *number,
                    controller: Some(owner),
                    terminating: false,
                    data: Arc::clone(data),
                    noted_claims: None,
                }));
            }
            RevisionAction::Renumber { name, number, .. } => self.change_revision(name, |facts| facts.number = *number),
            RevisionAction::NoteClaims { name, note, .. } => {
                self.change_revision(name, |facts| facts.noted_claims = Some(note.clone()));
            }
            RevisionAction::Adopt { name, .. } => self.change_revision(name, |facts| facts.controller = Some(owner)),
            RevisionAction::Delete { name, .. } => self.snapshot.revisions.retain(|facts| facts.name != *name),
        }
    }

    fn change_revision(&mut self, name: &str, change: impl FnOnce(&mut RevisionFacts)) {
        self.number += 1;
        let version = self.number.to_string().into();
        let Some(facts) = self.snapshot.revisions.iter_mut().find(|facts| &*facts.name == name) else { return };
        let facts = Arc::make_mut(facts);
        facts.resource_version = version;
        change(facts);
    }

    pub fn made_claim(claim: &Value) -> ClaimMove {
        let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        ClaimMove { claim: name.into(), made: true, from_bytes: None, to_bytes: patched::storage(claim) }
    }

    pub fn grown_claim(&self, name: &str, patch: &Value) -> Option<ClaimMove> {
        let claim = self.snapshot.claims.get(name)?;
        let (from_bytes, to_bytes) = (claim.requested_bytes, patched::storage(patch));
        Some(ClaimMove { claim: name.into(), made: false, from_bytes, to_bytes })
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}
