//! The rest of the cluster: scheduler, volume binder, garbage collector, nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::facts;
use super::kubelet::PodRun;
use super::store::{Guard, Kind, Object, stamp};
use super::world::{Event, SET, World, note};

pub const NODES: usize = 3;

#[derive(Default)]
pub struct Cluster {
    /// What runs on the nodes, by Pod UID.
    pub pods: BTreeMap<Box<str>, PodRun>,
    pub lost_nodes: BTreeSet<usize>,
    pub container_ids: u64,
    pub collect_pending: bool,
}

pub fn set_condition(value: &mut Value, type_: &str, status: &str, reason: &str, now_ms: i64) {
    let found = facts::condition(value, type_);
    let same = found.is_some_and(|one| one.get("status").and_then(Value::as_str) == Some(status));
    let since = match found.and_then(|one| one.get("lastTransitionTime")).filter(|_| same) {
        Some(time) => time.clone(),
        None => stamp(now_ms).into(),
    };
    let condition = json!({"type": type_, "status": status, "reason": reason, "lastTransitionTime": since});
    let mut conditions = facts::list(value, "/status/conditions").to_vec();
    match conditions.iter_mut().find(|one| one.get("type").and_then(Value::as_str) == Some(type_)) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
    value["status"]["conditions"] = conditions.into();
}

