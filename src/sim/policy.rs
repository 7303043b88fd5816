//! What admission says to new objects: a webhook that denies Pods or puts a container into them, a
//! namespace that is being terminated.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::controller::{Request, Verb};
use super::facts;
use super::oracle::Oracle;
use super::store::{Guard, KINDS, Kind, NAMESPACE, Refused, refused};
use super::world::World;

const INJECTED: &str = "mesh";
const INJECTED_IMAGE: &str = "mesh:v1";
/// So often may one object be refused within [`WINDOW_MS`]: what is refused pauses longer each time.
const REFUSALS_MAX: usize = 20;
const WINDOW_MS: i64 = 10_000;

#[derive(Debug, Default)]
pub struct Policies {
    /// Creates of Pods are refused by a quota.
    pub quota_used_up: bool,
    /// A webhook denies new Pods.
    pub denies_pods: bool,
    pub namespace: Namespace,
    /// When an object was refused lately, by controller, its life, and the object's name.
    refused: BTreeMap<(usize, u64, String), VecDeque<i64>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    #[default]
    Lives,
    /// Takes nothing new, and keeps what it has.
    TakesNothing,
    /// Takes nothing new, and all that it has is being deleted.
    Ends,
}

impl Policies {
    /// What is refused only for a time is taken again.
    pub fn end_faults(&mut self) {
        self.quota_used_up = false;
        self.denies_pods = false;
        if self.namespace == Namespace::TakesNothing {
            self.namespace = Namespace::Lives;
        }
    }

    /// Whether a new object of this kind is taken. A Lease is in the namespace of the managers.
    pub fn admit(&self, kind: Option<Kind>, name: &str) -> Result<(), Refused> {
        if self.namespace != Namespace::Lives && kind != Some(Kind::Lease) {
            return refused(
                403,
                format!(
                    "{name} is forbidden: unable to create new content in namespace {NAMESPACE} because it is being terminated"
                ),
            );
        }
        if kind == Some(Kind::Pod) && self.quota_used_up {
            return refused(403, "exceeded quota: pods");
        }
        if kind == Some(Kind::Pod) && self.denies_pods {
            return refused(403, "admission webhook \"pods.example.com\" denied the request: not now");
        }
        Ok(())
    }
}

impl World {
    /// All that the namespace has is deleted by its controller; Pods and claims take their time.
    pub fn end_namespace(&mut self) {
        self.policies.namespace = Namespace::Ends;
        for kind in KINDS {
            let names: Vec<String> = self.store.all(kind).map(|(name, _)| name.to_owned()).collect();
            for name in names {
                drop(self.store.delete(kind, &name, &Guard::default(), None));
            }
        }
        self.collect_soon();
    }

    /// Nothing is left in a namespace that ends.
    pub fn nothing_is_left(&self) -> Result<(), String> {
        let left = KINDS.into_iter().find_map(|kind| Some((kind, self.store.all(kind).next()?.0)));
        left.map_or(Ok(()), |(kind, name)| Err(format!("{kind:?} {name} is left in a namespace that ends")))
    }

    /// A write was refused: the real manager does not try it again and again without a pause.
    pub fn was_refused(&mut self, request: &Request, refused: &Refused) {
        if refused.code != 403 || self.wire.is_none() {
            return;
        }
        let object = format!("{:?} {} of {}", request.kind, request.name, request.read.set_uid);
        let times = self.policies.refused.entry((request.controller, request.epoch, object)).or_default();
        times.push_back(self.now);
        while times.front().is_some_and(|time| *time < self.now - WINDOW_MS) {
            times.pop_front();
        }
        if times.len() > REFUSALS_MAX {
            let (count, name) = (times.len(), &request.name);
            self.oracle.fail(format!("L7: {name} was refused {count} times within {WINDOW_MS} ms"));
        }
    }
}

impl Oracle {
    /// What a status says of refusals: that it is told has to be seen.
    pub fn refusals_are_told(&mut self, request: &Request) {
        if request.verb != Verb::PutStatus {
            return;
        }
        let conditions = facts::list(&request.body, "/conditions").iter();
        let failures = conditions
            .filter(|one| &*facts::text(one, "/type") == "ReplicaFailure" && &*facts::text(one, "/status") == "True");
        for failure in failures {
            match &*facts::text(failure, "/reason") {
                "QuotaExceeded" => self.saw("QuotaExceeded was told"),
                "AdmissionDenied" => self.saw("AdmissionDenied was told"),
                "Forbidden" => self.saw("Forbidden was told"),
                _ => {}
            }
        }
    }
}

/// A webhook puts its container before those of the template.
pub fn inject(pod: &mut Value) {
    if let Some(containers) = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut) {
        containers.insert(0, json!({"name": INJECTED, "image": INJECTED_IMAGE}));
    }
}

/// Nobody but the webhook has anything to say about its container.
pub fn injected_is_right(pod: &Value) -> Result<(), String> {
    let containers = facts::list(pod, "/spec/containers").iter();
    let mut injected = containers.filter(|container| &*facts::text(container, "/name") == INJECTED);
    match injected.find(|container| &*facts::text(container, "/image") != INJECTED_IMAGE) {
        Some(changed) => Err(format!("the injected container is {changed}")),
        None => Ok(()),
    }
}
