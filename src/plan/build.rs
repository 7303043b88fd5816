//! The objects that are created: Pods and claims.

use serde_json::{Map, Value, json};

use super::lifecycle;
use super::revisions::Revision;
use super::view::short_name;
use crate::api::names;
use crate::api::spec::PodUpdatePolicy;
use crate::inplace::env_annotations::{check_size, move_to_annotations};
use crate::model::{Ordinal, SetFacts, Snapshot, ValidSpec};

/// The owner reference of everything that a set makes.
pub fn controller_reference(set: &SetFacts) -> Value {
    json!({
        "apiVersion": names::API_VERSION,
        "kind": names::KIND,
        "name": set.name,
        "uid": set.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// `<template>-<set>-<ordinal>`.
pub fn claim_name(template: &str, set: &str, ordinal: Ordinal) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// The Pod of an ordinal on a revision.
pub fn pod(snapshot: &Snapshot, spec: &ValidSpec, revision: &Revision, ordinal: Ordinal) -> Value {
    let set = &snapshot.set;
    let name = format!("{}-{ordinal}", set.name);
    let mut spec_map = object(revision.template.get("spec"));
    // The kubelet and DNS know the Pod by this name.
    spec_map.insert("hostname".into(), short_name(&name, false).into());
    if let Some(service) = &spec.service_name {
        spec_map.insert("subdomain".into(), service.clone().into());
    }
    add_claim_volumes(&mut spec_map, &claim_names_of(revision, spec), |claim| claim_name(claim, &set.name, ordinal));
    if spec.rolling.policy != PodUpdatePolicy::ReCreate || spec.hooks.mark_pods() {
        add_gate(&mut spec_map);
    }
    let mut metadata = pod_metadata(set, revision, &name, ordinal);
    // A template of an older revision may be too large for it; its Pods come back all the same.
    if spec.rolling.env_in_annotations && check_size(&revision.template).is_ok() {
        let mut annotations = object(metadata.get("annotations"));
        move_to_annotations(&mut spec_map, &mut annotations);
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), annotations.into());
        }
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec_map});
    lifecycle::begin_life(&spec.hooks, snapshot.now, &mut pod);
    pod
}

/// The claim templates that a revision's Pods use.
pub fn claim_names_of(revision: &Revision, spec: &ValidSpec) -> Vec<Box<str>> {
    revision
        .claim_names
        .clone()
        .unwrap_or_else(|| spec.claim_templates.iter().map(|claim| claim.name.as_str().into()).collect())
}

fn pod_metadata(set: &SetFacts, revision: &Revision, name: &str, ordinal: Ordinal) -> Map<String, Value> {
    let template = revision.template.get("metadata");
    let mut metadata = Map::new();
    metadata.insert("name".into(), name.into());
    metadata.insert("namespace".into(), (*set.namespace).into());
    let mut labels = object(template.and_then(|metadata| metadata.get("labels")));
    for label in names::LABELS_OF_ONE_POD.into_iter().chain([names::HOOK_STATE_LABEL]) {
        labels.remove(label);
    }
    labels.insert(names::REVISION_LABEL.into(), (*revision.hash).into());
    labels.extend(identity_labels(name, ordinal));
    metadata.insert("labels".into(), labels.into());
    for key in ["annotations", "finalizers"] {
        if let Some(value) = template.and_then(|metadata| metadata.get(key)) {
            metadata.insert(key.into(), value.clone());
        }
    }
    metadata.insert("ownerReferences".into(), json!([controller_reference(set)]));
    metadata
}

/// What says which Pod of its set it is, for Services and people.
pub fn identity_labels(pod_name: &str, ordinal: Ordinal) -> Map<String, Value> {
    Map::from_iter([
        (names::POD_NAME_LABEL.to_owned(), short_name(pod_name, true).into()),
        (names::POD_INDEX_LABEL.to_owned(), ordinal.to_string().into()),
    ])
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A claim wins over a volume of the template with the same name, as in a StatefulSet.
pub fn add_claim_volumes(spec: &mut Map<String, Value>, claims: &[Box<str>], name_of: impl Fn(&str) -> String) {
    if claims.is_empty() {
        return;
    }
    let mut volumes = spec.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    volumes.retain(|volume| {
        let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
        !claims.iter().any(|claim| &**claim == name)
    });
    for claim in claims {
        volumes.push(json!({
            "name": claim,
            "persistentVolumeClaim": {"claimName": name_of(claim)},
        }));
    }
    spec.insert("volumes".into(), volumes.into());
}

fn add_gate(spec: &mut Map<String, Value>) {
    let mut gates = spec.get("readinessGates").and_then(Value::as_array).cloned().unwrap_or_default();
    if !gates.iter().any(|gate| gate.get("conditionType").and_then(Value::as_str) == Some(names::READINESS_GATE)) {
        gates.push(json!({"conditionType": names::READINESS_GATE}));
    }
    spec.insert("readinessGates".into(), gates.into());
}

/// The claim of a template and an ordinal; `None` where the set has no such template any more.
pub fn claim(snapshot: &Snapshot, spec: &ValidSpec, template: &str, ordinal: Ordinal) -> Option<Value> {
    let set = &snapshot.set;
    let raw = &spec.claim_templates.iter().find(|claim| claim.name == template)?.raw;
    let given = raw.get("metadata");
    let mut labels = object(given.and_then(|metadata| metadata.get("labels")));
    for (key, value) in &spec.selector.match_labels {
        labels.insert(key.clone(), value.clone().into());
    }
    let mut annotations = object(given.and_then(|metadata| metadata.get("annotations")));
    annotations.insert(names::CLAIM_SET_ANNOTATION.into(), (*set.name).into());
    let mut metadata = json!({
        "name": claim_name(template, &set.name, ordinal),
        "namespace": set.namespace,
        "labels": labels,
        "annotations": annotations,
    });
    if let Some(finalizers) = given.and_then(|metadata| metadata.get("finalizers")) {
        metadata["finalizers"] = finalizers.clone();
    }
    if spec.delete_claims_with_set {
        metadata["ownerReferences"] = json!([set_claim_owner(set)]);
    }
    Some(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": raw.get("spec").cloned().unwrap_or_else(|| json!({})),
    }))
}

/// The owner reference of claims that go with their set.
pub fn set_claim_owner(set: &SetFacts) -> Value {
    json!({"apiVersion": names::API_VERSION, "kind": names::KIND, "name": set.name, "uid": set.uid})
}