pub fn node_index(node: &str) -> usize {
    node.strip_prefix("node-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl World {
    pub fn schedule(&mut self, name: &str) {
        let Some(object) = self.store.get(Kind::Pod, name).cloned() else { return };
        let Some(pod) = object.pod().filter(|pod| pod.node.is_none() && !pod.is_terminating()) else { return };
        if pod.is_terminal() {
            return;
        }
        let claims: Vec<Box<str>> = facts::list(&object.value, "/spec/volumes")
            .iter()
            .map(|volume| facts::text(volume, "/persistentVolumeClaim/claimName"))
            .filter(|claim| !claim.is_empty())
            .collect();
        let bound = claims.iter().all(|claim| {
            self.store.get(Kind::Claim, claim).is_some_and(|object| {
                !object.is_terminating() && &*facts::text(&object.value, "/status/phase") == "Bound"
            })
        });
        let up: Vec<usize> = (0..NODES).filter(|node| !self.cluster.lost_nodes.contains(node)).collect();
        let now = self.now;
        if !bound || up.is_empty() {
            let waits = self.store.change(Kind::Pod, name, |value| {
                set_condition(value, "PodScheduled", "False", "Unschedulable", now);
            });
            drop(waits);
            self.after(2000, Event::Schedule { name: name.into() });
            return;
        }
        let node = self.random.pick(&up);
        let placed = self.store.change(Kind::Pod, name, |value| {
            value["spec"]["nodeName"] = format!("node-{node}").into();
            set_condition(value, "PodScheduled", "True", "Scheduled", now);
        });
        drop(placed);
    }

    pub fn bind(&mut self, name: &str) {
        let bound = self.store.change(Kind::Claim, name, |value| {
            let is_lost = &*facts::text(value, "/status/phase") == "Lost";
            if value.pointer("/metadata/deletionTimestamp").is_none() && !is_lost {
                let asked = value.pointer("/spec/resources/requests/storage").cloned().unwrap_or_default();
                value["status"] = json!({"phase": "Bound", "capacity": {"storage": asked}});
            }
        });
        drop(bound);
    }

    pub fn collect_soon(&mut self) {
        if !self.cluster.collect_pending {
            self.cluster.collect_pending = true;
            let lag = self.random.range(20, self.swarm.collector_lag_ms);
            self.after(lag, Event::Collect);
        }
    }

    /// Removes what has owners and none that is left, and claims that nothing uses any more.
    pub fn collect(&mut self) {
        self.cluster.collect_pending = false;
        // The owner of foreign Pods is outside of this world.
        let mut alive: BTreeSet<Box<str>> = BTreeSet::from(["other".into()]);
        for kind in super::store::KINDS {
            alive.extend(self.store.all(kind).map(|(_, object)| object.uid.clone()));
        }
        let mut doomed = Vec::new();
        let mut unprotected = Vec::new();
        for kind in [Kind::Pod, Kind::Claim, Kind::Revision] {
            for (name, object) in self.store.all(kind) {
                let owners = facts::list(&object.value, "/metadata/ownerReferences");
                let gone = |owner: &Value| !alive.contains(&facts::text(owner, "/uid"));
                if !owners.is_empty() && owners.iter().all(gone) && !object.is_terminating() {
                    doomed.push((kind, name.to_owned(), object.uid.clone()));
                }
                if kind == Kind::Claim && object.is_terminating() && !self.is_used(name) {
                    unprotected.push(name.to_owned());
                }
            }
        }
        self.collect_in_the_foreground(&mut doomed);
        for (kind, name, uid) in doomed {
            note!(self, "gc deletes {kind:?} {name}");
            if kind == Kind::Claim {
                let claim = self.store.get(kind, &name).and_then(|object| object.claim()).cloned();
                claim.iter().for_each(|claim| self.oracle.claim_collected(claim));
            }
            let guard = Guard { uid: Some(uid), version: None };
            drop(self.store.delete(kind, &name, &guard, None));
        }
        for name in unprotected {
            let freed = self.store.change(Kind::Claim, &name, |value| {
                value["metadata"]["finalizers"] = json!([]);
            });
            drop(freed);
        }
    }

    /// What a set that waits for it still owns; and when there is nothing left, the set may go. It does not wait for what
    /// does not block it: claims.
    fn collect_in_the_foreground(&mut self, doomed: &mut Vec<(Kind, String, Box<str>)>) {
        let Some(set) = self.store.get(Kind::Set, SET).filter(|set| set.is_terminating()).cloned() else { return };
        let mut left = 0;
        for kind in [Kind::Pod, Kind::Claim, Kind::Revision] {
            for (name, object) in self.store.all(kind) {
                let owners = facts::list(&object.value, "/metadata/ownerReferences");
                let blocks =
                    |owner: &Value| owner["blockOwnerDeletion"] == true && facts::text(owner, "/uid") == set.uid;
                if owners.len() == 1 && blocks(&owners[0]) {
                    left += 1;
                    if !object.is_terminating() {
                        doomed.push((kind, name.to_owned(), object.uid.clone()));
                    }
                }
            }
        }
        if left == 0 {
            drop(self.store.change(Kind::Set, SET, |value| value["metadata"]["finalizers"] = json!([])));
        } else {
            self.collect_soon();
        }
    }

    /// Pods that have no node yet do not protect a claim.
    fn is_used(&self, claim: &str) -> bool {
        let placed = |pod: &Object| pod.pod().is_some_and(|pod| pod.node.is_some());
        self.store.all(Kind::Pod).filter(|(_, pod)| placed(pod)).any(|(_, pod)| {
            facts::list(&pod.value, "/spec/volumes")
                .iter()
                .any(|volume| &*facts::text(volume, "/persistentVolumeClaim/claimName") == claim)
        })
    }

    pub fn mark_lost(&mut self, node: usize) {
        if !self.cluster.lost_nodes.contains(&node) {
            return;
        }
        let names: Vec<String> = self
            .store
            .all(Kind::Pod)
            .filter(|(_, object)| object.pod().is_some_and(|pod| pod.node.as_deref().map(node_index) == Some(node)))
            .map(|(name, _)| name.to_owned())
            .collect();
        let now = self.now;
        for name in names {
            let marked = self.store.change(Kind::Pod, &name, |value| {
                set_condition(value, "Ready", "False", "NodeNotReady", now);
            });
            drop(marked);
        }
    }

    pub fn node_up(&mut self, node: usize) {
        self.cluster.lost_nodes.remove(&node);
        let pods: Vec<(Box<str>, Box<str>)> =
            self.store.all(Kind::Pod).map(|(name, object)| (name.into(), object.uid.clone())).collect();
        for (name, uid) in pods {
            let delay = self.random.range(10, 2000);
            self.after(delay, Event::Sync { name, uid });
        }
    }
}
