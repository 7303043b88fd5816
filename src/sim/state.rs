//! What there is, without what differs from run to run: UIDs, versions, times, nodes.

use serde_json::Value;

use super::facts;
use super::store::{KINDS, Kind};
use super::world::World;
use crate::api::names;

impl World {
    /// A line for each object.
    pub fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in KINDS {
            for (name, object) in self.store.all(kind) {
                let value = &object.value;
                let what = match kind {
                    Kind::Set => set(value),
                    Kind::Pod => pod(value),
                    Kind::Claim => format!("{:?}", value.pointer("/status/capacity")),
                    Kind::Revision | Kind::Lease => format!("place {}", self.place(value)),
                };
                let going = if object.is_terminating() { " going" } else { "" };
                lines.push(format!("{kind:?} {name}{going} of {:?}: {what}", owners(value)));
            }
        }
        lines
    }
}

impl World {
    /// How many revisions are older: numbers may be skipped.
    fn place(&self, value: &Value) -> usize {
        let number = value["revision"].as_i64();
        self.store.all(Kind::Revision).filter(|(_, other)| other.value["revision"].as_i64() < number).count()
    }
}

fn owners(value: &Value) -> Vec<String> {
    let owners = facts::list(value, "/metadata/ownerReferences").iter();
    owners.map(|owner| format!("{} {}", facts::text(owner, "/kind"), facts::text(owner, "/name"))).collect()
}

fn set(value: &Value) -> String {
    let mut status = value["status"].clone();
    let conditions = facts::list(value, "/status/conditions").iter();
    let mut conditions: Vec<String> = conditions
        .filter(|one| &*facts::text(one, "/type") != "ReplicaFailure" || &*facts::text(one, "/status") == "True")
        .map(|one| {
            format!("{} {} {}", facts::text(one, "/type"), facts::text(one, "/status"), facts::text(one, "/reason"))
        })
        .collect();
    conditions.sort();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("conditions");
        for entry in fields.get_mut("disrupted").and_then(Value::as_array_mut).into_iter().flatten() {
            entry["uid"] = Value::Null;
            entry["resourceVersion"] = Value::Null;
        }
    }
    format!("{} {status} {conditions:?}", value["spec"])
}

fn pod(value: &Value) -> String {
    let images: Vec<String> = facts::list(value, "/spec/containers")
        .iter()
        .map(|container| format!("{}={}", facts::text(container, "/name"), facts::text(container, "/image")))
        .collect();
    let mut annotations = value.pointer("/metadata/annotations").cloned().unwrap_or_default();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove(names::IN_PLACE_STATE_ANNOTATION);
        annotations.remove(names::HOOK_STATE_SINCE_ANNOTATION);
        // A fence is legal wherever a view is behind, and has its time in it.
        annotations.remove(names::FENCED_AT_ANNOTATION);
    }
    if annotations.as_object().is_some_and(serde_json::Map::is_empty) {
        annotations = Value::Null;
    }
    let labels = value.pointer("/metadata/labels").cloned().unwrap_or_default();
    let is = |type_: &str| facts::condition(value, type_).map(|one| facts::text(one, "/status"));
    format!("{labels} {annotations} {images:?} ready {:?} gate {:?}", is("Ready"), is(names::READINESS_GATE))
}
