//! Carries out the steps of a script.

use serde_json::{Value, json};

use super::container::State;
use super::controller::Controller;
use super::facts;
use super::merge::merge;
use super::policy::Namespace;
use super::script::Step;
use super::store::{Guard, Kind, Object};
use super::world::{Event, OldCaches, SET, World, note};
use crate::api::names;

/// A finalizer of somebody else.
const HELD_BY: &str = "example.com/hold";

impl World {
    pub fn perform(&mut self, step: &Step) {
        note!(self, "-- {step:?}");
        match step {
            Step::CreateSet => self.create_set(),
            Step::DeleteSet { orphan } => self.delete_set(*orphan),
            Step::Spec(patch) => self.edit_spec(patch),
            Step::DeletePod(pod) => self.delete_pod(*pod, None),
            Step::ForceDeletePod(pod) => self.delete_pod(*pod, Some(0)),
            Step::MarkPod(pod) => self.edit_pod(*pod, |value| {
                value["metadata"]["labels"][names::SPECIFIED_DELETE_LABEL] = "".into();
            }),
            Step::StripLabels(pod) => self.edit_pod(*pod, |value| value["metadata"]["labels"] = json!({"x": "y"})),
            Step::StripOwner(pod) => self.edit_pod(*pod, |value| value["metadata"]["ownerReferences"] = json!([])),
            Step::LieAboutRevision(pod) => {
                self.edit_pod(*pod, |value| value["metadata"]["labels"][names::REVISION_LABEL] = "lie".into());
            }
            Step::ForeignPod { ordinal, owned } => self.foreign_pod(*ordinal, *owned),
            Step::RemoveForeignPods => self.remove_foreign_pods(),
            Step::DeleteClaim(claim) => self.delete_claim(*claim),
            Step::Crash(controller) => self.crash_any(*controller),
            Step::TravelBack { controller, writes, milliseconds } => {
                let index = *controller % self.controllers_count();
                let old = OldCaches {
                    version: self.store.version.saturating_sub(*writes),
                    until_ms: self.now + milliseconds,
                };
                self.old_caches.insert(index, old);
                self.crash_any(index);
            }
            Step::Freeze { controller, kind, milliseconds } => {
                let until = self.now + milliseconds;
                if let Some(wire) = &mut self.wire {
                    wire.frozen.insert((*controller % wire.managers.len(), *kind), until);
                    return;
                }
                let index = *controller % self.controllers.len();
                let one: &mut Controller = &mut self.controllers[index];
                if let Some(view) = one.views.get_mut(kind) {
                    view.frozen_until_ms = until;
                }
            }
            Step::SetClock { controller, ahead_ms } => {
                self.set_clock(*controller % self.controllers_count(), *ahead_ms)
            }
            Step::Quota(used_up) => self.policies.quota_used_up = *used_up,
            Step::DenyPods(denies) => self.policies.denies_pods = *denies,
            Step::Inject(injects) => self.store.injects = *injects,
            Step::TakeNothing(true) => self.policies.namespace = Namespace::TakesNothing,
            Step::TakeNothing(false) => self.policies.namespace = Namespace::Lives,
            Step::EndNamespace => self.end_namespace(),
            Step::HoldPod(pod) => self.edit_pod(*pod, |value| value["metadata"]["finalizers"] = json!([HELD_BY])),
            Step::LetPodsGo => self.let_pods_go(),
            Step::TakeClaim(claim) => self.take_claim(*claim),
            Step::LoseClaim(claim) => self.edit_claim(*claim, |value| value["status"]["phase"] = "Lost".into()),
            Step::GiveBackClaims => self.give_back_claims(),
            Step::LoseNode(node) => {
                self.cluster.lost_nodes.insert(*node);
                let delay = self.random.range(5000, 40_000);
                self.after(delay, Event::MarkLost { node: *node });
            }
            Step::FindNode(node) => self.node_up(*node),
            Step::CrashContainer(pod) => self.crash_container(*pod),
            Step::Flap { pod, milliseconds } => self.flap(*pod, *milliseconds),
            Step::Evict(pod) => self.evict(*pod),
        }
    }

