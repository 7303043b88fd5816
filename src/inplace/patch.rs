//! The patches of Pods: strategic merge patches with the UID and resourceVersion of the Pod that
//! the decision was made for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::decision::InPlacePatch;
use super::operations::assemble;
use super::state::InPlaceState;
use crate::api::names;
use crate::model::PodFacts;

/// Labels that no template decides.
const IDENTITY_LABELS: &[&str] = &[
    names::POD_NAME_LABEL,
    names::POD_INDEX_LABEL,
    names::REVISION_LABEL,
    names::HOOK_STATE_LABEL,
    names::PRE_PULL_LABEL,
    names::SPECIFIED_DELETE_LABEL,
];

/// What a patch is made of, beside the Pod.
#[derive(Clone, Copy, Debug)]
pub struct PatchParts<'a> {
    /// As they were written.
    pub old_template: &'a Value,
    pub new_template: &'a Value,
    pub update: &'a InPlacePatch,
    pub revision_hash: &'a str,
    /// What [`super::next_state`] gave, where the update is not free; the grace period of the
    /// template is added to it here.
    pub state: Option<&'a InPlaceState>,
    /// The Pod's own, where some are added.
    pub tolerations: &'a [Value],
}

/// The one patch of an in-place update: the spec's fields, labels, annotations, revision label,
/// bookkeeping. What goes through `pods/resize` is in [`resize_patch`].
pub fn pod_patch(pod: &PodFacts, parts: PatchParts<'_>) -> Value {
    let PatchParts { old_template, new_template, update, revision_hash, state, tolerations } = parts;
    let mut labels = changed_entries(old_template, new_template, "/metadata/labels", IDENTITY_LABELS);
    // A label that was lost or changed on the Pod is set again; the selector needs it.
    for (key, value) in entries(new_template, "/metadata/labels") {
        let held = pod.labels.get(key.as_str()).map(|held| &**held);
        if !IDENTITY_LABELS.contains(&key.as_str()) && held != value.as_str() {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels.insert(names::REVISION_LABEL.to_owned(), revision_hash.into());
    let mut annotations = changed_entries(old_template, new_template, "/metadata/annotations", &[]);
    annotations.retain(|key, _| !names::is_own_pod_annotation(key));
    for (key, value) in &update.env_annotations {
        annotations.insert(key.clone(), value.clone().into());
    }
    if let Some(state) = state {
        let text = state.clone().with_grace_of(new_template).to_json();
        annotations.insert(names::IN_PLACE_STATE_ANNOTATION.to_owned(), text.into());
    }

    let mut patch = guarded(pod);
    patch["metadata"]["labels"] = labels.into();
    if !annotations.is_empty() {
        patch["metadata"]["annotations"] = annotations.into();
    }
    let spec = assemble(&update.operations);
    if !spec.is_null() {
        patch["spec"] = spec;
    }
    if !update.added_tolerations.is_empty() {
        // A list without keys: written as a whole, the Pod's own first.
        let new = update.added_tolerations.iter().filter(|toleration| !tolerations.contains(toleration));
        patch["spec"]["tolerations"] = tolerations.iter().chain(new).cloned().collect();
    }
    patch
}

/// Sets labels of the Pod, and nothing else.
pub fn label_patch(pod: &PodFacts, labels: Map<String, Value>) -> Value {
    let mut patch = guarded(pod);
    patch["metadata"]["labels"] = labels.into();
    patch
}

/// What is written before a resize: the Pod's bookkeeping with the resize that is begun.
pub fn resize_note(pod: &PodFacts, state: &InPlaceState) -> Value {
    let mut patch = guarded(pod);
    patch["metadata"]["annotations"] = json!({names::IN_PLACE_STATE_ANNOTATION: state.to_json()});
    patch
}

/// The patch on `pods/resize` that goes before the other; `None`: the Pod has these resources.
pub fn resize_patch(pod: &PodFacts, update: &InPlacePatch) -> Option<Value> {
    if update.resize.is_empty() {
        return None;
    }
    let mut patch = guarded(pod);
    patch["spec"] = assemble(&update.resize);
    Some(patch)
}

/// A dry run of this tells whether the apiserver takes such a change of this Pod.
pub fn inquiry_patch(pod: &PodFacts, spec: &Value) -> Value {
    let mut patch = guarded(pod);
    patch["spec"] = spec.clone();
    patch
}

/// Turns the readiness gate, on `pods/status`. `message` is what users read in the condition.
pub fn gate_patch(pod: &PodFacts, open: bool, now: Timestamp, message: &str) -> Value {
    let (status, reason) =
        if open { ("True", names::REASON_CONTAINERS_CURRENT) } else { ("False", names::REASON_CONTAINER_REBUILDING) };
    let mut patch = guarded(pod);
    patch["status"] = json!({"conditions": [{
        "type": names::READINESS_GATE,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": in_seconds(now),
    }]});
    patch
}

/// Changes nothing but an annotation of ours, so that the Pod's resourceVersion moves: a write that
/// was planned with the older one can never be carried out any more.
pub fn fence_patch(pod: &PodFacts, now: Timestamp) -> Value {
    let mut patch = guarded(pod);
    // With the version in it the value is new even where two fences fall in one second.
    let value = format!("{} {}", in_seconds(now), pod.resource_version);
    patch["metadata"]["annotations"] = json!({names::FENCED_AT_ANNOTATION: value});
    if let Some(mut state) = pod.in_place_state.as_deref().and_then(InPlaceState::parse)
        && let Some(resizing) = &mut state.resizing
    {
        // No write of it is on its way any more.
        resizing.pending = false;
        patch["metadata"]["annotations"][names::IN_PLACE_STATE_ANNOTATION] = state.to_json().into();
    }
    patch
}

fn guarded(pod: &PodFacts) -> Value {
    json!({"metadata": {"uid": pod.uid, "resourceVersion": pod.resource_version}})
}

/// RFC 3339 in whole seconds: the form of the times in Kubernetes objects.
fn in_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the new template has otherwise than the old one, and null for what it has no more.
fn changed_entries(old_template: &Value, new_template: &Value, pointer: &str, ours: &[&str]) -> Map<String, Value> {
    let (old, new) = (entries(old_template, pointer), entries(new_template, pointer));
    let keys: BTreeSet<&String> = old.iter().chain(&new).map(|(key, _)| *key).collect();
    let value_of = |side: &[(&String, &Value)], key: &String| -> Option<Value> {
        side.iter().find(|(found, _)| *found == key).map(|(_, value)| (*value).clone())
    };
    keys.into_iter()
        .filter(|key| !ours.contains(&key.as_str()))
        .filter_map(|key| {
            let (old, new) = (value_of(&old, key), value_of(&new, key));
            (old != new).then(|| (key.clone(), new.unwrap_or(Value::Null)))
        })
        .collect()
}

/// The entries of a map in a template; a null is no entry.
fn entries<'a>(template: &'a Value, pointer: &str) -> Vec<(&'a String, &'a Value)> {
    let map = template.pointer(pointer).and_then(Value::as_object);
    map.into_iter().flatten().filter(|(_, value)| !value.is_null()).collect()
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