    fn controllers_count(&self) -> usize {
        self.wire.as_ref().map_or(self.controllers.len(), |wire| wire.managers.len())
    }

    fn crash_any(&mut self, controller: usize) {
        let index = controller % self.controllers_count();
        if self.wire.is_some() { self.crash_manager(index) } else { self.crash(index) }
    }

    fn create_set(&mut self) {
        if self.policies.admit(Some(Kind::Set), SET).is_err() {
            return;
        }
        let spec = self.script.set.clone();
        drop(self.store.create(Kind::Set, json!({"metadata": {"name": SET}, "spec": spec})));
    }

    fn delete_set(&mut self, orphan: bool) {
        if orphan {
            for kind in [Kind::Pod, Kind::Revision, Kind::Claim] {
                let names: Vec<String> = self.store.all(kind).map(|(name, _)| name.to_owned()).collect();
                let uid = self.set_version().map(|set| set.uid.clone()).unwrap_or_default();
                for name in names {
                    drop(self.store.change(kind, &name, |value| {
                        let mut owners = facts::list(value, "/metadata/ownerReferences").to_vec();
                        owners.retain(|owner| facts::text(owner, "/uid") != uid);
                        value["metadata"]["ownerReferences"] = owners.into();
                    }));
                }
            }
        }
        // In the foreground: the set stays until all that it owns is gone.
        if !orphan && self.random.per_mille(500) {
            drop(self.store.change(Kind::Set, SET, |value| {
                value["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            }));
            self.collect_soon();
        }
        drop(self.store.delete(Kind::Set, SET, &Guard::default(), None));
    }

    pub fn edit_spec(&mut self, patch: &Value) {
        drop(self.store.change(Kind::Set, SET, |value| {
            // A template is replaced as a whole.
            if let Some(template) = patch.get("template") {
                value["spec"]["template"] = template.clone();
            } else {
                merge(&mut value["spec"], patch);
            }
        }));
    }

    fn pod_name(&self, index: usize) -> Option<Box<str>> {
        let ours = self.store.all(Kind::Pod).filter(|(_, pod)| pod.pod().is_none_or(|pod| pod.helper.is_none()));
        let names: Vec<&str> = ours.map(|(name, _)| name).collect();
        names.get(index % names.len().max(1)).map(|name| Box::from(*name))
    }

    fn edit_pod(&mut self, index: usize, edit: impl FnOnce(&mut Value)) {
        if let Some(name) = self.pod_name(index) {
            drop(self.store.change(Kind::Pod, &name, edit));
        }
    }

    fn delete_pod(&mut self, index: usize, grace: Option<i64>) {
        if let Some(name) = self.pod_name(index) {
            drop(self.store.delete(Kind::Pod, &name, &Guard::default(), grace));
        }
    }

    fn foreign_pod(&mut self, ordinal: i64, owned: bool) {
        if self.policies.admit(Some(Kind::Pod), SET).is_err() {
            return;
        }
        let mut pod = json!({
            "metadata": {"name": format!("{SET}-{ordinal}"), "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "app:v9"}], "terminationGracePeriodSeconds": 2},
        });
        if owned {
            pod["metadata"]["ownerReferences"] = json!([others_reference()]);
        }
        drop(self.store.create(Kind::Pod, pod));
    }

    /// Pods of others, and Pods that nobody owns and no selector finds.
    pub fn remove_foreign_pods(&mut self) {
        let foreign: Vec<String> = self
            .store
            .all(Kind::Pod)
            .filter(|(_, pod)| match facts::controller(&pod.value) {
                Some(owner) => &*owner.kind == "Other",
                None if pod.pod().is_some_and(|pod| pod.helper.is_some()) => false,
                None => &*facts::text(&pod.value, "/metadata/labels/app") != SET,
            })
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in foreign {
            drop(self.store.delete(Kind::Pod, &name, &Guard::default(), None));
        }
    }

    fn claim_name(&self, index: usize) -> Option<String> {
        let mut names: Vec<&str> = self.store.all(Kind::Claim).map(|(name, _)| name).collect();
        if names.is_empty() { None } else { Some(names.swap_remove(index % names.len()).to_owned()) }
    }

    fn delete_claim(&mut self, index: usize) {
        if let Some(name) = self.claim_name(index) {
            drop(self.store.delete(Kind::Claim, &name, &Guard::default(), None));
        }
    }

    fn edit_claim(&mut self, index: usize, edit: impl FnOnce(&mut Value)) {
        if let Some(name) = self.claim_name(index) {
            drop(self.store.change(Kind::Claim, &name, edit));
        }
    }

    /// Whoever had it for a controller has it no more.
    fn take_claim(&mut self, index: usize) {
        self.edit_claim(index, |value| {
            let mut owners = facts::list(value, "/metadata/ownerReferences").to_vec();
            owners.retain(|owner| owner["controller"] != true);
            owners.push(others_reference());
            value["metadata"]["ownerReferences"] = owners.into();
        });
    }

    pub fn give_back_claims(&mut self) {
        let names: Vec<String> = self.store.all(Kind::Claim).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            drop(self.store.change(Kind::Claim, &name, |value| {
                if &*facts::text(value, "/status/phase") == "Lost" {
                    value["status"]["phase"] = "Bound".into();
                }
                let owners = facts::list(value, "/metadata/ownerReferences");
                if owners.iter().any(is_others) {
                    let left: Vec<Value> = owners.iter().filter(|owner| !is_others(owner)).cloned().collect();
                    value["metadata"]["ownerReferences"] = left.into();
                }
            }));
        }
    }

    /// The finalizers of others are taken away.
    pub fn let_pods_go(&mut self) {
        let held = |object: &Object| !facts::list(&object.value, "/metadata/finalizers").is_empty();
        let names: Vec<String> =
            self.store.all(Kind::Pod).filter(|(_, pod)| held(pod)).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            drop(self.store.change(Kind::Pod, &name, |value| value["metadata"]["finalizers"] = json!([])));
        }
    }

    fn touch_run(&mut self, index: usize, edit: impl FnOnce(&mut super::kubelet::PodRun, i64)) {
        let Some(name) = self.pod_name(index) else { return };
        let Some(uid) = self.store.get(Kind::Pod, &name).map(|pod| pod.uid.clone()) else { return };
        let now = self.now;
        if let Some(run) = self.cluster.pods.get_mut(&uid) {
            edit(run, now);
            self.after(1, Event::Sync { name, uid });
        }
    }

    /// The first container ends by itself and comes back as the kubelet knows it, be that old.
    fn crash_container(&mut self, index: usize) {
        self.cluster.container_ids += 1;
        let id = self.cluster.container_ids;
        let mut random = self.random.clone();
        let at_once = self.random.per_mille(500);
        self.touch_run(index, |run, now| {
            let Some(container) = run.first().filter(|container| container.runs()) else { return };
            container.restarts += 1;
            if at_once {
                container.start(&mut random, now, id);
            } else {
                container.state = State::BackOff { until_ms: now + 1500 };
            }
        });
    }

    fn flap(&mut self, index: usize, milliseconds: i64) {
        self.touch_run(index, |run, now| {
            if let Some(container) = run.first() {
                container.flaps_until_ms = now + milliseconds;
            }
        });
    }

    fn evict(&mut self, index: usize) {
        self.touch_run(index, |run, _| run.failed = true);
    }
}

/// A controller outside of this world, which lives for ever.
fn others_reference() -> Value {
    json!({"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "other", "controller": true})
}

fn is_others(owner: &Value) -> bool {
    &*facts::text(owner, "/uid") == "other"
}
